"""Draws docs/terminal.svg from a real run on this machine: `python -m tests.picture` (`make docs` calls it)."""

import io
import os
import pty
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "terminal.svg"
WIDTH = 84
COMMANDS = (
    ["deploy", "--local"],
    ["imagine", "a red star on a blue background", "--seed", "7"],
    ["cleanup", "--local", "--yes"],
)


def run(words: list[str], environment: dict[str, str], folder: str) -> str:
    """What a terminal of that width shows of one command: its lines on stderr, then its results on stdout."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other side was closed
                return
            shown.append(chunk)

    command = [sys.executable, "-m", "sdctl", *words]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment, cwd=folder)
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    if process.wait() != 0:
        raise SystemExit(f"sdctl {' '.join(words)} failed:\n{said}")
    reader.join()
    os.close(ours)
    return said + b"".join(shown).decode().replace("\r\n", "\n")


def main() -> None:
    """Run the commands and write the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_STATE_HOME": folder, "COLUMNS": str(WIDTH), "LINES": "24"}
        environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "SDCTL_PREVIEW": "blocks"}
        environment.pop("SDCTL_TARGET", None)
        for words in COMMANDS:
            line = " ".join(f'"{word}"' if " " in word else word for word in words)
            console.print(Text(f"$ sdctl {line}", style="bold"))
            console.print(Text.from_ansi(run(words, environment, folder).rstrip()))
    PICTURE.parent.mkdir(exist_ok=True)
    svg = console.export_svg(title="sdctl")
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
