"""`sdctl status` on Kubernetes: one snapshot, read as a state, a reason and its next step."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sdctl.cluster.client import Cluster
from sdctl.cluster.diagnosis import Cause, diagnose
from sdctl.cluster.objects import (
    GPU,
    GROUP_LABEL,
    NODEPOOL_LABEL,
    Object,
    age_s,
    at,
    condition,
    containers,
    deleting,
    is_head,
    is_true,
    label,
    name,
    pod_phase,
    quantity,
    role,
)
from sdctl.cluster.snapshot import Snapshot, take
from sdctl.cluster.status_drift import drift
from sdctl.errors import NotAllowed, SdctlError
from sdctl.ray_api import Deployment, RayApi, ServeState
from sdctl.targets.base import Node, ServiceStatus

DASHBOARD_S = 10.0
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
ADVICE = ("idle_workers", "forbidden")  # causes that do not speak against a service that serves


def status(cluster: Cluster, namespace: str, service: str) -> ServiceStatus:
    """One look at the service; raises Unreachable, Busy, and NotAllowed where even the RayService may not be read."""
    return of_snapshot(cluster, take(cluster, namespace, service))


def of_snapshot(cluster: Cluster, snapshot: Snapshot) -> ServiceStatus:
    """The status that a snapshot tells; replica counts are None where Ray's dashboard cannot be asked."""
    return explain(snapshot, snapshot.now, lambda: _ask_serve(cluster, snapshot))


def explain(snapshot: Snapshot, now: datetime, ask_serve: Callable[[], ServeState | None]) -> ServiceStatus:
    """The status that a snapshot tells; `ask_serve` is called only when a head can answer."""
    cause = diagnose(snapshot, now)
    if cause and cause.code == "forbidden" and cause.fatal:
        raise NotAllowed(cause.reason, hint=cause.hint)
    if snapshot.rayservice is None:
        return _without_rayservice(snapshot, now, cause)
    serve = ask_serve() if any(is_head(pod) and is_true(pod, "Ready") for pod in snapshot.pods) else None
    differences = drift(snapshot, serve)
    state = state_of(snapshot, cause)
    reason, hint = _explained(snapshot, state, cause, differences)
    generator = generator_of(serve)
    return ServiceStatus(
        target="kubernetes",
        name=snapshot.name,
        state=state,
        reason=reason,
        hint=hint,
        endpoint_url=_url(snapshot, "serve-svc", 8000),
        dashboard_url=_url(snapshot, "head-svc", 8265),
        replicas_target=generator.target if generator else None,
        replicas_running=generator.running if generator else None,
        nodes=nodes_of(snapshot),
        details=_details(snapshot, now, cause=cause, drift=differences),
    )


def _without_rayservice(snapshot: Snapshot, now: datetime, cause: Cause | None) -> ServiceStatus:
    left = len(snapshot.rayclusters) + len(snapshot.pods)
    if left:
        cause = Cause(
            "deleting", f"The RayService is gone; {left} RayClusters and pods are still ending.", "sdctl cleanup"
        )
    elif cause is None:
        reason = f"There is no RayService {snapshot.name} in namespace {snapshot.namespace}."
        cause = Cause("absent", reason, "sdctl deploy makes it; --name and --namespace choose another.")
    state, details = "deleting" if left else "absent", _details(snapshot, now, cause=cause)
    return ServiceStatus("kubernetes", snapshot.name, state, cause.reason, cause.hint, details=details)


def state_of(snapshot: Snapshot, cause: Cause | None) -> str:
    """One word; `ready` needs more than KubeRay's Ready, which stays true through upgrades and failed updates."""
    service = snapshot.rayservice or {}
    if deleting(service):
        return "deleting"
    if at(service, "spec", "suspend") or is_true(service, "Suspended"):
        return "suspended"
    if cause and cause.fatal:
        return "failing"
    if not is_true(service, "Ready"):
        return "starting"
    observed = at(service, "status", "observedGeneration") == at(service, "metadata", "generation")
    running = all(entry.get("status") == "RUNNING" for entry in snapshot.applications.values())
    if is_true(service, "UpgradeInProgress") or not observed or not running:
        return "updating"
    return "ready"


def _explained(snapshot: Snapshot, state: str, cause: Cause | None, differences: list[str]) -> tuple[str, str]:
    if state == "suspended":
        return "The service is suspended: no pods, no cost of its own.", "sdctl resume"
    if cause and not (state == "ready" and cause.code in ADVICE):
        return cause.reason, cause.hint
    if state == "ready" and differences:
        hint = "sdctl deploy --replicas changes worker bounds in place; the rest needs a new cluster."
        return f"It serves, but not as the manifest says: {differences[0]}.", hint
    if state in ("starting", "updating"):
        return _progress(snapshot), "sdctl status --watch"
    return "", ""


def _progress(snapshot: Snapshot) -> str:
    """What the service is at while nothing is wrong."""
    if not snapshot.rayclusters:
        return "KubeRay has accepted the service and makes its cluster."
    coming = snapshot.pending_cluster or snapshot.active_cluster
    pods = snapshot.pods_of(coming)
    late = next((pod for pod in pods if not is_true(pod, "Ready")), None)
    if not pods:
        return f"RayCluster {coming} has no pods yet."
    applications = ", ".join(f"{key} {entry.get('status')}" for key, entry in snapshot.applications.items())
    if late is None or (applications and not is_head(late)):
        return f"Pods run; Serve: {applications or 'no application yet'}."
    return f"{role(late).capitalize()} pod {name(late)} is {pod_phase(late)}."


def _ask_serve(cluster: Cluster, snapshot: Snapshot) -> ServeState | None:
    """Serve's own view, through the head's dashboard; None where it cannot be had (rights, a head that is busy)."""
    from sdctl.cluster.forward import dashboard_endpoint
    from sdctl.targets.forwarding import Listen

    listen = Listen(ready_s=DASHBOARD_S, patience_s=DASHBOARD_S)
    try:
        with (
            dashboard_endpoint(cluster, snapshot.namespace, snapshot.name, listen) as endpoint,
            RayApi(endpoint) as ray,
        ):
            return ray.serve()
    except SdctlError:
        return None


def generator_of(serve: ServeState | None) -> Deployment | None:
    """The deployment that makes the images: ours by its name, in another application the one with most replicas."""
    deployments = [each for app in (serve.applications.values() if serve else ()) for each in app.deployments]
    named = [each for each in deployments if each.name == "Generator"]
    return max(named or deployments, key=lambda each: each.target or 0, default=None)


def nodes_of(snapshot: Snapshot) -> tuple[Node, ...]:
    """The machines under the service's pods, and those that Karpenter is making for it."""
    used = {str(at(pod, "spec", "nodeName")) for pod in snapshot.pods if at(pod, "spec", "nodeName")}
    known = {name(node): node for node in snapshot.nodes}
    there = [_node(known[each]) if each in known else Node(each, state="unknown") for each in sorted(used)]
    waiting = any(condition(pod, "PodScheduled").get("status") == "False" for pod in snapshot.pods)
    coming = [
        Node(name(claim), label(claim, INSTANCE_TYPE), "launching", detail=label(claim, NODEPOOL_LABEL))
        for claim in snapshot.nodeclaims
        if waiting and not is_true(claim, "Initialized")
    ]
    return (*there, *coming)


def _node(node: Object) -> Node:
    state = "ready" if is_true(node, "Ready") else "not ready"
    where = [label(node, key) for key in (CAPACITY_TYPE, NODEPOOL_LABEL)]
    allocatable = quantity(at(node, "status", "allocatable", GPU))
    return Node(name(node), label(node, INSTANCE_TYPE), state, allocatable, " ".join(part for part in where if part))


def _url(snapshot: Snapshot, suffix: str, port: int) -> str:
    """The address inside the cluster; empty until KubeRay has made the Service (when every application runs)."""
    service = f"{snapshot.name}-{suffix}"
    return f"http://{service}.{snapshot.namespace}.svc:{port}" if service in snapshot.services else ""


def _details(
    snapshot: Snapshot, now: datetime, *, cause: Cause | None = None, drift: list[str] | None = None
) -> dict[str, Any]:
    details: dict[str, Any] = {
        "namespace": snapshot.namespace,
        "cause": cause.code if cause else "",
        "clusters": [name(item) for item in snapshot.rayclusters],
        "applications": {key: str(entry.get("status")) for key, entry in snapshot.applications.items()},
        "pods": [_pod(pod, now) for pod in snapshot.pods],
        "drift": drift or [],
        "operator": snapshot.operator.state,
        "notes": [cause.reason] if cause and cause.code in ADVICE else [],
        "forbidden": sorted(snapshot.forbidden),
    }
    return {key: value for key, value in details.items() if value}


def _pod(pod: Object, now: datetime) -> dict[str, Any]:
    restarts = sum(int(each.get("restartCount") or 0) for each in containers(pod))
    return {
        "name": name(pod),
        "role": role(pod),
        "group": label(pod, GROUP_LABEL),
        "phase": pod_phase(pod),
        "ready": is_true(pod, "Ready"),
        "node": at(pod, "spec", "nodeName") or "",
        "age_s": round(age_s(pod, now)),
        "restarts": restarts,
    }
