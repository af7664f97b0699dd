"""What a load test sees of a cluster: the moments of pods, NodeClaims and nodes, as raw transitions."""

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import (
    GPU,
    GROUP_LABEL,
    Object,
    at,
    condition,
    created,
    event_time,
    gpus,
    is_true,
    label,
    name,
    quantity,
    role,
    time_of,
    uid,
)
from sdctl.cluster.resources import PODS, RAYCLUSTERS, RAYSERVICES
from sdctl.cluster.snapshot import Snapshot, take
from sdctl.cluster.snapshot_reader import Reader
from sdctl.errors import NotAllowed
from sdctl.loadtest.transitions import Transition
from sdctl.targets.kubernetes import KubernetesTarget

TYPE, CAPACITY = "node.kubernetes.io/instance-type", "karpenter.sh/capacity-type"
REGION = "topology.kubernetes.io/region"
Moment = tuple[str, str, str, datetime | None, dict[str, object]]  # kind, name, what, at, detail

# Event reasons and texts that explain why a cluster did not grow.
_CAUSES = (
    ("no_capacity", re.compile(r"InsufficientCapacity|insufficient capacity", re.IGNORECASE)),
    ("quota", re.compile(r"VcpuLimitExceeded|MaxSpotInstanceCountExceeded|quota", re.IGNORECASE)),
    ("pool_limit", re.compile(r"exceed\w* limit|limits? (?:was|were) exceeded|would exceed limits", re.IGNORECASE)),
    ("image_pull", re.compile(r"ErrImagePull|ImagePullBackOff|Failed to pull image", re.IGNORECASE)),
    ("spot_loss", re.compile(r"SpotInterrupt", re.IGNORECASE)),
    ("unschedulable", re.compile(r"^FailedScheduling", re.IGNORECASE)),
)


def cluster_of(target: object) -> Cluster:
    """The cluster of a Kubernetes target."""
    if not isinstance(target, KubernetesTarget):
        raise TypeError(f"{target!r} is no Kubernetes target")
    return target.cluster


def worker_groups(cluster: Cluster) -> list[tuple[int, float]]:
    """(most nodes, GPUs of each) of every worker group, as the active RayCluster has them; raises SdctlError."""
    seen = cluster.find(RAYSERVICES, cluster.name)
    active = str(at(seen, "status", "activeServiceStatus", "rayClusterName") or "")
    live = cluster.find(RAYCLUSTERS, active) if active else None
    spec = at(live, "spec") or at(seen, "spec", "rayClusterConfig")
    return [
        (int(group.get("maxReplicas", group.get("replicas", 1))), gpus(group.get("template") or {}))
        for group in at(spec, "workerGroupSpecs") or []
    ]


class KubernetesWatcher:
    """Looks at everything around one RayService; each moment is told once, with the object's own time."""

    name = "Kubernetes"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._told: set[tuple[str, str, str]] = set()
        self._there: set[tuple[str, str]] = set()
        self._refused: set[str] = set()
        self._first = True

    def poll(self, observed: float) -> list[Transition]:
        """One look; raises SdctlError when the API server cannot be asked."""
        seen = take(self._cluster, self._cluster.namespace, self._cluster.name)
        refused = {entry for entry in seen.forbidden if entry.startswith("list ")} | seen.missing
        if not self._first and (fresh := refused - self._refused):  # an API server that starts, for a moment
            raise NotAllowed(f"The API server refuses what it gave before: {', '.join(sorted(fresh))}.")
        changes = [
            Transition(kind, who, what, observed, at.timestamp() if at else None, "kubernetes", detail)
            for kind, who, what, at, detail in self._new(seen)
        ]
        wanting = {
            change.name for change in changes if "workers" in change.detail
        }  # a number may be wanted again later
        self._told = {key for key in self._told if key[1] not in wanting or not key[2].startswith("wants ")}
        self._told |= {(change.kind, change.name, change.what) for change in changes}  # only once all of it was read
        there = {("pod", name(pod)) for pod in seen.pods} | {("node", name(node)) for node in seen.nodes}
        there |= {("nodeclaim", name(claim)) for claim in seen.nodeclaims}
        there |= {("raycluster", name(cluster)) for cluster in seen.rayclusters}
        changes += [Transition(kind, who, "gone", observed, None, "kubernetes") for kind, who in self._there - there]
        self._there, self._first, self._refused = there, False, refused
        return changes

    def _new(self, seen: Snapshot) -> Iterator[Moment]:
        fresh: set[tuple[str, str, str]] = set()
        for kind, who, what, moment, detail in moments(seen):
            if (kind, who, what) not in self._told and (kind, who, what) not in fresh:
                fresh.add((kind, who, what))
                if (kind, what) == ("nodeclaim", "initialized"):
                    detail = detail | {"shared": self._shared(str(detail["node"]), seen)}
                yield kind, who, what, moment, {**detail, "baseline": True} if self._first else detail

    def _shared(self, node: str, seen: Snapshot) -> bool:
        """Whether others use the node too, as far as this user may see."""
        there = Reader(self._cluster).items(PODS, "", fields=f"spec.nodeName={node}") if node else ()
        return is_shared(there, {uid(pod) for pod in seen.pods})


def is_shared(pods: Iterable[Object], ours: Collection[str]) -> bool:
    """Whether others' pods run among these: neither ours (by UID) nor of a DaemonSet, which every node has."""
    return any(
        uid(pod) not in ours
        and at(pod, "status", "phase") in ("Pending", "Running")
        and "DaemonSet" not in {owner.get("kind") for owner in at(pod, "metadata", "ownerReferences") or []}
        for pod in pods
    )


def moments(seen: Snapshot) -> Iterator[Moment]:
    """Every moment that a snapshot tells of; pure."""
    for cluster in seen.rayclusters:
        yield from _raycluster(cluster)
    for pod in seen.pods:
        yield from _pod(pod)
    for claim in seen.nodeclaims:
        yield from _claim(claim)
    for node in seen.nodes:
        yield "node", name(node), "created", created(node), {}
        if is_true(node, "Ready"):
            yield "node", name(node), "ready", _since(node, "Ready"), {}
        if quantity(at(node, "status", "allocatable", GPU)):
            yield "node", name(node), "gpu", None, {}
    for event in seen.events:
        yield from _event(event)


def _raycluster(cluster: Object) -> Iterator[Moment]:
    """Which cluster there is, and each number of workers that was wanted of it: the autoscaler's own decision."""
    yield "raycluster", name(cluster), "created", created(cluster), {}
    wanted = at(cluster, "status", "desiredWorkerReplicas")
    if wanted is not None:
        yield "raycluster", name(cluster), f"wants {wanted}", None, {"workers": wanted}


def _pod(pod: Object) -> Iterator[Moment]:
    detail: dict[str, object] = {
        "node": at(pod, "spec", "nodeName") or "",
        "role": role(pod),
        "group": label(pod, GROUP_LABEL),
        "ip": at(pod, "status", "podIP") or "",
    }
    yield "pod", name(pod), "created", created(pod), detail
    if condition(pod, "PodScheduled").get("status") == "False":
        message = str(condition(pod, "PodScheduled").get("message", ""))
        yield "pod", name(pod), "unschedulable", _since(pod, "PodScheduled"), {**detail, "message": message[:300]}
    if is_true(pod, "PodScheduled"):
        yield "pod", name(pod), "bound", _since(pod, "PodScheduled"), detail
    ray = at(pod, "spec", "containers", 0, "name")  # the others are sidecars, such as the autoscaler's
    for status in at(pod, "status", "containerStatuses") or []:
        started = at(status, "state", "running", "startedAt")
        if started and status.get("name") == ray:
            yield "pod", name(pod), "started", time_of(started), detail
    if is_true(pod, "Ready"):
        yield "pod", name(pod), "ready", _since(pod, "Ready"), detail


def _claim(claim: Object) -> Iterator[Moment]:
    detail: dict[str, object] = {
        "node": at(claim, "status", "nodeName") or "",
        "instance_type": label(claim, TYPE),
        "capacity_type": label(claim, CAPACITY),
        "region": label(claim, REGION),
    }
    yield "nodeclaim", name(claim), "created", created(claim), detail
    for kind, what in (("Launched", "launched"), ("Registered", "registered"), ("Initialized", "initialized")):
        if is_true(claim, kind):
            yield "nodeclaim", name(claim), what, _since(claim, kind), detail
    if at(claim, "metadata", "deletionTimestamp"):
        yield "nodeclaim", name(claim), "deleting", time_of(at(claim, "metadata", "deletionTimestamp")), detail


def _event(event: Object) -> Iterator[Moment]:
    reason, message = str(event.get("reason") or ""), str(event.get("message") or event.get("note") or "")
    about = event.get("involvedObject") or event.get("regarding") or {}
    who = str(about.get("name") or "")
    if reason == "Pulled" and about.get("kind") == "Pod":
        yield "pod", who, "pulled", event_time(event), {"message": message[:200]}
    cause = next((code for code, pattern in _CAUSES if pattern.search(f"{reason} {message}")), "")
    if cause:
        yield "event", name(event), reason, event_time(event), {"about": who, "message": message[:300], "cause": cause}


def _since(item: Object, kind: str) -> datetime:
    return time_of(condition(item, kind).get("lastTransitionTime"))
