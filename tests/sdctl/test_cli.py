"""The command line as a whole: help, version, errors, exit codes, completion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sdctl
from sdctl import cli
from sdctl.cli import COMMANDS, run
from sdctl.errors import SdctlError

SDCTL = [sys.executable, "-m", "sdctl"]


def leaves(kind: type[SdctlError]) -> list[type[SdctlError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"sdctl {sdctl.__version__}\n"
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, summary) in COMMANDS.items():
        assert name in shown
        assert summary.split()[0] in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_takes_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"sdctl {command}" in shown
    assert "--json" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_exit_2_and_one_json_document(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--surprise", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "invalid"


def test_an_unknown_command_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deplyo"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "--help" in streams.err


def test_documented_exit_codes_are_those_of_the_errors() -> None:
    app = cli.build_app()
    assert app.info.epilog is not None
    for kind in leaves(SdctlError):
        assert f"{kind.exit_code} " in app.info.epilog


@pytest.mark.parametrize("command", ["status", "imagine"])
def test_a_target_that_is_none_is_exit_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--target", "moon", "--json"]) == 2
    assert "moon" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert run([command, "--local", "--target", "kubernetes", "--json"]) == 2


@pytest.mark.wire
def test_a_reader_that_goes_away_is_no_traceback() -> None:
    child = subprocess.Popen([*SDCTL, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    errors = child.stderr.read()
    child.stderr.close()
    child.wait(120)
    assert b"Traceback" not in errors


@pytest.mark.wire
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    environment = {**os.environ, "_SDCTL_COMPLETE": "complete_bash", "XDG_STATE_HOME": str(tmp_path)}
    for words, wanted in {"sdctl ima": "imagine", "sdctl imagine --neg": "--negative"}.items():
        asked = {**environment, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = subprocess.run(SDCTL, env=asked, capture_output=True, text=True, timeout=120, check=False)
        assert wanted in done.stdout.split(), done


@pytest.mark.wire
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_for_each_shell(shell: str) -> None:
    environment = {**os.environ, "_SDCTL_COMPLETE": f"source_{shell}"}
    done = subprocess.run(SDCTL, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    assert f"_SDCTL_COMPLETE=complete_{shell}" in done.stdout
