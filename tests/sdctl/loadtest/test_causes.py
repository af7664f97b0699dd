"""Why it did not scale, or not further: each reason from what shows it."""

from dataclasses import replace

import pytest

from sdctl.cluster.objects import Object
from sdctl.cluster.snapshot import Snapshot
from sdctl.cluster.watching import moments
from sdctl.loadtest import plan
from sdctl.loadtest.causes import why_not_further
from sdctl.loadtest.prediction import Scaling, predict
from sdctl.loadtest.records import Record
from tests.sdctl.loadtest.builders import change, record
from tests.sdctl.loadtest.test_figures import SCALING
from tests.sdctl.loadtest.test_timeline import BURST

LONG = plan.closed("constant", 50, None, 300.0)


@pytest.mark.parametrize(
    ("load", "scaling", "most", "code"),
    [
        (plan.closed("2@60s,50@20s,2@60s", 1, None, 1.0), SCALING, 1, "burst_too_short"),
        (plan.closed("constant", 3, None, 300.0), SCALING, 1, "target_not_exceeded"),
        (LONG, SCALING, 4, "max_replicas"),
        (LONG, replace(SCALING, worker_limit=2), 2, "worker_limit"),
        (LONG, None, 1, "fixed"),
        (LONG, replace(SCALING, max_ongoing=2), 2, "target_above_max_ongoing"),
    ],
)
def test_what_the_plan_and_the_limits_allow_no_further(
    load: plan.Plan, scaling: Scaling | None, most: int, code: str
) -> None:
    [cause] = why_not_further(scaling, predict(load, scaling, running=1), [], [], max_running=most)
    assert cause.code == code
    assert cause.hint


def test_a_run_that_nothing_held_back_has_no_cause() -> None:
    load = plan.closed("constant", 8, None, 300.0)
    assert why_not_further(SCALING, predict(load, SCALING, running=1), [], [], max_running=2) == []


@pytest.mark.parametrize(
    ("reason", "message", "code"),
    [
        (
            "InsufficientCapacityError",
            "NodeClaim gpu-x event: creating instance, insufficient capacity, with fleet error(s)",
            "no_capacity",
        ),
        (
            "FailedScheduling",
            'Failed to schedule pod, incompatible with nodepool "gpu", all available instance types exceed limits for '
            'nodepool: "gpu"',
            "pool_limit",
        ),
        (
            "LaunchFailed",
            "creating instance, with fleet error(s), VcpuLimitExceeded: You have requested more vCPU capacity than "
            "your current vCPU limit of 0 allows",
            "quota",
        ),
        ("Failed", 'Failed to pull image "nowhere/sd:1": not found', "image_pull"),
        ("BackOff", 'Back-off pulling image "nowhere/sd:1": ImagePullBackOff', "image_pull"),
        ("SpotInterrupted", "Spot interruption warning was triggered for the node", "spot_loss"),
        ("FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "unschedulable"),
    ],
)
def test_the_words_of_a_cluster_are_understood(reason: str, message: str, code: str) -> None:
    event: Object = {
        "metadata": {"name": "e", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "involvedObject": {"kind": "Pod", "name": "sd-worker"},
        "reason": reason,
        "message": message,
    }
    [(kind, _, what, _, detail)] = list(moments(Snapshot("ns", "sd", events=(event,))))
    assert (kind, what, detail["cause"], detail["about"]) == ("event", reason, code, "sd-worker")
    told = [change("event", "e", what, BURST, **detail)]
    found = why_not_further(SCALING, predict(LONG, SCALING, running=1), told, [], max_running=1)
    assert [cause.code for cause in found] == [code]


def test_every_cause_is_named_once_with_what_to_do() -> None:
    load = predict(plan.closed("constant", 50, None, 300.0), SCALING, running=1)
    events = [
        change("event", f"e{n}", "x", BURST + n, cause=code, message="said so")
        for n, code in enumerate(["no_capacity", "no_capacity", "pool_limit", "quota", "image_pull", "spot_loss"])
    ]
    stuck = [
        change("nodeclaim", "c", "registered", BURST),
        change("pod", "p", "created", BURST + 400),
    ]
    busy = [record(1, BURST + 9, outcome="refused_busy")]
    got = why_not_further(SCALING, load, [*events, *stuck], busy, max_running=1)
    assert [cause.code for cause in got] == [
        "no_capacity",
        "pool_limit",
        "quota",
        "image_pull",
        "spot_loss",
        "gpu_never_registered",
        "busy_is_no_demand",
    ]
    assert all(cause.hint for cause in got)


def test_a_pod_that_waited_for_its_node_and_got_it_is_no_cause() -> None:
    load = predict(plan.closed("constant", 50, None, 300.0), SCALING, running=1)
    waits = [
        change("event", f"e-{pod}", "FailedScheduling", BURST + 5, cause="unschedulable", about=pod, message="no room")
        for pod in ("placed", "stuck")
    ]
    got = why_not_further(SCALING, load, [*waits[:1], change("pod", "placed", "bound", BURST + 60)], [], max_running=2)
    assert got == []
    [cause] = why_not_further(SCALING, load, waits[1:], [], max_running=2)
    assert cause.code == "unschedulable"


def test_reaching_the_maximum_is_a_cause_and_a_late_generator_too() -> None:
    load = predict(plan.closed("constant", 50, None, 300.0), SCALING, running=1)
    late = [Record(n, "p", 1.0, 5.0, 6.0, 6.0, "ok") for n in range(5)]
    codes = [cause.code for cause in why_not_further(SCALING, load, [], late, max_running=4)]
    assert codes == ["max_replicas", "generator_limit"]
