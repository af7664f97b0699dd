"""Everything about one RayService at one moment, as plain frozen data, however little this user may read."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import (
    CLUSTER_LABEL,
    Object,
    at,
    deleting,
    is_head,
    is_true,
    label,
    name,
    role,
    sorted_events,
    uid,
)
from sdctl.cluster.resources import (
    EC2NODECLASSES,
    EVENTS,
    INSTANCE,
    NODECLAIMS,
    NODEPOOLS,
    NODES,
    PODS,
    RAYCLUSTERS,
    RAYSERVICES,
    SERVICES,
)
from sdctl.cluster.snapshot_reader import Operator, Reader, absent_objects, last_lines, operator

ORIGIN_LABEL = "ray.io/originated-from-cr-name"
PLATFORM_KINDS = ("Node", "NodeClaim", "NodePool")


@dataclass(frozen=True)
class Snapshot:
    """Objects as the API server gave them; nothing in here was joined or judged yet.

    `missing` names the kinds that this server does not know (a CRD that is not installed), `forbidden` the reads that
    were refused, as "verb resource". `absent` holds the Secrets and ConfigMaps that pods need and that are not there,
    as "Secret x"; those that may not be read are not in it. `logs` holds the last lines of containers that ended, by
    pod. `replaced` counts pods, by role, that were seen earlier and are gone without ever having been ready: KubeRay
    deletes a failed pod and makes another, with no trace of a restart.
    """

    namespace: str
    name: str
    rayservice: Object | None = None
    rayclusters: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()  # oldest first; those of nodes, NodeClaims and NodePools included
    nodes: tuple[Object, ...] = ()
    nodeclaims: tuple[Object, ...] = ()
    nodepools: tuple[Object, ...] = ()
    nodeclasses: tuple[Object, ...] = ()
    services: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    operator: Operator = field(default_factory=Operator)
    missing: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replaced: Mapping[str, int] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))  # when it was taken

    @property
    def active_cluster(self) -> str:
        """The RayCluster that serves; empty when none does yet."""
        return str(at(self.rayservice, "status", "activeServiceStatus", "rayClusterName") or "")

    @property
    def pending_cluster(self) -> str:
        """The RayCluster that is being prepared; empty when there is none."""
        return str(at(self.rayservice, "status", "pendingServiceStatus", "rayClusterName") or "")

    def pods_of(self, cluster: str) -> tuple[Object, ...]:
        """The pods of one RayCluster, head first."""
        mine = [pod for pod in self.pods if label(pod, CLUSTER_LABEL) == cluster]
        return tuple(sorted(mine, key=lambda pod: (not is_head(pod), name(pod))))

    @property
    def applications(self) -> dict[str, Object]:
        """The Serve applications by name, as KubeRay last saw them; the pending cluster's where there is one."""
        for side in ("pendingServiceStatus", "activeServiceStatus"):
            found = at(self.rayservice, "status", side, "applicationStatuses")
            if found:
                return dict(found)
        return {}


def take(cluster: Cluster, namespace: str = "", service: str = "", *, earlier: Snapshot | None = None) -> Snapshot:
    """Read everything about a service; what this user may not read, or the server does not know, is noted, not raised.

    `earlier` is the snapshot before, in a loop: it lets pods that came and went be counted, and keeps their last lines.
    Raises Unreachable, Busy, or NotAllowed where the server does not know this user at all.
    """
    where, called = namespace or cluster.namespace, service or cluster.name
    reader = Reader(cluster)
    with ThreadPoolExecutor(8, "sdctl-snapshot") as pool:
        rayservice = pool.submit(reader.one, RAYSERVICES, called, where)
        rayclusters = pool.submit(reader.items, RAYCLUSTERS, where)
        pods = pool.submit(reader.items, PODS, where, CLUSTER_LABEL)
        events = pool.submit(reader.items, EVENTS, where)
        platform_events = pool.submit(reader.items, EVENTS, "default")
        services = pool.submit(reader.items, SERVICES, where)
        nodes, nodeclaims, nodepools, nodeclasses = (
            pool.submit(reader.items, kind) for kind in (NODES, NODECLAIMS, NODEPOOLS, EC2NODECLASSES)
        )
        kuberay = pool.submit(operator, reader, where)
        mine = _clusters_of(called, rayservice.result(), rayclusters.result())
        names = {name(item) for item in mine} | _named_clusters(rayservice.result())
        ours = tuple(pod for pod in pods.result() if _is_ours(pod, called, names))
        logs = pool.map(lambda pod: (name(pod), last_lines(reader, pod)), (pod for pod in ours if _has_ended(pod)))
        absent = pool.submit(absent_objects, reader, rayservice.result(), where)
        found = [event for event in events.result() if _about(event, called)]
        found += [event for event in platform_events.result() if at(event, "involvedObject", "kind") in PLATFORM_KINDS]
        return Snapshot(
            namespace=where,
            name=called,
            rayservice=rayservice.result(),
            rayclusters=mine,
            pods=ours,
            events=sorted_events({uid(event): event for event in found}.values()),
            nodes=nodes.result(),
            nodeclaims=nodeclaims.result(),
            nodepools=nodepools.result(),
            nodeclasses=nodeclasses.result(),
            services=frozenset(name(item) for item in services.result()),
            absent=absent.result(),
            operator=kuberay.result(),
            logs={**(earlier.logs if earlier else {}), **dict(logs)},
            replaced=_replaced(earlier, ours, names),
            missing=frozenset(reader.missing),
            forbidden=frozenset(reader.forbidden),
        )


def pods_of_service(cluster: Cluster, namespace: str, service: str) -> list[Object]:
    """The pods of a service, whichever of its RayClusters they belong to; raises NotAllowed, Unreachable."""
    reader = Reader(cluster)
    rayservice = reader.one(RAYSERVICES, service, namespace)
    mine = _clusters_of(service, rayservice, reader.items(RAYCLUSTERS, namespace))
    names = {name(item) for item in mine} | _named_clusters(rayservice)
    pods = cluster.items(PODS, namespace, labels=CLUSTER_LABEL)
    return [pod for pod in pods if _is_ours(pod, service, names)]


def _clusters_of(service: str, rayservice: Object | None, rayclusters: tuple[Object, ...]) -> tuple[Object, ...]:
    return tuple(
        item
        for item in rayclusters
        if label(item, ORIGIN_LABEL) == service
        or (rayservice is not None and uid(rayservice) in _owners(item))
        or name(item) in _named_clusters(rayservice)
    )


def _named_clusters(rayservice: Object | None) -> set[str]:
    sides = ("activeServiceStatus", "pendingServiceStatus")
    return {str(found) for side in sides if (found := at(rayservice, "status", side, "rayClusterName"))}


def _owners(item: Object) -> set[str]:
    return {str(owner.get("uid")) for owner in at(item, "metadata", "ownerReferences") or []}


def _is_ours(pod: Object, service: str, clusters: set[str]) -> bool:
    return label(pod, CLUSTER_LABEL) in clusters or label(pod, INSTANCE) == service


def _about(event: Object, service: str) -> bool:
    subject = str(at(event, "involvedObject", "name") or "")
    return subject == service or subject.startswith(f"{service}-")


def _has_ended(pod: Object) -> bool:
    ends = [at(status, "state", "terminated") for status in at(pod, "status", "containerStatuses") or []]
    return any(end and end.get("exitCode") for end in ends)


def _replaced(earlier: Snapshot | None, pods: tuple[Object, ...], clusters: set[str]) -> dict[str, int]:
    """Pods that went before they were ever ready, while their cluster stayed: crashes, where nothing restarts."""
    if earlier is None:
        return {}
    here = {uid(pod) for pod in pods}
    gone = [pod for pod in earlier.pods if uid(pod) not in here and not is_true(pod, "Ready")]
    crashed = Counter(role(pod) for pod in gone if label(pod, CLUSTER_LABEL) in clusters and not deleting(pod))
    return dict(Counter(earlier.replaced) + crashed)
