"""Which logs are read, and how lines that grow in a file become a stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdctl.cluster.client import Cluster
from sdctl.cluster.logs import logs, sources
from sdctl.cluster.logs_replicas import ReplicaLogs, news
from sdctl.errors import InvalidRequest, NotAllowed, Unreachable
from sdctl.targets.base import LogQuery
from tests.sdctl.diagnosis.builders import pod


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("xyz"), max_size=12), st.integers(1, 30))
def test_news_are_the_lines_that_were_added(before: list[str], added: list[str], window: int) -> None:
    seen = tuple(f"{index} {line}" for index, line in enumerate(before))
    tail = (*seen, *(f"new {index} {line}" for index, line in enumerate(added)))[-window:]
    assert list(news(seen, tail)) == list(tail[max(0, len(tail) - len(added)) :])


def test_sources_are_heads_first_and_name_their_sidecars() -> None:
    head = pod("head")
    head["spec"]["containers"].append({"name": "autoscaler"})
    titles = [source.title for _, source in sources([pod(), head], "")]
    assert titles == ["sd-x7k2p-head-aaaaa", "sd-x7k2p-head-aaaaa/autoscaler", "sd-x7k2p-gpu-worker-bbbbb"]
    assert [source.title for _, source in sources([pod(), head], "worker")] == ["sd-x7k2p-gpu-worker-bbbbb"]
    assert list(sources([pod(), head], "replica")) == []


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no role 'api'"):
        logs(Cluster(api=None), "images", "sd", LogQuery(role="api"))


@pytest.mark.parametrize(("role", "raises"), [("replica", True), ("", False)])
def test_ray_that_cannot_be_asked_fails_only_who_wants_replicas(role: str, raises: bool) -> None:
    @contextmanager
    def refuse(*_: Any) -> Iterator[Any]:
        raise Unreachable("No pod runs.")
        yield

    replicas = ReplicaLogs(Cluster(api=None), "images", "sd", LogQuery(role=role), open_dashboard=refuse)
    if raises:
        with pytest.raises(Unreachable):
            list(replicas.read())
    else:
        assert list(replicas.read()) == []


class Lines(Cluster):
    """A cluster that answers every log with the same lines."""

    def lines(self, *_: Any) -> Iterator[str]:
        yield "2026-11-20T12:00:00.123456789Z first"
        yield "2026-11-20T12:00:01Z second line"


def test_lines_carry_the_kubelets_time_and_go_on_after_it() -> None:
    [(_, source)] = sources([pod()], "worker")
    first, second = source.read(Lines(api=None), LogQuery())
    assert (first.text, first.time) == ("first", datetime(2026, 11, 20, 12, 0, 0, 123456, UTC))
    assert [line.text for line in source.read(Lines(api=None), LogQuery(), after=first.time)] == ["second line"]
    assert second.source == "sd-x7k2p-gpu-worker-bbbbb"


def test_a_refused_log_is_an_error() -> None:
    class Refusing(Cluster):
        def lines(self, *_: Any) -> Iterator[str]:
            raise NotAllowed("You may not get pods/log.")

    [(_, source)] = sources([pod()], "worker")
    with pytest.raises(NotAllowed):
        list(source.read(Refusing(api=None), LogQuery()))
