"""What is asked once before the load, over real sockets."""

import pytest

from sdctl.errors import Unreachable
from sdctl.loadtest.probe import PAIRS, added, probe
from sdctl.local import ports
from sdctl.targets.base import Endpoint
from tests.fakes.http_service import error, http_service

pytestmark = pytest.mark.wire


def test_the_service_tells_its_clock_and_a_round_trip() -> None:
    with http_service() as fake:
        got = probe(Endpoint(fake.url))
    assert got.round_trip_s > 0
    assert got.skew is not None
    assert abs(got.skew.seconds) <= got.skew.plus_minus + 1.0


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(Unreachable):
        probe(Endpoint(f"http://127.0.0.1:{ports.free(1)[0]}"))


def test_the_way_is_compared_with_a_pod_that_can_be_reached_and_its_key_stays_here() -> None:
    with http_service() as way, http_service() as pod:
        got = added(Endpoint(way.url, {"Authorization": "Bearer secret"}), [pod.url, "http://127.0.0.1:1"])
        assert got is not None
        assert len(way.seen) == len(pod.seen) == PAIRS + 1
        assert {"authorization" in each.headers for each in way.seen} == {True}
        assert {"authorization" in each.headers for each in pod.seen} == {False}


def test_without_a_pod_in_reach_nothing_is_compared() -> None:
    with http_service() as way, http_service() as other:
        other.gets = error(404, "not_found")
        for direct in ([], [f"http://127.0.0.1:{ports.free(1)[0]}"], [other.url]):
            assert added(Endpoint(way.url), direct) is None
