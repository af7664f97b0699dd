"""Writes the README's generated parts from the code: `python -m tests.readme`; a test checks that they are current."""

import os
import re
import subprocess
import sys
from pathlib import Path

from sdctl.cli import COMMANDS
from tests import conformance

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- begin (help|conformance) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def help_of(*words: str) -> str:
    """What `sdctl … --help` prints in plain text, 100 columns wide."""
    environment = {**os.environ, "TYPER_USE_RICH": "0", "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    environment.pop("SDCTL_TARGET", None)
    done = subprocess.run(
        [sys.executable, "-m", "sdctl", *words, "--help"], capture_output=True, text=True, check=True, env=environment
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def reference() -> str:
    """The section with every command's help."""
    parts = [f"```text\n{help_of()}\n```\n"]
    for name in COMMANDS:
        parts.append(f"### sdctl {name}\n\n```text\n{help_of(name)}\n```\n")
    return "\n".join(parts)


def current(text: str) -> str:
    """The README with its generated parts made anew."""
    parts = {"help": reference(), "conformance": conformance.table()}
    return BLOCK.sub(lambda found: f"{found[1]}{parts[found[2]]}{found[3]}", text)


if __name__ == "__main__":
    README.write_text(current(README.read_text(encoding="utf-8")), encoding="utf-8")
