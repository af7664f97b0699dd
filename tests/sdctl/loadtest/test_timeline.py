"""Stories of clusters, replayed into the one timeline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdctl.loadtest import timeline
from sdctl.loadtest.recovery import attainment, drain, slo_recovered
from sdctl.loadtest.timeline import Timeline
from sdctl.loadtest.transitions import Transition, counts
from tests.sdctl.loadtest.builders import change, record

BURST = 1000.0


def baseline(target: int = 1) -> list[Transition]:
    return [
        change("deployment", "Generator", "target", BURST - 5, target=target, baseline=True),
        change("replica", "old", "RUNNING", BURST - 5, node="n0", baseline=True),
        change("ray_node", "n0", "alive", BURST - 5, baseline=True),
    ]


def cold_node(start: float = BURST) -> list[Transition]:
    """One replica on a node that Karpenter had to bring: each phase has its own length."""
    return [
        change("deployment", "Generator", "target", start + 30, target=2),
        change("replica", "new", "STARTING", start + 31, node="", start_time=start + 31),
        change("pod", "worker-1", "created", start + 33, node="ip-1"),
        change("nodeclaim", "claim-1", "created", start + 35, node="ip-1"),
        change("nodeclaim", "claim-1", "launched", start + 40, node="ip-1", instance_type="g5.xlarge"),
        change("nodeclaim", "claim-1", "registered", start + 75, node="ip-1"),
        change("nodeclaim", "claim-1", "initialized", start + 120, node="ip-1"),
        change("pod", "worker-1", "bound", start + 121, node="ip-1"),
        change("pod", "worker-1", "pulled", start + 361),
        change("pod", "worker-1", "started", start + 363, node="ip-1"),
        change("ray_node", "r1", "alive", start + 370, pod="worker-1"),
        change("replica", "new", "RUNNING", start + 400, node="r1"),
    ]


def lengths(got: Timeline, lane: int = 0) -> dict[str, float | None]:
    return {phase.name: phase.seconds for phase in got.lanes[lane].phases}


def test_a_cold_node_has_every_phase_and_the_pull_dominates() -> None:
    images = [record(1, BURST + 410, replica="new"), record(2, BURST + 20, replica="old")]
    got = timeline.build([*baseline(), *cold_node()], images, burst=BURST)
    assert lengths(got) == {
        "decide": 30.0,
        "provision": 5.0,
        "boot": 35.0,
        "gpu": 45.0,
        "pull": 240.0,
        "start": 9.0,
        "load": 30.0,
        "first_image": 10.0,
    }
    assert got.dominant_phase == "pull"
    assert got.headlines["burst_to_decided_s"] == 30.0
    assert got.headlines["burst_to_first_new_image_s"] == 410.0


def test_an_old_replica_that_is_ended_is_no_newcomer() -> None:
    end = change("replica", "old", "STOPPING", BURST + 900, node="n0", start_time=BURST - 60)
    images = [record(1, BURST + 3, replica="old"), record(2, BURST + 410, replica="new")]
    got = timeline.build([*baseline(), *cold_node(), end], images, burst=BURST)
    assert [lane.name for lane in got.lanes] == ["new"]
    assert got.headlines["burst_to_first_new_image_s"] == 410.0


def test_a_warm_node_has_no_claim_and_its_phases_are_unknown_not_zero() -> None:
    skipped = {"nodeclaim"}
    story = [t for t in cold_node() if t.kind not in skipped]
    got = timeline.build([*baseline(), *story], [], burst=BURST)
    assert lengths(got)["provision"] is None
    assert lengths(got)["boot"] is None
    assert lengths(got)["pull"] == 240.0
    assert lengths(got)["first_image"] is None


def test_no_capacity_leaves_a_lane_that_never_ran() -> None:
    story = [*cold_node()[:3], change("event", "e", "FailedScheduling", BURST + 60, cause="no_capacity", message="x")]
    got = timeline.build([*baseline(), *story], [], burst=BURST)
    assert lengths(got)["decide"] == 30.0
    assert all(value is None for name, value in lengths(got).items() if name != "decide")
    assert got.headlines["burst_to_first_new_image_s"] is None


def test_a_gpu_that_never_registers_ends_in_boot() -> None:
    got = timeline.build([*baseline(), *cold_node()[:6]], [], burst=BURST)
    assert lengths(got)["boot"] is None  # the replica is not yet tied to that node: nothing is guessed
    assert lengths(got)["gpu"] is None


def test_spot_loss_mid_burst_gives_a_second_lane() -> None:
    lost = [
        change("nodeclaim", "claim-1", "gone", BURST + 500),
        change("replica", "new", "gone", BURST + 501),
        change("replica", "again", "STARTING", BURST + 502, node="r2", start_time=BURST + 502),
        change("ray_node", "r2", "alive", BURST + 560),
        change("replica", "again", "RUNNING", BURST + 580, node="r2"),
    ]
    got = timeline.build([*baseline(), *cold_node(), *lost], [], burst=BURST)
    assert [lane.name for lane in got.lanes] == ["new", "again"]
    assert got.lanes[0].gone == BURST + 501
    assert lengths(got, 1)["load"] == 20.0


def test_a_cluster_swap_mid_burst_makes_new_lanes_of_the_new_cluster() -> None:
    swap = [
        change("replica", "b1", "STARTING", BURST + 10, node="m1", start_time=BURST + 10),
        change("ray_node", "m1", "alive", BURST + 5),
        change("replica", "b1", "RUNNING", BURST + 18, node="m1"),
        change("replica", "old", "gone", BURST + 80),
    ]
    got = timeline.build([*baseline(), *swap], [], burst=BURST)
    assert [lane.name for lane in got.lanes] == ["b1"]
    assert lengths(got)["decide"] is None  # the target never rose
    assert lengths(got)["load"] == 8.0


def test_small_skew_is_clamped_and_flagged_and_large_skew_is_unknown() -> None:
    def story(registered: float) -> list[Transition]:
        return [
            *(t for t in cold_node() if t.what != "registered"),
            change("nodeclaim", "claim-1", "registered", registered, node="ip-1"),
        ]

    boot = timeline.build([*baseline(), *story(BURST + 39)], [], burst=BURST).lanes[0].phases[2]
    assert (boot.seconds, boot.flag) == (0.0, "clock skew")
    boot = timeline.build([*baseline(), *story(BURST + 30)], [], burst=BURST).lanes[0].phases[2]
    assert (boot.seconds, boot.flag) == (None, "out of order")


@given(st.permutations(range(12)))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    story = cold_node()
    expected = timeline.build([*baseline(), *story], [], burst=BURST)
    got = timeline.build([*baseline(), *(story[place] for place in order)], [], burst=BURST)
    assert lengths(got) == lengths(expected)


def test_first_request_penalty_is_over_the_median_of_the_later_ones() -> None:
    images = [record(n, BURST + 400 + n, latency=9.0 if n == 1 else 2.0, replica="new") for n in range(1, 6)]
    got = timeline.build([*baseline(), *cold_node()], images, burst=BURST)
    assert got.lanes[0].first_request_penalty_s == 7.0


def test_slo_recovery_needs_a_miss_and_a_window_that_meets_it_again() -> None:
    slow = [record(n, BURST + n, latency=20.0) for n in range(60)]
    fast = [record(100 + n, BURST + 60 + n, latency=1.0) for n in range(60)]
    assert slo_recovered([*slow, *fast], BURST, 5.0) == pytest.approx(60.0, abs=5.0)
    assert slo_recovered(fast, BURST, 5.0) == 0.0
    assert slo_recovered(slow, BURST, 5.0) is None
    assert slo_recovered(slow, BURST, None) is None


def test_drain_counts_from_the_last_answer_to_the_last_thing_gone() -> None:
    images = [record(1, BURST + 500)]
    ends = [
        change("replica", "new", "gone", BURST + 1100),
        change("ray_node", "r1", "gone", BURST + 1160),
        change("pod", "worker-1", "gone", BURST + 1165),
    ]
    story = [*baseline(), *cold_node(), *ends]
    assert drain(story, images) is None  # the claim is still there
    assert drain([*story, change("nodeclaim", "claim-1", "gone", BURST + 1300)], images) == 800.0


def test_drain_counts_and_does_not_care_which_replica_stayed() -> None:
    images = [record(1, BURST + 500)]
    other = [
        change("replica", "old", "gone", BURST + 700),
        change("ray_node", "n0", "gone", BURST + 705),
        change("pod", "worker-1", "gone", BURST + 706),
        change("nodeclaim", "claim-1", "gone", BURST + 720),
        change("pod", "forgotten", "pulled", BURST - 3000, baseline=True),  # an event of a pod that is long gone
    ]
    assert drain([*baseline(), *cold_node(), *other], images) == 220.0
    assert drain(baseline(), images) is None  # nothing was added


def test_what_users_felt_is_told_before_while_and_after() -> None:
    images = [record(n, BURST + n + 9.0, latency=9.0) for n in range(20)]  # sent at 0 … 19
    images += [record(100 + n, BURST + 50 + n + 20.0, latency=20.0) for n in range(10)]
    images += [record(200 + n, BURST + 500 + n + 1.0, latency=1.0) for n in range(10)]
    got = timeline.build([*baseline(), *cold_node()], images, burst=BURST, slo_s=10.0).attainment
    assert [(row["requests"], row["p50"], row["within_slo"]) for row in got] == [
        (20, 9.0, 1.0),
        (10, 20.0, 0.0),
        (10, 1.0, 1.0),
    ]
    [whole] = attainment(images, decided=None, scaled=None, slo_s=None)
    assert (whole["requests"], whole["within_slo"]) == (40, None)


def test_a_ray_node_without_its_pods_name_is_joined_by_address() -> None:
    story = [t for t in cold_node() if (t.kind, t.what) not in (("ray_node", "alive"), ("pod", "bound"))]
    story.append(change("ray_node", "r1", "alive", BURST + 370, pod="10.0.0.7", ip="10.0.0.7"))
    story.append(change("pod", "worker-1", "bound", BURST + 121, node="ip-1", ip=""))
    story.append(change("pod", "worker-1", "ready", BURST + 380, node="ip-1", ip="10.0.0.7"))
    got = timeline.build([*baseline(), *story], [], burst=BURST)
    assert (lengths(got)["boot"], lengths(got)["pull"]) == (35.0, 240.0)


def test_replica_counts_follow_the_states() -> None:
    story = [*baseline(), *cold_node(), change("replica", "new", "STOPPING", BURST + 900)]
    assert [count for _, count in counts(story, "replica", "RUNNING", ("gone", "STOPPING"))] == [1, 2, 1]


def test_what_was_there_before_is_the_first_level_whatever_its_age() -> None:
    story = [
        Transition("ray_node", name, "alive", BURST, at, "ray", {"baseline": True})
        for name, at in (("head", BURST - 900), ("n0", BURST - 300))
    ]
    story.append(change("ray_node", "n1", "alive", BURST + 50))
    assert counts(story, "ray_node", "alive", ("gone",)) == [(BURST, 2), (BURST + 50, 3)]
