"""Causes in the platform itself: KubeRay, its CRDs, its conditions, what this user may read."""

from datetime import datetime

from sdctl.cluster.diagnosis.cause import Cause
from sdctl.cluster.diagnosis.messages import shorten
from sdctl.cluster.objects import (
    at,
    concerns,
    condition,
    deleting,
    event_time,
    is_head,
    is_true,
    message,
    name,
    time_of,
)
from sdctl.cluster.snapshot import Snapshot

FINALIZER_PATIENCE_S = 300.0
INSTALL_KUBERAY = "Install KubeRay by its Helm chart (kuberay-operator, 1.6 or newer)."
UNREACHABLE = ("connection refused", "deadline exceeded", "i/o timeout", "no route", "no such host", "EOF", "dial tcp")


def crd_missing(snapshot: Snapshot) -> Cause | None:
    """The API server does not know RayServices or RayClusters."""
    gone = [kind for kind in ("rayservices", "rayclusters") if kind in snapshot.missing]
    if not gone:
        return None
    kinds = " and ".join(f"{kind}.ray.io" for kind in gone)
    return Cause(
        "kuberay_missing", f"KubeRay is not installed: the cluster does not know {kinds}.", INSTALL_KUBERAY, True
    )


def rayservice_forbidden(snapshot: Snapshot) -> Cause | None:
    """This user may not read the RayService: nothing can be said about it."""
    refused = sorted(entry for entry in snapshot.forbidden if entry.endswith(" rayservices.ray.io"))
    return _forbidden(snapshot, refused, fatal=True) if refused and snapshot.rayservice is None else None


def reads_forbidden(snapshot: Snapshot) -> Cause | None:
    """Nothing wrong was found, but what this user may not read could show it."""
    telling = ("pods", "events", "rayclusters.ray.io")
    refused = sorted(entry for entry in snapshot.forbidden if entry.split()[-1] in telling)
    return _forbidden(snapshot, refused, fatal=False) if refused else None


def _forbidden(snapshot: Snapshot, refused: list[str], *, fatal: bool) -> Cause:
    what = ", ".join(refused)
    reason = f"The cause cannot be seen: this user may not {what} in namespace {snapshot.namespace}."
    return Cause("forbidden", reason, "Ask for the reader role in manifests/rbac.yaml.", fatal)


def finalizer_stuck(snapshot: Snapshot) -> Cause | None:
    """The RayService was deleted and does not go."""
    service = snapshot.rayservice
    if service is None or not deleting(service):
        return None
    names = ", ".join(at(service, "metadata", "finalizers") or []) or "none"
    if snapshot.operator.state == "gone":
        why = f"and KubeRay's operator is gone: {snapshot.operator.detail}"
        reason = f"{name(service)} waits for its finalizer ({names}), {why}"
        return Cause(
            "finalizer_stuck", reason, f"Start the operator again; it finishes the deletion. {INSTALL_KUBERAY}", True
        )
    waited = (snapshot.now - time_of(at(service, "metadata", "deletionTimestamp"))).total_seconds()
    if waited < FINALIZER_PATIENCE_S:
        return None
    reason = f"{name(service)} was deleted {waited / 60:.0f} minutes ago and still waits for its finalizer ({names})."
    return Cause("finalizer_stuck", reason, "Look at the log of the operator: kubectl logs deploy/kuberay-operator.")


def operator_gone(snapshot: Snapshot) -> Cause | None:
    """The operator has work to do for this service and does not run."""
    service = snapshot.rayservice
    if service is None or snapshot.operator.state != "gone" or not _has_work(snapshot):
        return None
    reason = f"KubeRay's operator does not run, so nothing happens to {name(service)}: {snapshot.operator.detail}"
    return Cause("operator_gone", reason, f"Start it again. {INSTALL_KUBERAY}", True)


def _has_work(snapshot: Snapshot) -> bool:
    service = snapshot.rayservice or {}
    seen = at(service, "status", "observedGeneration")
    return deleting(service) or seen != at(service, "metadata", "generation") or not is_true(service, "Ready")


def validation_failed(snapshot: Snapshot) -> Cause | None:
    """KubeRay refuses the spec (its observedGeneration lags then, so it is not asked)."""
    ready = condition(snapshot.rayservice or {}, "Ready")
    if ready.get("reason") != "ValidationFailed":
        return None
    text = ready.get("message") or _last_message(snapshot, "InvalidRayServiceSpec", "InvalidRayServiceMetadata")
    return Cause(
        "validation_failed", f"KubeRay refuses the manifest: {shorten(text)}", "Mend it and deploy again.", True
    )


def initializing_timeout(snapshot: Snapshot) -> Cause | None:
    """KubeRay gave up; what it saw before is the caller's to join."""
    if condition(snapshot.rayservice or {}, "Ready").get("reason") != "InitializingTimeout":
        return None
    limit = at(snapshot.rayservice, "metadata", "annotations", "ray.io/initializing-timeout") or "its time-out"
    reason = f"KubeRay gave up after {limit} (InitializingTimeout) and deleted the clusters."
    hint = "This state never heals: run sdctl cleanup, mend the cause, then sdctl deploy."
    return Cause("initializing_timeout", reason, hint, True)


def dashboard_unreachable(snapshot: Snapshot) -> Cause | None:
    """The head is ready, but the operator cannot hand it the Serve config."""
    failed = _last_event_time(snapshot, "FailedToUpdateServeApplications")
    if failed is None or failed < (_last_event_time(snapshot, "UpdatedServeApplications") or failed):
        return None
    text = _last_message(snapshot, "FailedToUpdateServeApplications")
    if not any(is_head(pod) and is_true(pod, "Ready") for pod in snapshot.pods):
        return None
    if any(sign in text for sign in UNREACHABLE):
        hint = "A NetworkPolicy must let the operator's namespace reach port 8265 of the head."
        return Cause("dashboard_unreachable", f"KubeRay cannot reach Ray's dashboard: {shorten(text)}", hint)
    if "401" in text or "403" in text or "nauthor" in text:
        hint = "The head and the operator must use one token: rayClusterConfig.authOptions.secretName."
        return Cause("dashboard_refused", f"Ray's dashboard refuses KubeRay: {shorten(text)}", hint)
    return Cause("serve_config_refused", f"Ray refuses the Serve config: {shorten(text)}", "Mend serveConfigV2.", True)


def _last_message(snapshot: Snapshot, *reasons: str) -> str:
    found = [event for event in snapshot.events if event.get("reason") in reasons and concerns(event, "RayService")]
    return message(found[-1]) if found else ""


def _last_event_time(snapshot: Snapshot, reason: str) -> datetime | None:
    times = [event_time(event) for event in snapshot.events if event.get("reason") == reason]
    return times[-1] if times else None
