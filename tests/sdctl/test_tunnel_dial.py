"""Trying again, giving up, and telling it once."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sdctl.cluster import tunnel_dial
from sdctl.cluster.client import Cluster
from sdctl.cluster.pods import PodPort, Route
from sdctl.cluster.refusals import KIND_MISSING
from sdctl.cluster.tunnel_dial import Abandoned, Dialer, Link
from sdctl.errors import NotAllowed, NotFound, SdctlError, Unreachable


@dataclass
class Plan:
    """What happens at each try: an error of the route or the handshake, or a link's socket."""

    handshakes: list[Any]
    pods: list[Any] = field(default_factory=list)
    forgotten: int = 0
    told: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def next(self) -> PodPort:
        answer = self.pods.pop(0) if self.pods else PodPort("b", 8000)
        if isinstance(answer, Exception):
            raise answer
        return cast("PodPort", answer)

    def forget(self) -> None:
        self.forgotten += 1

    def handshake(self, cluster: object, namespace: str, pod: PodPort) -> Any:
        answer = self.handshakes.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], Dialer]:
    def make(plan: Plan) -> Dialer:
        monkeypatch.setattr(tunnel_dial, "handshake", plan.handshake)
        monkeypatch.setattr(Dialer, "_sleep", lambda _, wait_s: plan.waited.append(wait_s))
        route = cast("Route", plan)
        return Dialer(cast("Cluster", None), "sdctl", route, notify=plan.told.append, patience_s=3600.0)

    return make


def test_it_tries_until_a_pod_answers_and_says_so_once(dial: Callable[[Plan], Dialer]) -> None:
    trouble: list[Any] = [Unreachable("HTTP 500"), SdctlError("HTTP 502"), Unreachable("HTTP 404: pod gone")]
    plan = Plan([*trouble * 4, "socket"], [Unreachable("No pod runs."), PodPort("a", 8000)])
    link = dial(plan).connect(lambda: True)
    assert link == Link(cast("socket.socket", "socket"), PodPort("b", 8000))
    assert plan.told == ["Reconnecting: No pod runs.", "Connected again, to b:8000."]
    assert plan.forgotten == 13
    assert max(plan.waited) <= tunnel_dial.BACK_OFF.longest_s
    assert len(set(plan.waited)) > 1


@pytest.mark.parametrize("error", [NotAllowed("403"), NotFound("There is no RayService.")])
def test_it_stops_where_another_try_ends_the_same(dial: Callable[[Plan], Dialer], error: SdctlError) -> None:
    plan = Plan([error])
    with pytest.raises(type(error)):
        dial(plan).connect(lambda: True)
    assert plan.waited == []


REFUSALS = [NotAllowed("403"), NotAllowed("401"), NotFound("no such kind", code=KIND_MISSING)]


@pytest.mark.parametrize("error", REFUSALS)
def test_a_refusal_after_it_has_worked_may_be_of_a_server_that_starts(
    dial: Callable[[Plan], Dialer], error: SdctlError, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(["socket", error, error, "socket", error])
    dialer = dial(plan)
    dialer.connect(lambda: True)
    dialer.connect(lambda: True)
    assert plan.told == [f"Reconnecting: {error.message}", "Connected again, to b:8000."]
    monkeypatch.setattr(tunnel_dial, "SETTLE_S", 0.0)  # it has lasted
    with pytest.raises(type(error)):
        dialer.connect(lambda: True)


def test_a_service_that_is_deleted_ends_it_at_once(dial: Callable[[Plan], Dialer]) -> None:
    plan = Plan(["socket", NotFound("There is no RayService.")])
    dialer = dial(plan)
    dialer.connect(lambda: True)
    with pytest.raises(NotFound):
        dialer.connect(lambda: True)


def test_it_gives_up_for_a_client_that_has_gone_and_when_stopped(dial: Callable[[Plan], Dialer]) -> None:
    plan = Plan([Unreachable("x")] * 3)
    wanted = iter([True, True, False])
    with pytest.raises(Abandoned):
        dial(plan).connect(lambda: next(wanted))
    dialer = dial(plan)
    dialer.stop()
    with pytest.raises(Abandoned):
        dialer.connect(lambda: True)


def test_a_broken_connection_makes_the_next_one_look_again(dial: Callable[[Plan], Dialer]) -> None:
    plan = Plan(["socket", "socket"])
    dialer = dial(plan)
    dialer.connect(lambda: True)
    dialer.lost(PodPort("a", 8000), "the tunnel broke before the end")
    assert plan.forgotten == 1
    dialer.connect(lambda: True)
    assert plan.told == [
        "Reconnecting: a:8000: the tunnel broke before the end",
        "Connected again, to b:8000.",
    ]
