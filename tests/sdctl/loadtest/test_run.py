"""Whole load tests with the real Locust child against a service that makes trouble: every request is accounted for."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sdctl.loadtest.results import Results
from tests.fakes.http_service import HttpService, Reply, error, http_service
from tests.loads import generator, lines
from tests.sdctl.loadtest.builders import record

pytestmark = pytest.mark.wire


@pytest.fixture
def fake() -> Iterator[HttpService]:
    with http_service() as serving:
        yield serving


def start(url: str, folder: Path, *words: str, file_limit: int = 0) -> "subprocess.Popen[str]":
    """Begin a load test; with a limit in bytes, its files can grow no further, as on a full disk."""
    prompts = folder / "prompts.txt"
    prompts.write_text("a red circle\na blue star\n", encoding="utf-8")
    command = [sys.executable, "-m", "sdctl", "loadtest", "--target", url, "--prompts", str(prompts)]
    if file_limit:
        command = ["prlimit", f"--fsize={file_limit}", *command]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [*command, "-o", str(folder / "out"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_every_way_a_request_can_end_is_counted_once(fake: HttpService, tmp_path: Path) -> None:
    fake.script += [
        error(503, "busy", **{"Retry-After": "1"}),
        error(429, "busy"),
        error(500, "internal"),
        error(504, "deadline"),
        Reply(drop=True),
        Reply(200, b"x" * 4000, {"Content-Type": "image/png"}, cut=1000),
        Reply(200, b"not an image", {"Content-Type": "image/png"}),
    ]
    words = ("--rate", "20/s", "--arrivals", "constant", "--run-time", "2s", "--json", "--slo", "errors<1%")
    code, out, err = ended(start(fake.url, tmp_path, *words))
    summary = json.loads(out)
    assert code == 6, err
    assert summary["error"]["code"] == "slo_missed"
    assert summary["sent"] == 40
    assert summary["outcomes"] == {
        "ok": 33,
        "wrong": 1,
        "mismatch": 0,
        "http_error": 1,
        "refused_busy": 2,
        "timed_out": 1,
        "connection_lost": 2,
        "unfinished": 0,
    }
    assert len(lines(tmp_path / "out" / "requests.jsonl")) == 40
    assert all(not seen.path.startswith("/imagine?") for seen in fake.posts)
    assert (tmp_path / "out" / "report.html").stat().st_size > 5000


def test_what_is_in_flight_when_the_generator_is_killed_is_unfinished_not_forgotten(
    fake: HttpService, tmp_path: Path
) -> None:
    gate = threading.Event()
    fake.script += [Reply(200, b"", {}, hold=gate) for _ in range(3)]
    process = start(fake.url, tmp_path, "--users", "3", "--run-time", "300s", "--json")
    until(lambda: len(fake.posts) == 3, "three users wait")
    generator(process.pid).kill()
    gate.set()
    code, out, err = ended(process)
    summary = json.loads(out)
    assert summary["outcomes"]["unfinished"] == summary["sent"] == 3, err
    assert [line["outcome"] for line in lines(tmp_path / "out" / "requests.jsonl")] == 3 * ["unfinished"]
    assert code == 1  # nothing succeeded
    assert any("died" in note for note in summary["notes"])


def test_ctrl_c_ends_the_run_cleanly_and_still_writes_the_report(fake: HttpService, tmp_path: Path) -> None:
    process = start(fake.url, tmp_path, "--users", "2", "--run-time", "300s", "--grace", "20s", "--json")
    until(lambda: len(fake.posts) > 10, "load runs")
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    summary = json.loads(out)
    assert code == 130, err
    assert summary["interrupted"] is True
    assert summary["sent"] == sum(summary["outcomes"].values()) >= 10
    assert summary["outcomes"]["unfinished"] == 0
    assert (tmp_path / "out" / "report.html").exists()


def test_the_load_ends_with_a_parent_that_was_killed_and_its_report_can_still_be_drawn(
    fake: HttpService, tmp_path: Path
) -> None:
    from sdctl.cli import run

    out = tmp_path / "out"
    process = start(fake.url, tmp_path, "--users", "2", "--run-time", "300s", "--slo", "p95<60s")
    until(lambda: len(lines(out / "requests.jsonl")) > 5, "load runs")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    until(lambda: not any(alive(child) for child in children), "the generator ends")
    with (out / "requests.jsonl").open("a", encoding="utf-8") as torn:
        torn.write('{"id": 9999, "prom')
    assert run(["loadtest", "--report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The run was killed" in page
    assert "p95&lt;60s: met" in page


def test_a_service_that_is_killed_loses_connections_and_no_request(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests.benchmarks.stub", "--latency", "0.02", "--record", str(tmp_path / "r")]
    told = tmp_path / "out" / "requests.jsonl"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        url = f"http://127.0.0.1:{service.stdout.readline().strip()}"
        process = start(url, tmp_path, "--users", "3", "--run-time", "300s", "--json")
        until(lambda: "ok" in {line["outcome"] for line in lines(told)}, "images come")
        service.kill()
        until(lambda: sum(line["outcome"] == "connection_lost" for line in lines(told)) >= 3, "connections are lost")
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    summary = json.loads(out)
    assert code == 130, err
    assert summary["sent"] == sum(summary["outcomes"].values()) == len(lines(told))
    assert summary["outcomes"]["ok"] > 0
    assert summary["outcomes"]["connection_lost"] >= 3
    assert (tmp_path / "out" / "report.html").exists()


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_a_full_disk_stops_the_writing_and_not_the_counting(tmp_path: Path) -> None:
    results = Results(tmp_path / "out")
    full = Path("/dev/full").open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed by finish
    results._files["requests.jsonl"].close()
    results._files["requests.jsonl"] = full
    results.request(record(1, 2.0))
    results.request(record(2, 3.0))
    results.close()
    assert "No space left" in results.trouble


def test_a_run_on_a_full_disk_still_says_what_happened(fake: HttpService, tmp_path: Path) -> None:
    words = ("--rate", "20/s", "--arrivals", "constant", "--run-time", "2s", "--json")
    code, out, err = ended(start(fake.url, tmp_path, *words, file_limit=4096))
    summary = json.loads(out)
    assert code == 0, err
    assert summary["sent"] == summary["outcomes"]["ok"] == 40
    assert any("could not be written" in note for note in summary["notes"]), summary["notes"]
    assert (tmp_path / "out" / "requests.jsonl").stat().st_size <= 4096
    assert not list((tmp_path / "out").glob("report*"))  # larger than what fits: not there, rather than a half
    assert not list((tmp_path / "out").glob(".*"))
    told = tmp_path / "out" / "summary.json"
    assert not told.exists() or json.loads(told.read_text(encoding="utf-8"))["sent"] == 40
    assert summary["report"] is None


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--plan", "wave"], 2, "--plan wave"),
        (["--users", "0"], 2, "0 users"),
        (["--slo", "fast"], 2, "--slo fast"),
        (["--price", "free"], 2, "--price free"),
        (["--prompts", "/nowhere/prompts.txt"], 3, "/nowhere/prompts.txt"),
        (["--report", "/nowhere"], 3, "/nowhere"),
        (["--compare", "/nowhere"], 3, "/nowhere"),
        (["--target", "http://127.0.0.1:1", "--run-time", "1s"], 5, "127.0.0.1:1"),
    ],
)
def test_wrong_input_is_said_before_anything_is_sent(
    words: list[str], code: int, text: str, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    from sdctl.cli import run

    monkeypatch.chdir(tmp_path)
    base = [] if "--target" in words else ["--target", "http://127.0.0.1:1"]
    assert run(["loadtest", *base, *words, "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert text in printed["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_drawn_again_and_compared(fake: HttpService, tmp_path: Path, capsys: Any) -> None:
    from sdctl.cli import run

    code, _, err = ended(start(fake.url, tmp_path, "--rate", "20/s", "--run-time", "1s"))
    assert code == 0, err
    folder = tmp_path / "out"
    (folder / "report.html").unlink()
    assert run(["loadtest", "--report", str(folder), "--compare", str(folder)]) == 0
    assert "1.00 x" in capsys.readouterr().out
    assert (folder / "report.html").exists()
