"""`sdctl doctor` and `sdctl cleanup`: what they print, and their exit codes."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdctl import cli
from sdctl.targets.base import Finding, Leftover

FINDINGS = {
    "good": (Finding("ok", "API server", "Kubernetes 1.33", "no fix"), Finding("unknown", "GPUs", "not seen", "Ask.")),
    "bad": (Finding("fail", "KubeRay's CRDs", "none", "Install KubeRay."),),
}
NODE = Leftover("Node", "gpu-1", "it holds 2 pods of others", costs_money=True, stays=True)


class Fake:
    """A target with fixed findings, and with a clean-up that takes two looks."""

    name = "kubernetes"
    findings: tuple[Finding, ...] = ()
    keep_namespace = False
    left: tuple[tuple[Leftover, ...], ...] = ()

    def doctor(self) -> Iterator[Finding]:
        yield from self.findings

    def cleanup(self) -> Iterator[tuple[Leftover, ...]]:
        yield from self.left


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    target = Fake()
    for module in ("sdctl.commands.doctor", "sdctl.commands.cleanup"):
        monkeypatch.setattr(f"{module}.select", lambda _: target)
    return target


def test_doctor_prints_fixes_only_where_something_is_to_mend(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.findings = FINDINGS["good"]
    assert cli.run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == ["ok       API server: Kubernetes 1.33", "unknown  GPUs: not seen", "         → Ask."]


def test_doctor_exits_with_1_when_a_check_fails(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.findings = (*FINDINGS["good"], *FINDINGS["bad"])
    assert cli.run(["doctor", "--json"]) == 1
    document: Any = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [each["level"] for each in document["findings"]] == ["ok", "unknown", "fail"]


def test_doctor_without_a_kubeconfig_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--target", "kubernetes", "--kubeconfig", str(tmp_path / "none")]) == 1
    assert "fail     kubeconfig: There is no kubeconfig" in capsys.readouterr().out


def test_cleanup_tells_what_stays_and_why(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.left = ((Leftover("Pod", "a"), NODE), (NODE,))
    assert cli.run(["cleanup", "--yes", "--json", "--keep-namespace"]) == 0
    document: Any = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in document["removed"]] == ["a"]
    assert [each["name"] for each in document["stays"]] == ["gpu-1"]
    assert document["left"] == []
    assert fake.keep_namespace


def test_cleanup_that_times_out_names_what_is_left(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.left = ((Leftover("Node", "gpu-1", "it is empty", costs_money=True), NODE),) * 3
    assert cli.run(["cleanup", "--yes", "--timeout", "0.000001"]) == 4
    assert "Node gpu-1 (costs money): it is empty" in capsys.readouterr().err


def test_cleanup_of_nothing_says_so(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["cleanup", "--yes"]) == 0
    assert "There is nothing of sdctl on kubernetes." in capsys.readouterr().out


def test_cleanup_asks_and_needs_yes_without_a_terminal(
    fake: Fake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.run(["cleanup"]) == 2
    assert "--yes" in capsys.readouterr().err
