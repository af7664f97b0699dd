"""Why a RayService is not ready: one cause, joined from everything that a snapshot holds."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sdctl.cluster.diagnosis import exits, machines, nodes, platform, pods, serve
from sdctl.cluster.diagnosis.cause import Cause
from sdctl.cluster.objects import event_time
from sdctl.cluster.snapshot import Snapshot

__all__ = ["Cause", "diagnose"]

# In the order in which things depend on each other: the first that is wrong explains those after it.
PLATFORM: tuple[Callable[[Snapshot], Cause | None], ...] = (
    platform.crd_missing,
    platform.rayservice_forbidden,
    platform.finalizer_stuck,
    platform.operator_gone,
    platform.validation_failed,
)
WORKLOAD: tuple[Callable[[Snapshot], Cause | None], ...] = (
    pods.creation_refused,
    pods.missing_object,
    pods.image_pull,
    exits.killed,
    exits.container_exits,
    serve.application_failed,
    nodes.no_node,
    machines.spot_lost,
    pods.waiting_for_head,
    platform.dashboard_unreachable,
    serve.waiting_for_resources,
    platform.reads_forbidden,
    pods.not_ready_by_design,
)


def diagnose(snapshot: Snapshot, now: datetime, *, since: datetime | None = None) -> Cause | None:
    """The one thing that keeps the service from being ready, or None; pure.

    Events before `since` are left out: what was wrong before a change is no cause after it. KubeRay's status has no
    times, and for some seconds after a change it still tells of what was before: believe in a fatal cause only when
    it stays for ten seconds.
    """
    seen = replace(snapshot, now=now)
    if since is not None:
        seen = replace(seen, events=tuple(event for event in seen.events if event_time(event) >= since))
    cause = _first(PLATFORM, seen)
    if cause or seen.rayservice is None:
        return cause
    gave_up = platform.initializing_timeout(seen)
    below = _first(WORKLOAD, seen)
    if gave_up and below and below.code not in ("forbidden", "idle_workers"):
        return replace(
            gave_up, reason=f"{gave_up.reason} Before that: {below.reason}", hint=f"{below.hint} {gave_up.hint}"
        )
    return gave_up or below


def _first(checks: tuple[Callable[[Snapshot], Cause | None], ...], snapshot: Snapshot) -> Cause | None:
    return next((cause for check in checks if (cause := check(snapshot))), None)
