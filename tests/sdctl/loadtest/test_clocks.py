"""Clocks that differ from ours: measured from Date headers, and taken off the times that they told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdctl.loadtest import clocks, timeline
from sdctl.loadtest.clocks import Look, Skew, corrected, estimate
from sdctl.loadtest.report import render
from sdctl.loadtest.summary import summarise
from sdctl.loadtest.transitions import Transition
from tests.sdctl.loadtest.test_figures import story
from tests.sdctl.loadtest.test_timeline import BURST, baseline, cold_node, lengths


@given(
    skew=st.floats(-5000.0, 5000.0),
    trips=st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 0.5), st.floats(0.0, 0.5)), min_size=1, max_size=8),
)
def test_the_truth_is_within_what_is_told(skew: float, trips: list[tuple[float, float, float]]) -> None:
    now, looks = 1_000_000.0, []
    for pause, there, back in trips:
        sent = now + pause
        looks.append(Look(sent, sent + there + back, float(int(sent + there + skew))))
        now = sent + there + back
    got = estimate(looks)
    assert got is not None
    assert got.seconds == pytest.approx(skew, abs=got.plus_minus + 1e-6)
    assert got.plus_minus <= 0.5 + min(there + back for _, there, back in trips) / 2 + 1e-6


def test_looks_spread_over_a_second_narrow_each_other_down() -> None:
    looks = [Look(100.0 + n / 5, 100.001 + n / 5, float(int(107.33 + n / 5))) for n in range(5)]
    got = estimate(looks)
    assert got is not None
    assert got.seconds == pytest.approx(7.33, abs=0.11)
    assert got.plus_minus < 0.11
    assert estimate([]) is None


@given(skew=st.floats(-50.0, 50.0), phase=st.floats(0.0, 1.0), moments=st.lists(st.floats(0.0, 5.0), min_size=1))
def test_a_server_that_renews_its_date_once_a_second_is_not_taken_for_a_slow_clock(
    skew: float, phase: float, moments: list[float]
) -> None:
    looks = []
    for moment in sorted(moments):
        theirs = 1000.0 + moment + skew
        renewed = int(theirs - phase) + phase
        looks.append(Look(1000.0 + moment, 1000.0 + moment, float(int(renewed)), 2.0))
    got = estimate(looks)
    assert got is not None
    assert got.seconds == pytest.approx(skew, abs=got.plus_minus + 1e-6)


def test_a_clock_that_may_be_right_is_left_alone() -> None:
    assert Skew(0.3, 0.5).applied == 0.0
    assert Skew(-7.0, 0.5).applied == -7.0


def test_dates() -> None:
    assert clocks.date("Thu, 01 Jan 1970 00:01:00 GMT") == 60.0
    assert clocks.date("") is None
    assert clocks.date("soon") is None


def ahead(changes: list[Transition], source: str, seconds: float) -> list[Transition]:
    """The same story told by a clock that is ahead of ours."""
    told = []
    for change in changes:
        detail = {**change.detail}
        if "start_time" in detail:
            detail["start_time"] += seconds
        told.append(
            replace(change, at=None if change.at is None else change.at + seconds, source=source, detail=detail)
        )
    return told


def test_a_story_told_by_a_clock_that_is_ahead_has_the_same_phases() -> None:
    story = [*baseline(), *cold_node()]
    kubernetes = [t for t in story if t.kind in ("pod", "nodeclaim")]
    serve = [t for t in story if t.kind not in ("pod", "nodeclaim")]
    seen = [*ahead(kubernetes, "kubernetes", 100.0), *ahead(serve, "serve", -40.0)]
    right = lengths(timeline.build(story, [], burst=BURST))
    assert lengths(timeline.build(seen, [], burst=BURST)) != right
    mended = corrected(seen, {"api_server": 100.0, "service": -40.0})
    assert lengths(timeline.build(mended, [], burst=BURST)) == pytest.approx(right)


def test_the_summary_applies_it_and_the_page_says_so() -> None:
    run = story()
    shifted = replace(
        run,
        transitions=ahead([*run.transitions], "kubernetes", 60.0),
        clocks={"service": None, "api_server": Skew(60.0, 0.1)},
    )
    assert summarise(shifted)["phases"] == summarise(run)["phases"]
    page = render(summarise(shifted), shifted.records, shifted.transitions)
    assert "+60.00 s against this machine" in page
    assert "its times were corrected" in page
