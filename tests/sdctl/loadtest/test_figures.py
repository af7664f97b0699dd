"""Prediction, causes, cost and the summary, from plain data."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdctl.errors import InvalidRequest
from sdctl.loadtest import cost, plan, prediction, room
from sdctl.loadtest.prediction import Scaling, compare, predict, scaling_from
from sdctl.loadtest.records import objective
from sdctl.loadtest.report import render
from sdctl.loadtest.summary import Run, summarise, surplus
from sdctl.loadtest.told import told
from tests.sdctl.loadtest.builders import change, record
from tests.sdctl.loadtest.test_timeline import BURST, baseline, cold_node

SCALING = Scaling(1, 4, 4.0, 30.0, 600.0, 30.0, max_ongoing=8)


def test_a_long_burst_is_predicted_to_reach_what_the_users_need() -> None:
    got = predict(plan.closed("constant", 10, None, 300.0), SCALING, running=1)
    assert (got.scales, got.replicas) == (True, 3)
    assert got.decided_after_s == pytest.approx(30.0, abs=1.0)


def test_the_maximum_and_the_worker_groups_hold_it() -> None:
    load = plan.closed("constant", 50, None, 300.0)
    assert predict(load, SCALING, running=1).replicas == 4
    assert "max_replicas" in predict(load, SCALING, running=1).reason
    held = Scaling(1, 4, 4.0, 30.0, 600.0, 30.0, worker_limit=2)
    assert predict(load, held, running=1).replicas == 2


@pytest.mark.parametrize(
    ("load", "word"),
    [
        (plan.closed("constant", 3, None, 300.0), "run already"),
        (plan.closed("2@60s,50@20s,2@60s", 1, None, 1.0), "upscale delay"),
    ],
)
def test_a_burst_that_cannot_scale_is_said_to_before_it_is_run(load: plan.Plan, word: str) -> None:
    got = predict(load, SCALING, running=1)
    assert got.scales is False
    assert word in got.reason


def test_a_fixed_number_of_replicas_never_scales() -> None:
    assert scaling_from({"num_replicas": 2}) is None
    assert predict(plan.closed("constant", 50, None, 300.0), None, running=2).scales is False


@given(users=st.integers(1, 500), running=st.integers(1, 4))
def test_predictions_stay_within_the_limits(users: int, running: int) -> None:
    got = predict(plan.closed("constant", users, None, 300.0), SCALING, running=running)
    assert got.replicas is not None
    assert SCALING.minimum <= got.replicas <= SCALING.maximum


def test_prediction_against_fact() -> None:
    got = predict(plan.closed("constant", 10, None, 300.0), SCALING, running=1)
    assert compare(got, replicas=2, decided_after_s=41.0) == (
        "predicted 3 replicas, came 2; decision predicted after 30 s, came after 41 s"
    )
    assert "could not be seen" in compare(got, replicas=None, decided_after_s=None)


def test_cost_is_split_into_cold_start_steady_work_and_tail() -> None:
    run = story()
    got = summarise(replace(run, prices={"g5.xlarge": 1.0}))["cost"]
    assert got["cold_start_usd"] == pytest.approx((410 - 40) / 3600)  # launched until the replica's first image
    assert got["tail_usd"] == pytest.approx(20 / 3600)  # the last image until the end of the watch
    assert got["steady_usd"] == pytest.approx(0.0, abs=1e-9)
    assert got["total_usd"] == pytest.approx(got["cold_start_usd"] + got["steady_usd"] + got["tail_usd"])


def test_a_measured_start_says_when_the_replicas_will_run() -> None:
    load = plan.closed("constant", 10, None, 300.0)
    assert "unknown" in prediction.told(predict(load, SCALING, running=1))
    got = predict(load, SCALING, running=1, start_s=200.0)
    assert got.running_after_s == pytest.approx(230.0, abs=1.0)
    line = compare(got, replicas=3, decided_after_s=30.0, running_after_s=250.0)
    assert line.endswith("all of them running: predicted after 230 s, came after 250 s")


def test_room_is_what_the_groups_hold() -> None:
    assert room.worker_limit([room.Group(3, 1.0), room.Group(2, 4.0)], 1.0) == 11
    assert room.worker_limit([room.Group(3, 1.0)], 0.5) == 6
    assert room.worker_limit([room.Group(3, 1.0)], 0.0) is None
    assert room.worker_limit([], 1.0) is None


def test_cost_counts_from_launch_to_gone_and_needs_a_known_price() -> None:
    story = [*cold_node(), change("nodeclaim", "claim-1", "gone", BURST + 3640)]
    nodes = cost.node_times(story, {"g5.xlarge": 1.0}, begin=BURST, end=BURST + 9999)
    assert [(node.begin, node.end, node.cost) for node in nodes] == [(BURST + 40, BURST + 3640, 1.0)]
    got = cost.total(nodes, 500, first_images={"claim-1": BURST + 400}, last_image=BURST + 1840)
    assert got.total_usd == 1.0
    assert got.per_1000_images_usd == 2.0
    assert got.cold_start_usd == pytest.approx(0.1)
    assert got.tail_usd == pytest.approx(0.5)


def test_spot_and_other_regions_have_no_list_price() -> None:
    assert cost.price("g5.xlarge", "on-demand", "us-east-1", {}) == 1.006
    assert cost.price("g5.xlarge", "spot", "us-east-1", {}) is None
    assert cost.price("g5.xlarge", "on-demand", "eu-west-1", {}) is None
    assert cost.price("g5.xlarge", "spot", "", {"g5.xlarge": 0.4}) == 0.4
    nodes = cost.node_times(cold_node(), {}, begin=BURST, end=BURST + 100)
    assert "--price" in cost.total(nodes, 1, first_images={}, last_image=None).why


@pytest.mark.parametrize("text", ["g5.xlarge", "g5.xlarge=", "=1", "g5.xlarge=-1", "g5.xlarge=x"])
def test_bad_prices_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--price"):
        cost.price_option(text)


def test_surplus_is_the_area_above_the_first_level() -> None:
    curve = [(0.0, 1), (10.0, 3), (20.0, 2), (30.0, 1)]
    assert surplus(curve, 0.0, 40.0) == 30.0
    assert surplus(curve, 15.0, 25.0) == 15.0
    assert surplus([], 0.0, 1.0) is None


def story() -> Run:
    images = [record(n, BURST + n, latency=2.0 + n % 3, replica="old") for n in range(1, 60)]
    images += [record(100, BURST + 410, replica="new"), record(101, None, outcome="unfinished")]
    return Run(
        records=images,
        warmup=[],
        transitions=[*baseline(), *cold_node()],
        started=BURST - 5,
        load_ended=BURST + 420,
        ended=BURST + 430,
        plan="closed loop",
        mode="closed",
        target="kubernetes",
        prediction=predict(plan.closed("constant", 6, None, 300.0), SCALING, running=1),
        scaling=SCALING,
        objectives=[objective("p95<10s")],
        settings={"prompts": "<script>alert(1)</script>"},
    )


def test_the_summary_has_the_documented_fields_and_its_sums_hold() -> None:
    got = summarise(story())
    wanted = {"sent", "outcomes", "latency_s", "goodput_per_s", "slo", "replicas", "phases", "cost"}
    assert wanted <= got.keys()
    assert got["sent"] == sum(got["outcomes"].values()) == 61
    assert got["replicas"] == {"before": 1, "max_running": 2, "max_target": 2}
    assert got["phases"]["pull"] == {"known": 1, "min": 240.0, "median": 240.0, "max": 240.0}
    assert got["slo"] == [{"objective": "p95<10s", "met": True, "value": 4.0}]
    assert got["cost"]["total_usd"] == pytest.approx((430 - 40) / 3600 * 1.006) or got["cost"]["why"]


def test_the_report_is_one_page_that_refers_to_nothing_and_escapes_what_it_shows() -> None:
    run = story()
    page = render(summarise(run), run.records, run.transitions)
    assert "<script" not in page
    assert "http" not in page.replace("http error", "")
    assert "src=" not in page
    assert len(page) < 500_000
    for word in ("Latency", "In flight", "Replicas", "Nodes", "pull", "unfinished", "unknown"):
        assert word in page


def test_the_terminal_hears_the_same_figures() -> None:
    lines = "\n".join(told(summarise(story()), Path("out")))
    assert "61 sent: 60 ok, 1 unfinished" in lines
    assert "most running 2" in lines
    assert "Dominant     pull" in lines
