"""Causes in one pod: it is not made, cannot start, ends, or waits for the head."""

import re
from collections.abc import Iterator

from sdctl.cluster.diagnosis.cause import Cause
from sdctl.cluster.diagnosis.messages import shorten
from sdctl.cluster.objects import (
    Object,
    age_s,
    at,
    concerns,
    condition,
    containers,
    deleting,
    event_time,
    is_head,
    is_true,
    message,
    name,
    role,
)
from sdctl.cluster.snapshot import Snapshot

IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
HEAD_PATIENCE_S = 120.0
NOT_THERE = re.compile(
    r"(secret|configmap) \"([^\"]+)\" not found|find key (\S+) in (Secret|ConfigMap) \S*?/?([\w.-]+)$", re.I
)


def alive(snapshot: Snapshot) -> Iterator[Object]:
    """Pods that are not being deleted: heads first, because workers wait for them."""
    yield from sorted(
        (pod for pod in snapshot.pods if not deleting(pod)), key=lambda pod: (not is_head(pod), name(pod))
    )


def creation_refused(snapshot: Snapshot) -> Cause | None:
    """The API server refuses the pods that KubeRay makes."""
    for cluster in snapshot.rayclusters:
        failure = condition(cluster, "ReplicaFailure")
        if failure.get("status") == "True":
            return _refusal(str(failure.get("message", "")))
    for kind in ("Head", "Worker"):
        refused = [event for event in snapshot.events if event.get("reason") == f"FailedToCreate{kind}Pod"]
        made = [event_time(event) for event in snapshot.events if event.get("reason") == f"Created{kind}Pod"]
        if refused and (not made or made[-1] < event_time(refused[-1])):
            return _refusal(message(refused[-1]))
    return None


def _refusal(text: str) -> Cause:
    said = shorten(text, 500)
    if "PodSecurity" in text:
        hint = "Mend the security contexts it names; the autoscaler's is in autoscalerOptions.securityContext."
        return Cause("pod_security", f"Pod Security refuses the pods: {said}", hint, True)
    if "exceeded quota" in text:
        return Cause(
            "resource_quota", f"A ResourceQuota refuses the pods: {said}", "Raise the quota, or ask for less.", True
        )
    if "webhook" in text:
        return Cause(
            "webhook_refused", f"An admission webhook refuses the pods: {said}", "Ask whoever runs that policy.", True
        )
    return Cause("pod_refused", f"The API server refuses the pods: {said}", "Mend the pod template.", True)


def missing_object(snapshot: Snapshot) -> Cause | None:
    """A Secret or ConfigMap that a pod needs is not there."""
    for pod in alive(snapshot):
        for text in _complaints(snapshot, pod, ("CreateContainerConfigError",), "FailedMount"):
            found = NOT_THERE.search(text)
            if found:
                kind, wanted, key, key_kind, holder = found.groups()
                what = f"{kind.capitalize()} {wanted}" if wanted else f"key {key} in {key_kind} {holder}"
                return _missing(f"Pod {name(pod)} needs {what.replace('Configmap', 'ConfigMap')}, and it is not there.")
    if snapshot.absent and not any(is_head(pod) and is_true(pod, "Ready") for pod in snapshot.pods):
        return _missing(f"The pods need {', '.join(sorted(snapshot.absent))}, which is not there.")
    return None


def _missing(reason: str) -> Cause:
    return Cause(
        "object_missing", reason, "Make it (sdctl deploy makes its own), or take it out of the manifest.", True
    )


def image_pull(snapshot: Snapshot) -> Cause | None:
    """An image that cannot be pulled."""
    for pod in alive(snapshot):
        for status in containers(pod):
            waiting = at(status, "state", "waiting") or {}
            if waiting.get("reason") in IMAGE_REASONS:
                texts = [str(waiting.get("message", "")), *_events_of(snapshot, pod, "Failed")]
                return _pull_failure(name(pod), str(status.get("image", "?")), str(waiting["reason"]), " ".join(texts))
    return None


def _pull_failure(pod: str, image: str, why: str, text: str) -> Cause:
    low = text.lower()
    reason = f"Pod {pod} cannot pull the image {image} ({why})"
    if any(sign in low for sign in ("toomanyrequests", "rate limit")):
        return Cause(
            "image_pull", f"{reason}: the registry limits the rate.", "Use imagePullSecrets of an account, or a mirror."
        )
    if any(sign in low for sign in ("unauthorized", "authentication required", "denied", "forbidden", "no basic auth")):
        hint = "Name a pull Secret in imagePullSecrets of the pod templates, and check the image's name."
        return Cause("image_pull", f"{reason}: the registry refuses.", hint, True)
    if why == "InvalidImageName" or any(sign in low for sign in ("not found", "manifest unknown", "does not exist")):
        hint = "Check name and tag: sdctl deploy --image <registry/name:tag>."
        return Cause("image_pull", f"{reason}: there is no such image.", hint, True)
    if "no match for platform" in low or "exec format" in low:
        return Cause(
            "image_pull", f"{reason}: it is not built for this CPU.", "Build it for the nodes' architecture.", True
        )
    return Cause("image_pull", f"{reason}: {shorten(text)}", "Check that nodes reach the registry.")


def waiting_for_head(snapshot: Snapshot) -> Cause | None:
    """Workers wait until the head's GCS answers."""
    waiting = [pod for pod in alive(snapshot) if _in_wait_container(pod)]
    heads = [pod for pod in alive(snapshot) if is_head(pod)]
    if not waiting:
        return None
    if not any(is_true(pod, "Ready") for pod in heads):
        head = f"head pod {name(heads[0])} is not ready" if heads else "there is no head pod"
        return Cause(
            "waiting_for_head", f"{len(waiting)} worker pods wait for the head: {head}.", "It usually comes by itself."
        )
    if max(age_s(pod, snapshot.now) for pod in waiting) < HEAD_PATIENCE_S:
        return None
    reason = f"Worker {name(waiting[0])} cannot reach the head, which is ready."
    hint = "Check that workers may reach the head's port 6379 and DNS (NetworkPolicy)."
    return Cause("waiting_for_head", reason, hint)


def _in_wait_container(pod: Object) -> bool:
    statuses = at(pod, "status", "initContainerStatuses") or []
    return any(
        status.get("name") == "wait-gcs-ready" and at(status, "state", "running") is not None for status in statuses
    )


def not_ready_by_design(snapshot: Snapshot) -> Cause | None:
    """Workers without a replica have no Serve proxy: their readiness probe fails, and that is as it should be."""
    applications = snapshot.applications.values()
    if not applications or any(entry.get("status") != "RUNNING" for entry in applications):
        return None
    idle = [
        name(pod)
        for pod in alive(snapshot)
        if role(pod) == "worker" and at(pod, "status", "phase") == "Running" and not is_true(pod, "Ready")
    ]
    if not idle:
        return None
    reason = f"Worker pods without a replica are NotReady by design: {', '.join(idle)}."
    return Cause("idle_workers", reason, "Nothing to do: they become Ready with a replica, or go when idle.")


def _complaints(snapshot: Snapshot, pod: Object, reasons: tuple[str, ...], event: str) -> Iterator[str]:
    for status in containers(pod):
        if at(status, "state", "waiting", "reason") in reasons:
            yield str(at(status, "state", "waiting", "message") or "")
    if at(pod, "status", "phase") == "Pending":
        yield from reversed(_events_of(snapshot, pod, event))


def _events_of(snapshot: Snapshot, pod: Object, reason: str) -> list[str]:
    return [
        message(event)
        for event in snapshot.events
        if event.get("reason") == reason and concerns(event, "Pod", name(pod))
    ]
