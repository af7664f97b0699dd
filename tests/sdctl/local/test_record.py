"""What is kept of a deployment, and what is not believed."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdctl import state
from sdctl.cli import run
from sdctl.errors import SdctlError
from sdctl.local import ports, record
from sdctl.local.processes import Claim, Identity, boot_id, started


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(record, "base_folder", lambda: tmp_path / "base")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = run([*words, "--local", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_record_comes_back_as_it_was_kept() -> None:
    made = record.create().with_(
        leader=Identity(1, 2), members=(Identity(3, 4),), serve_port=8000, gpu_nodes=(1, 3), config={"a": [1]}
    )
    assert record.load() == made
    assert record.token_path().stat().st_mode & 0o777 == 0o600
    assert len(record.token()) == 64
    assert Path(made.folder).stat().st_mode & 0o777 == 0o700
    record.forget(made)
    assert record.load() is None
    assert not Path(made.folder).exists()
    assert record.token() == ""


def test_a_folder_whose_record_was_lost_is_found_and_removed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = record.create()
    state.remove(record.FILE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert record.abandoned() == []  # it belongs to the other state home
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert [each.folder for each in record.abandoned()] == [lost.folder]
    code, document = said(capsys, "cleanup")
    assert (code, [each["name"] for each in document["removed"]]) == (0, [lost.folder])
    assert not Path(lost.folder).exists()


@pytest.mark.parametrize(
    "kept", [{}, {"folder": "/"}, {"id": "x", "folder": "/etc", "boot": "b"}, {"id": 3, "folder": 4}, {"strange": 1}]
)
def test_a_record_that_makes_no_sense_counts_as_none(kept: dict[str, Any]) -> None:
    state.write(record.FILE, kept)
    assert record.load() is None


def test_numbers_of_another_boot_mean_nothing() -> None:
    made = record.create().with_(leader=Identity(os.getppid(), started(os.getppid())))
    assert made.claim.leader is not None
    assert replace(made, boot="another").claim == Claim(made.folder)


def test_somebody_elses_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SdctlError, match="somebody else"):
        record.create()


def test_only_one_command_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with record.exclusive():
        code, document = said(capsys, "cleanup")
    assert (code, document["error"]["code"]) == (1, "locked")


def test_nothing_deployed(capsys: pytest.CaptureFixture[str]) -> None:
    code, status = said(capsys, "status")
    assert (code, status["state"]) == (3, "absent")
    for command in ("logs", "forward", "dashboard"):
        code, document = said(capsys, command)
        assert (code, document["error"]["code"]) == (3, "not_found")
    assert said(capsys, "cleanup") == (0, {"target": "local", "removed": [], "stays": [], "left": []})


@pytest.mark.wire
@pytest.mark.parametrize("boot", [boot_id(), "another"])
def test_what_a_crash_or_reboot_left_is_recognised_and_removed(boot: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = replace(record.create(), boot=boot).with_(
        leader=Identity(os.getpid(), 1),  # this process has another start time
        dashboard_port=ports.free(1)[0],
        serve_port=8000,
        config={"applications": [{"name": "a"}]},
    )
    code, status = said(capsys, "status")
    assert (code, status["state"]) == (0, "failing")
    assert "have ended" in status["reason"]
    code, document = said(capsys, "cleanup")
    assert code == 0
    assert {each["kind"] for each in document["removed"]} == {"folder", "record"}
    assert not Path(made.folder).exists()
    assert said(capsys, "status")[0] == 3


def test_wrong_wishes_are_refused_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wishes = [
        (["--replicas", "3:1"], 2),
        (["--replicas", "0"], 2),
        (["--gpu-nodes", "x"], 2),
        (["--model", "./missing"], 3),
        (["-f", str(tmp_path / "missing.yaml")], 3),
        (["--timeout", "soon"], 2),
    ]
    for words, expected in wishes:
        code, document = said(capsys, "deploy", *words)
        assert (code, bool(document["error"]["hint"])) == (expected, True), words
    assert not (tmp_path / "base").exists()
