"""RESULTS.md: one section a benchmark, replaced by its latest run."""

import fcntl
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = "# Results of the benchmarks\n\nEach section is what its script printed last.\n"


def put(section: str, text: str, path: Path = RESULTS) -> None:
    """Put a section's text into the file, in the place of its former one."""
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = replaced(file.read() or TITLE, section, text)
        file.seek(0)
        file.truncate()
        file.write(content)


def replaced(content: str, section: str, text: str) -> str:
    """The document with this section's text; a new section goes to the end."""
    head, *parts = content.split("\n## ")
    sections = {part.partition("\n")[0]: part.partition("\n")[2].strip("\n") for part in parts}
    sections[section] = text.strip("\n")
    return head.rstrip("\n") + "\n" + "".join(f"\n## {name}\n\n{body}\n" for name, body in sections.items())
