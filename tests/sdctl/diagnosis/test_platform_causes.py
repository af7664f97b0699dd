"""Causes in KubeRay, its CRDs, its conditions and this user's rights."""

from typing import Any

import pytest

from sdctl.cluster.diagnosis import diagnose
from sdctl.cluster.snapshot import Snapshot
from sdctl.cluster.snapshot_reader import Operator
from tests.sdctl.diagnosis.builders import (
    CLUSTER,
    NOW,
    ago,
    coming,
    ended,
    event,
    pod,
    rayservice,
    snapshot,
    waiting,
)
from tests.sdctl.diagnosis.story import Story

GONE = Operator("gone", "Deployment kuberay-operator in namespace kuberay-system is scaled to 0.")


STORIES = (
    Story(
        "no KubeRay",
        Snapshot("images", "sd", missing=frozenset({"rayservices", "rayclusters"})),
        "kuberay_missing",
        "does not know rayservices.ray.io and rayclusters.ray.io",
        "Install KubeRay",
    ),
    Story(
        "RayService may not be read",
        Snapshot("images", "sd", forbidden=frozenset({"get rayservices.ray.io"})),
        "forbidden",
        "may not get rayservices.ray.io in namespace images",
        "rbac.yaml",
    ),
    Story(
        "operator gone, and a spec that it has not seen",
        snapshot(operator=GONE, rayservice=rayservice(generation=2)),
        "operator_gone",
        "scaled to 0",
        "Start it again",
    ),
    Story(
        "finalizer and no operator",
        snapshot(
            operator=GONE,
            rayservice=rayservice(deletionTimestamp=ago(20), finalizers=["ray.io/rayservice-finalizer"]),
        ),
        "finalizer_stuck",
        "ray.io/rayservice-finalizer",
        "Start the operator again",
    ),
    Story(
        "finalizer stuck although the operator runs",
        snapshot(rayservice=rayservice(deletionTimestamp=ago(900), finalizers=["ray.io/rayservice-finalizer"])),
        "finalizer_stuck",
        "15 minutes ago",
        "log of the operator",
        fatal=False,
    ),
    Story(
        "validation failed",
        snapshot(
            rayservice=rayservice("False", "ValidationFailed"),
            rayclusters=(),
            pods=(),
            events=(event("InvalidRayServiceSpec", "headService.metadata.name should not be set", "RayService", "sd"),),
        ),
        "validation_failed",
        "headService.metadata.name should not be set",
        "Mend it",
    ),
    Story(
        "gave up, and why",
        snapshot(
            rayservice=rayservice(
                "False",
                "InitializingTimeout",
                status={"activeServiceStatus": {}},
                annotations={"ray.io/initializing-timeout": "60m"},
            ),
            rayclusters=(),
            pods=(),
            events=(
                event("FailedToCreateHeadPod", "exceeded quota: small", "RayCluster", CLUSTER, age_s=1800),
                event("RayServiceInitializingTimeout", "timed out", "RayService", "sd"),
            ),
        ),
        "initializing_timeout",
        "gave up after 60m",
        "sdctl cleanup",
        more=("Before that: A ResourceQuota refuses the pods: exceeded quota: small",),
    ),
    Story(
        "operator cannot reach the dashboard",
        coming(
            events=(
                event("FailedToUpdateServeApplications", "dial tcp 10.0.0.9:8265: i/o timeout", "RayService", "sd"),
            )
        ),
        "dashboard_unreachable",
        "i/o timeout",
        "8265",
        fatal=False,
    ),
    Story(
        "dashboard refuses the operator",
        coming(
            events=(event("FailedToUpdateServeApplications", "unexpected status code 401", "RayService", "sd"),),
        ),
        "dashboard_refused",
        "401",
        "authOptions",
        fatal=False,
    ),
    Story(
        "nothing wrong to be seen, but little may be seen",
        coming(pods=(), forbidden=frozenset({"list pods", "list events", "list nodes"})),
        "forbidden",
        "may not list events, list pods",
        "rbac.yaml",
        fatal=False,
    ),
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_cause(story: Story) -> None:
    story.check()


@pytest.mark.parametrize(
    "seen",
    [
        snapshot(),
        Snapshot("images", "sd"),
        coming(),
        coming(pod(ready=False, phase="Pending", containers=[waiting("ContainerCreating")])),
        snapshot(operator=GONE),
        snapshot(rayservice=rayservice(deletionTimestamp=ago(20), finalizers=["ray.io/rayservice-finalizer"])),
    ],
    ids=["works", "absent", "starting", "starting containers", "works without its operator", "just deleted"],
)
def test_no_cause(seen: Snapshot) -> None:
    assert diagnose(seen, NOW) is None


def test_an_old_refusal_is_no_cause_once_a_pod_was_made() -> None:
    events = (
        event("FailedToCreateWorkerPod", "exceeded quota: x", "RayCluster", CLUSTER, age_s=100),
        event("CreatedWorkerPod", "Created worker Pod", "RayCluster", CLUSTER, age_s=50, type="Normal"),
    )
    assert diagnose(coming(events=events), NOW) is None


def test_events_before_a_change_are_no_cause_after_it() -> None:
    seen = coming(
        pods=(), events=(event("FailedToCreateHeadPod", "exceeded quota: x", "RayCluster", CLUSTER, age_s=100),)
    )
    before: Any = diagnose(seen, NOW)
    assert before.code == "resource_quota"
    assert diagnose(seen, NOW, since=NOW.replace(minute=0, second=0)) is None


def test_a_pod_that_was_replaced_counts_as_an_exit() -> None:
    failed = pod(ready=False, phase="Failed", containers=[ended(1)])
    cause = diagnose(coming(failed, replaced={"worker": 4}), NOW)
    assert cause is not None
    assert "4 times" in cause.reason
    assert cause.fatal
