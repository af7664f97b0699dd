"""What `sdctl` loads before it knows that it needs it."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "ray", "diffusers", "transformers", "numpy", "kubernetes", "locust", "gevent"}
LIGHT_ONLY = {"httpx", "PIL", "pydantic", "yaml"}  # what --help and --version need not load either

SCRIPT = """
import sys
from sdctl.cli import run
code = run(sys.argv[1:])
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""


def loaded(*arguments: str) -> set[str]:
    """The top-level modules that a command line loads, in a process of its own."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split("\n")[-2].split())


@pytest.mark.wire
@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_next_to_nothing(argument: str) -> None:
    assert loaded(argument) & (HEAVY | LIGHT_ONLY) == set()


@pytest.mark.wire
def test_version_needs_no_typer() -> None:
    assert loaded("--version") & {"typer", "rich"} == set()


@pytest.mark.wire
@pytest.mark.parametrize("command", ["imagine", "status", "deploy", "loadtest"])
def test_the_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    assert loaded(command, "--help") & HEAVY == set()
