"""When another try follows, with a clock that only these tests turn."""

import pytest

from sdctl.errors import Busy, Unreachable
from sdctl.retry import Again, Clock, Policy, retry


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep)


def failing(times: int, again: Again) -> list[Again]:
    return [again] * times


def run(failures: list[Again], time: Time, *, timeout_s: float = 60) -> tuple[str, list[float]]:
    lefts: list[float] = []

    def attempt(left_s: float) -> str:
        lefts.append(left_s)
        if failures:
            raise failures.pop(0)
        return "image"

    return retry(attempt, timeout_s=timeout_s, clock=time.clock()), lefts


BUSY = Again(Busy("busy"), reason="is busy")
GONE = Again(Unreachable("gone"), reason="cannot be reached", connected=False)
LOST = Again(Unreachable("lost"), reason="dropped the connection")


def test_waits_double_up_to_a_limit_and_differ() -> None:
    time = Time()
    result, lefts = run(failing(8, BUSY), time)
    assert result == "image"
    for number, waited in enumerate(time.slept):
        full = min(8.0, 0.5 * 2**number)
        assert full / 2 <= waited <= full
    assert lefts == sorted(lefts, reverse=True)


def test_the_service_says_how_long_to_wait() -> None:
    time = Time()
    run(failing(1, Again(Busy("busy"), reason="is busy", after_s=7)), time)
    assert 7 <= time.slept[0] <= 7.5


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    time = Time()
    with pytest.raises(Busy):
        run(failing(1, Again(Busy("busy"), reason="is busy", after_s=61)), time)
    assert time.slept == []


def test_a_service_that_was_never_there_is_given_up_early() -> None:
    time = Time()
    with pytest.raises(Unreachable):
        run(failing(99, GONE), time, timeout_s=600)
    assert time.now - 100 <= Policy().patience_s


def test_a_service_that_went_away_is_waited_for() -> None:
    time = Time()
    result, _ = run([LOST, *failing(6, GONE)], time)
    assert result == "image"
    assert time.now - 100 > Policy().patience_s


def test_some_failures_are_tried_only_a_few_times() -> None:
    time = Time()
    with pytest.raises(Unreachable):
        run(failing(99, Again(Unreachable("lost"), reason="lost the request", most=3)), time)
    assert len(time.slept) == 2


def test_every_wait_is_told() -> None:
    time, told = Time(), []
    failures = [BUSY, LOST]

    def attempt(left_s: float) -> None:
        if failures:
            raise failures.pop(0)

    retry(attempt, timeout_s=60, clock=time.clock(), notify=lambda reason, wait_s: told.append((reason, wait_s)))
    assert [reason for reason, _ in told] == ["is busy", "dropped the connection"]
    assert [wait_s for _, wait_s in told] == time.slept
