"""Log lines from the files that Ray and Serve write."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sdctl.errors import InvalidRequest
from sdctl.local import logs
from sdctl.targets.base import LogQuery

REPLICA = "serve/replica_stable-diffusion_Generator_abc123.log"
NOW = datetime.now().astimezone()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "session_latest" / "logs" / "serve").mkdir(parents=True)
    return tmp_path


def write(folder: Path, name: str, *lines: str) -> None:
    with (folder / "session_latest" / "logs" / name).open("a") as file:
        file.writelines(line + "\n" for line in lines)


def stamped(text: str, ago_s: float = 0) -> str:
    return f"INFO {NOW - timedelta(seconds=ago_s):%Y-%m-%d %H:%M:%S},000 name -- {text}"


def test_sources_roles_and_times(folder: Path) -> None:
    write(folder, REPLICA, stamped("ready"), "  a second line")
    write(folder, "serve/controller_7.log", stamped("deploying"))
    write(folder, "worker-0a-01-99.err", ":job_id:01", stamped("told elsewhere"), "Traceback")
    lines = list(logs.read(str(folder), LogQuery(role="replica")))
    assert {line.source for line in lines} == {"Generator abc123"}
    assert [line.time == NOW.replace(microsecond=0) for line in lines] == [True, True]
    everything = {line.source: line.text for line in logs.read(str(folder), LogQuery())}
    assert everything["worker 99"] == "Traceback"
    assert "deploying" in everything["controller_7"]
    with pytest.raises(InvalidRequest, match="role"):
        list(logs.read(str(folder), LogQuery(role="pilot")))


def test_tail_and_since(folder: Path) -> None:
    write(folder, REPLICA, stamped("old", 3600), stamped("middle", 60), stamped("new"))
    assert [line.text[-3:] for line in logs.read(str(folder), LogQuery(tail=1))] == ["new"]
    assert len(list(logs.read(str(folder), LogQuery(since_s=600)))) == 2
    assert list(logs.read(str(folder), LogQuery(tail=0))) == []


def test_follow_gives_whole_new_lines_and_newcomers_until_the_folder_goes(folder: Path) -> None:
    write(folder, REPLICA, "first")
    path = folder / "session_latest" / "logs" / REPLICA
    steps: list[Callable[[], object]] = [
        lambda: path.write_text(path.read_text() + "second\nthi"),
        lambda: path.write_text(path.read_text() + "rd\n"),
        lambda: write(folder, "serve/replica_a_Ingress_x.log", "newcomer"),
        lambda: path.write_text("cut\n"),
        lambda: folder.rename(folder.with_name("gone")),
    ]

    def move(seconds: float) -> None:
        steps.pop(0)()

    lines = logs.read(str(folder), LogQuery(follow=True), sleep=move)
    assert [line.text for line in lines] == ["first", "second", "third", "newcomer", "cut"]


def test_times_that_are_none() -> None:
    assert logs.line_time("no time") is None
    assert logs.line_time("INFO 2026-99-28 12:09:37,872 x") is None
