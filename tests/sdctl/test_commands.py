"""The commands that every target shares: what they pass on, print, remember, and exit with."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sdctl import show, state
from sdctl.cli import run
from sdctl.errors import SdctlError
from sdctl.output import Output
from sdctl.targets.base import Leftover, LogLine, Node, ServiceStatus, Step
from tests.fakes.target import FakeTarget

Use = Callable[[FakeTarget], FakeTarget]


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Make a fake the target of every command."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def put(target: FakeTarget) -> FakeTarget:
        for verb in ("deploy", "status", "logs", "cleanup", "forward", "dashboard"):
            module = importlib.import_module(f"sdctl.commands.{verb}")
            monkeypatch.setattr(module, "select", lambda selection: target)
        return target

    return put


def test_deploy_passes_the_wishes_shows_stages_and_remembers(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    target = use(FakeTarget(waits=[(Step("Ray", "done", seconds=7.25), Step("replica", "running", "is starting"))]))
    words = ["deploy", "--local", "--model", "m", "--replicas", "1:4", "--gpu-nodes", "2", "--timeout", "5m", "--json"]
    assert run([*words, "--port", "8001"]) == 0
    spec = target.spec
    assert spec is not None
    assert (spec.model, spec.replicas, spec.gpu_nodes) == ("m", (1, 4), (2, 2))
    assert (spec.port, spec.timeout_s) == (8001, 300)
    streams = capsys.readouterr()
    assert json.loads(streams.out)["state"] == "ready"
    assert streams.err.splitlines() == ["Ray: done in 7.2 s", "replica: running, is starting"]
    assert state.last_target() == "local"


def test_deploy_without_waiting(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeTarget(waits=[AssertionError("waited")]))
    assert run(["deploy", "--no-wait"]) == 0
    assert "is ready" in capsys.readouterr().out


def test_ctrl_c_leaves_the_deployment_and_says_how_to_go_on(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeTarget(waits=[KeyboardInterrupt()]))
    assert run(["deploy"]) == 130
    assert "sdctl status --target local --watch" in capsys.readouterr().err


def test_a_deployment_that_fails_is_one_error_document(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeTarget(waits=[(Step("replica", "failed", "boom"),), SdctlError("It did not start.", hint="Look.")]))
    assert run(["deploy", "--json"]) == 1
    streams = capsys.readouterr()
    assert json.loads(streams.out) == {"error": {"code": "failed", "message": "It did not start.", "hint": "Look."}}
    assert "replica: failed" in streams.err


def test_status_says_all_that_is_known(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = (Node("gpu-1", "g5.xlarge", "Ready", 1.0),)
    details = {"model": "m", "drift": ["replicas"], "phases_s": {"Ray": 1.25}, "pods": [{"name": "p", "why": None}]}
    status = ServiceStatus("local", "s", "starting", "No GPU.", "Wait.", "http://e", "", 3, 1, nodes, details)
    use(FakeTarget(state=status))
    assert run(["status"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "s on local",
        "No GPU.",
        "Wait.",
        "http://e",
        "1 running of 3",
        "gpu-1  g5.xlarge",
        "Ray 1.2",
        "drift",
    ):
        assert text in shown
    assert run(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["replicas"] == {"target": 3, "running": 1}
    assert document["nodes"][0]["gpus"] == 1.0
    use(FakeTarget(state=ServiceStatus("local", "s", "absent")))
    assert run(["status"]) == 3


def test_status_watch_prints_a_line_for_each_change(
    use: Use, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = use(FakeTarget())
    rounds = iter(["same", "other", KeyboardInterrupt()])

    def pass_time(seconds: float) -> None:
        happening = next(rounds)
        if isinstance(happening, BaseException):
            raise happening
        if happening == "other":
            target.state = ServiceStatus("local", "stable-diffusion", "failing")

    monkeypatch.setattr(importlib.import_module("sdctl.commands.status").time, "sleep", pass_time)
    assert run(["status", "--watch", "--json"]) == 130
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line).get("state") for line in lines[:2]] == ["ready", "failing"]


def test_logs_pass_the_query_and_print_lines(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    target = use(FakeTarget(lines=[LogLine("head", "hello"), LogLine("Generator a", "world")]))
    assert run(["logs", "--since", "5m", "--tail", "7", "--role", "head"]) == 0
    assert capsys.readouterr().out == "head | hello\nGenerator a | world\n"
    query = target.query
    assert query is not None
    assert (query.since_s, query.tail, query.role, query.follow) == (300, 7, "head", False)
    assert run(["logs", "--json"]) == 0
    assert [json.loads(line)["source"] for line in capsys.readouterr().out.splitlines()] == ["head", "Generator a"]


def test_cleanup_tells_what_went_and_what_stays(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    pods, node = (Leftover("process", "a"), Leftover("process", "b")), Leftover("node", "n", "waits", costs_money=True)
    use(FakeTarget(left=[(*pods, node), (node,), ()]))
    assert run(["cleanup"]) == 0
    streams = capsys.readouterr()
    assert "Removed 2 processes, 1 node." in streams.out
    assert "removing node n (costs money): waits" in streams.err
    use(FakeTarget(left=[()]))
    assert run(["cleanup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == []


def test_cleanup_that_does_not_end_names_what_is_left(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeTarget(left=[(Leftover("node", "n", "finalizer"),)] * 3))
    assert run(["cleanup", "--timeout", "0.000001", "--json"]) == 4
    assert "node n: finalizer" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_cleanup_on_a_cluster_asks_first(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeTarget(name="kubernetes", left=[(Leftover("pod", "p"),)]))
    assert run(["cleanup", "--json"]) == 2
    assert "--yes" in json.loads(capsys.readouterr().out)["error"]["hint"]
    assert run(["cleanup", "--yes"]) == 0


def test_forward_and_dashboard_of_a_target_that_needs_none(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeTarget())
    assert run(["forward", "serve", "dashboard", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dashboard"]["url"] == "http://127.0.0.1:8265"
    assert run(["dashboard", "--no-browser"]) == 0
    assert "opensesame" in capsys.readouterr().out
    assert run(["forward", "gpu"]) == 2


@pytest.mark.parametrize(("value", "text"), [(None, ""), (0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s")])
def test_durations(value: float | None, text: str) -> None:
    assert show.seconds(value) == text


def test_stages_in_a_terminal_are_redrawn_and_stay_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    with show.stages(Output()) as report:
        report((Step("Ray", "running", seconds=1.0),))
        report((Step("Ray", "done", seconds=2.0), Step("load", "failed", "no memory")))
    shown = capsys.readouterr().err
    assert "✓" in shown
    assert "no memory" in shown.splitlines()[-1]
