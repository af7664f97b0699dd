"""Causes in containers that ended: killed, evicted, or exited again and again."""

import re
from collections.abc import Iterator
from typing import Any

from sdctl.cluster.diagnosis.cause import Cause
from sdctl.cluster.diagnosis.messages import explain, shorten
from sdctl.cluster.diagnosis.pods import alive
from sdctl.cluster.objects import Object, at, containers, event_count, event_time, is_true, message, name
from sdctl.cluster.snapshot import Snapshot

LASTING_EXITS = 3
RECENT_S = 900.0
# KubeRay deletes a pod that failed, and prints its last state, as Go does, into the event.
GO_STATE = re.compile(r"ExitCode:(-?\d+),.*?Reason:(\w*),Message:(.*?),StartedAt", re.DOTALL)


def killed(snapshot: Snapshot) -> Cause | None:
    """Out of memory by the kernel, or evicted by the kubelet."""
    for pod in alive(snapshot):
        if at(pod, "status", "reason") == "Evicted":
            return _eviction(name(pod), str(at(pod, "status", "message") or ""))
    for who, container, end in _ends(snapshot):
        if end.get("reason") == "OOMKilled":
            reason = f"The kernel killed {container} of pod {who}: it needed more memory than its limit."
            return Cause("out_of_memory", reason, "Raise memory in requests and limits of its group in the manifest.")
    for event in reversed(snapshot.events):
        if event.get("reason") == "Evicted" and (snapshot.now - event_time(event)).total_seconds() < RECENT_S:
            return _eviction(str(at(event, "involvedObject", "name") or ""), message(event))
    return None


def _eviction(pod: str, text: str) -> Cause:
    if "ephemeral" in text or "disk" in text.lower() or "inode" in text:
        hint = "Give the nodes a bigger disk: images, runtime_env and weights need tens of GB."
        return Cause("disk_eviction", f"Pod {pod} was evicted, its node's disk is full: {shorten(text)}", hint)
    return Cause(
        "evicted", f"Pod {pod} was evicted: {shorten(text)}", "Make requests equal limits, or use larger nodes."
    )


def container_exits(snapshot: Snapshot) -> Cause | None:
    """A container that ends: with autoscaler v2 its pod is replaced by a new one, and nothing counts as a restart."""
    for who, container, end in _ends(snapshot):
        lines = snapshot.logs.get(who, ())
        known = explain("\n".join([*lines, str(end.get("message", ""))]))
        if known:
            return known
        times = _exit_count(snapshot)
        tail = f" Last line: {shorten(lines[-1])}" if lines else ""
        reason = f"{container} of pod {who} ended with exit code {end.get('exitCode')}, {times} times so far.{tail}"
        return Cause(
            "container_exits", reason, "Its last lines: sdctl debug-bundle, or sdctl logs.", times >= LASTING_EXITS
        )
    return None


def _exit_count(snapshot: Snapshot) -> int:
    from_events = sum(event_count(event) for event in snapshot.events if _deletion(event))
    restarts = sum(int(status.get("restartCount") or 0) for pod in alive(snapshot) for status in containers(pod))
    return max(from_events, restarts, sum(snapshot.replaced.values()), 1)


def _deletion(event: Object) -> bool:
    found = GO_STATE.search(message(event)) if event.get("reason") in ("DeletedHeadPod", "DeletedWorkerPod") else None
    return bool(found and found[1] != "0")


def _ends(snapshot: Snapshot) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(pod, container, terminated state) of every container that failed, those of replaced pods last."""
    ended = False
    for pod in alive(snapshot):
        for status in containers(pod):
            end = at(status, "state", "terminated") or (
                not status.get("ready") and at(status, "lastState", "terminated")
            )
            if end and end.get("exitCode"):
                ended = True
                yield name(pod), str(status.get("name")), end
    if ended or _recovered(snapshot):
        return
    for event in reversed(snapshot.events):
        recent = (snapshot.now - event_time(event)).total_seconds() < RECENT_S
        if recent and _deletion(event) and (found := GO_STATE.search(message(event))):
            kind = "ray-head" if event["reason"] == "DeletedHeadPod" else "ray-worker"
            pods = re.search(r"[Pp]od (?:\S+/)?([\w.-]+)", message(event))
            end = {"exitCode": int(found[1]), "reason": found[2], "message": found[3]}
            yield pods[1] if pods else "?", kind, end


def _recovered(snapshot: Snapshot) -> bool:
    """Whether it serves again: then deaths of before are history."""
    pods = list(alive(snapshot))
    return bool(pods) and is_true(snapshot.rayservice or {}, "Ready") and all(is_true(pod, "Ready") for pod in pods)
