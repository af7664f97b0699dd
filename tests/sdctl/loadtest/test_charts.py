"""Axes, curves and parts of the report, from plain data."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdctl.loadtest.autoscaler import Report, report_changes
from sdctl.loadtest.charts import nice, scale
from sdctl.loadtest.cost import Cost
from sdctl.loadtest.node_lanes import node_lanes, node_lanes_part
from sdctl.loadtest.over_time import at, in_flight
from sdctl.loadtest.records import Record, outside
from sdctl.loadtest.report import render
from sdctl.loadtest.summary import summarise
from tests.sdctl.loadtest.builders import change, record
from tests.sdctl.loadtest.test_figures import story
from tests.sdctl.loadtest.test_timeline import BURST


@given(st.floats(1e-6, 1e6))
def test_an_axis_ends_at_a_round_number_just_above(value: float) -> None:
    top = nice(value)
    assert value <= top <= 2.5 * value * (1 + 1e-9)


def test_numbers_of_things_have_whole_ticks() -> None:
    assert [scale([most], None, whole=True)[0] for most in (0.0, 1.0, 3.0, 4.0, 9.0, 30.0)] == [2, 2, 4, 4, 10, 50]


def test_a_goal_far_above_does_not_flatten_the_curve() -> None:
    assert scale([1.0, 2.0], 60.0, whole=False) == (2.0, None)
    assert scale([1.0, 9.0], 10.0, whole=False) == (10.0, 10.0)


@given(st.lists(st.tuples(st.floats(0.0, 90.0), st.floats(0.01, 30.0)), min_size=1, max_size=30))
def test_requests_in_flight_are_counted_by_their_seconds(spans: list[tuple[float, float]]) -> None:
    every = [Record(n, "p", sent, sent, None, sent + long, "ok") for n, (sent, long) in enumerate(spans)]
    curve = in_flight(every, 0.0, 120.0)
    assert sum(level for _, level in curve) * 120.0 / len(curve) == pytest.approx(sum(long for _, long in spans))


def test_time_outside_the_service_is_what_its_own_timing_leaves() -> None:
    timing = "queue;dur=200, generate;dur=1300.5, encode;dur=99.5"
    ended = [record(1, BURST + 9, latency=2.0, timing=timing), record(2, BURST + 9, latency=5.0)]
    assert outside([*ended, record(3, None, outcome="unfinished", timing=timing)]) == [pytest.approx(0.4)]


def test_the_page_tells_how_the_way_there_was_measured() -> None:
    def page(**more: object) -> str:
        run = replace(story(), via="tunnel", tunnel_latency_s=0.0123, **more)  # type: ignore[arg-type]
        return render(summarise(run), run.records, run.transitions)

    assert "added by the tunnel (against a pod&#x27;s own address)</td><td class=short>12.3 ms" in page(
        tunnel_compared=True
    )
    assert "at most: a whole round trip of /healthz" in page()


def test_the_page_has_what_the_autoscaler_said_and_survives_a_round_trip_through_json() -> None:
    run = story()
    said = report_changes(
        None, Report(("gpu, 2 launching",), (), ("{'GPU': 1.0}: 2+ pending tasks/actors",)), BURST + 9
    )
    run = replace(run, transitions=[*run.transitions, *said])
    summary = json.loads(json.dumps(summarise(run)))
    assert [(row["launching"], row["waiting"]) for row in summary["autoscaler"]] == [(2, 2)]
    assert "gpu, 2 launching" in render(summary, run.records, run.transitions)


def test_a_cost_that_is_unknown_still_shows_the_paid_time_of_its_nodes() -> None:
    claim = [
        change("nodeclaim", "spot-1", what, BURST + n, instance_type="g5.xlarge", capacity_type="spot")
        for n, what in enumerate(("created", "launched"))
    ]
    run = replace(story(), transitions=claim)
    summary = summarise(run)
    assert summary["cost"]["total_usd"] is None
    page = render(summary, run.records, run.transitions)
    assert "Unknown: no price is known for g5.xlarge" in page
    assert "spot-1" in page
    assert "Nothing: free." in render({**summary, "cost": Cost(0.0, 0.0, 0.0, 0.0, (), "free").to_json()}, [], [])


def test_a_node_that_got_stuck_shows_where() -> None:
    stuck = [
        change("nodeclaim", "old", "initialized", BURST - 9, baseline=True),
        change("nodeclaim", "gpu-1", "created", BURST + 35),
        change("nodeclaim", "gpu-1", "launched", BURST + 40),
        change("nodeclaim", "gpu-1", "registered", BURST + 75),
    ]
    found = node_lanes(stuck, BURST + 400)
    assert {name: [(band.name, band.end - band.begin) for band in bands] for name, bands in found.items()} == {
        "gpu-1": [("provision", 5.0), ("boot", 35.0), ("gpu", 325.0)]
    }
    assert "gpu-1</td>" in node_lanes_part(stuck, BURST, BURST + 400)
    assert "unknown" in node_lanes_part(stuck, BURST, BURST + 400)  # it was never ready
    assert node_lanes_part(stuck[:1], BURST, BURST + 400) == ""


def test_without_claims_the_lanes_are_of_rays_own_nodes() -> None:
    came = [change("ray_node", "n1", "alive", BURST + 10), change("ray_node", "n1", "gone", BURST + 70)]
    assert [(band.name, band.begin, band.end) for band in node_lanes(came, BURST + 99)["n1"]] == [
        ("ready", BURST + 10, BURST + 70)
    ]


def test_curves_have_a_table_behind_them() -> None:
    assert at([(1.0, 5.0), (3.0, 7.0)], 2.9) == 5.0
    assert at([(1.0, 5.0)], 0.5) is None
    run = story()
    page = render(summarise(run), run.records, run.transitions)
    assert "The curves as a table" in page
    assert "<th scope=col>median latency, s</th>" in page
