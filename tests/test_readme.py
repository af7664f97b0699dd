"""The README says what the code does."""

import re
from pathlib import Path

import pytest

from sdctl.cli import COMMANDS
from tests.readme import README, current


@pytest.mark.wire
def test_every_commands_help_in_the_readme_is_current() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == current(text), "run `make docs`"


def test_the_readme_starts_with_the_two_commands_and_names_every_command() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.index("make demo") < text.index("make test") < text.index("<!-- begin help -->")
    assert all(f"### sdctl {name}\n" in text for name in COMMANDS)


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    for place in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (README.parent / place).exists(), place


def test_nothing_names_a_machines_path() -> None:
    pattern = re.compile("/wor" + "k/|/ro" + "ot/")
    files = [path for folder in ("sdctl", "serve_app", "loadtests", "manifests") for path in _texts(folder)]
    assert files
    assert [str(path) for path in files if pattern.search(path.read_text(encoding="utf-8"))] == []


def _texts(folder: str) -> list[Path]:
    kinds = {".py", ".md", ".yaml", ".json", ".txt"}
    found = (README.parent / folder).rglob("*")
    return [path for path in found if path.suffix in kinds and "__pycache__" not in path.parts]
