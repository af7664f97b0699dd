"""The arithmetic of the benchmarks, from plain data."""

import random

import pytest

from loadtests.benchmarks.generator import bucketed, peak
from loadtests.benchmarks.watching import BAR, Window, images_per_s, interval, pairs, verdict
from sdctl.loadtest.records import Record


def record(number: int, sent: float, done: float) -> Record:
    return Record(number, "p", sent, sent, done, done, "ok")


def test_a_percentile_is_taken_from_rounded_times_as_locust_does() -> None:
    told = {100.0: 50, 1000.0: 45, 11000.0: 5}
    assert [bucketed(told, share) for share in (0.25, 0.5, 0.9, 0.95, 0.99)] == [0.1, 1.0, 1.0, 11.0, 11.0]


def test_the_most_requests_at_once() -> None:
    assert peak([record(1, 0.0, 10.0), record(2, 5.0, 6.0), record(3, 6.5, 7.0)]) == 2


def test_an_image_that_was_under_way_at_the_edge_of_a_window_counts_by_its_part() -> None:
    window = Window(True, 10.0, 20.0, 0.0)
    made = [record(1, 0.0, 5.0), record(2, 8.0, 12.0), record(3, 12.0, 16.0), record(4, 19.0, 23.0)]
    assert images_per_s(window, made) == pytest.approx((0.5 + 1.0 + 0.25) / 10.0)


def test_pairs_are_told_the_same_way_round_whichever_came_first() -> None:
    alone, watched = Window(False, 0.0, 1.0, 0.1), Window(True, 1.0, 2.0, 0.2)
    assert list(pairs([alone, watched, watched, alone])) == [(alone, watched)] * 2


def test_the_interval_holds_the_truth_nearly_always() -> None:
    source, held = random.Random(1), 0
    for _ in range(400):
        middle, half = interval([source.gauss(0.01, 0.02) for _ in range(26)])
        held += abs(middle - 0.01) <= half
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_the_bar_is_met_only_where_the_whole_interval_is_below_it() -> None:
    assert verdict(BAR / 2, BAR / 4) == "met"
    assert verdict(BAR * 2, BAR / 4) == "missed"
    assert verdict(BAR * 0.9, BAR / 4).startswith("cannot be told")
