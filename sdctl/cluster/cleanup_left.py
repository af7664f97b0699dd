"""What is still there of a service, what of it costs money, and why it does not go."""

from collections.abc import Iterator

from sdctl.cluster.cleanup_record import Record
from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import (
    DO_NOT_DISRUPT,
    NODEPOOL_LABEL,
    Object,
    at,
    concerns,
    deleting,
    is_true,
    label,
    message,
    name,
    namespace,
    uid,
)
from sdctl.cluster.resources import PODS
from sdctl.cluster.snapshot import Snapshot
from sdctl.errors import NotAllowed
from sdctl.targets.base import Leftover

DISRUPTION_EVENTS = ("DisruptionBlocked", "FailedDraining", "Unconsolidatable")


def ray_left(snapshot: Snapshot) -> Iterator[Leftover]:
    """The RayService, its RayClusters, and the pods: what KubeRay removes."""
    if snapshot.rayservice is not None:
        yield Leftover("RayService", snapshot.name, _operator_or(snapshot, _finalizers(snapshot.rayservice)))
    for cluster in snapshot.rayclusters:
        yield Leftover(
            "RayCluster", name(cluster), _operator_or(snapshot, _finalizers(cluster) or _orphan(snapshot, cluster))
        )
    nodes = {name(node): node for node in snapshot.nodes}
    for pod in snapshot.pods:
        yield Leftover("Pod", name(pod), _pod_reason(pod, nodes.get(str(at(pod, "spec", "nodeName")))))


def _finalizers(item: Object) -> str:
    names = ", ".join(at(item, "metadata", "finalizers") or [])
    return f"waits for its finalizer {names}" if names and deleting(item) else ""


def _orphan(snapshot: Snapshot, cluster: Object) -> str:
    if snapshot.rayservice is not None or deleting(cluster) or at(cluster, "metadata", "ownerReferences"):
        return ""
    return f"no RayService owns it: kubectl -n {snapshot.namespace} delete raycluster {name(cluster)}"


def _operator_or(snapshot: Snapshot, why: str) -> str:
    if snapshot.operator.state == "gone":
        return f"KubeRay's operator, which would remove it, is gone: {snapshot.operator.detail} Start it again."
    return why


def _pod_reason(pod: Object, node: Object | None) -> str:
    if not deleting(pod):
        return ""
    if node is not None and not is_true(node, "Ready"):
        return f"its node {name(node)} does not answer, so nobody confirms that it ended"
    waits = _finalizers(pod)
    grace = at(pod, "metadata", "deletionGracePeriodSeconds")
    return waits or (f"ends within its grace period of {grace} s" if grace else "")


def machines_left(cluster: Cluster, snapshot: Snapshot, record: Record) -> Iterator[Leftover]:
    """Karpenter's machines that the service brought and nobody else uses: each costs money until it is gone."""
    recorded = {at(claim, "status", "nodeName") for claim in snapshot.nodeclaims if uid(claim) in record.machines}
    for node in snapshot.nodes:
        if uid(node) in record.machines or name(node) in recorded:
            others = foreign_pods(cluster, name(node), record)
            if others:
                why = f"it holds {others} pods of others, so it is theirs now"
                yield Leftover("Node", name(node), why, costs_money=True, stays=True)
            else:
                yield Leftover("Node", name(node), _node_reason(snapshot, node, others), costs_money=True)
    there = {name(node) for node in snapshot.nodes}
    for claim in snapshot.nodeclaims:
        node_name = at(claim, "status", "nodeName")
        if uid(claim) in record.machines and node_name not in there:
            state = (
                "its machine is being ended"
                if deleting(claim)
                else "its machine is still starting; Karpenter removes it"
            )
            yield Leftover("NodeClaim", name(claim), state, costs_money=True)


def fixed_nodes(snapshot: Snapshot, record: Record) -> Iterator[Leftover]:
    """Nodes that no Karpenter brought: told, never waited for."""
    for node in snapshot.nodes:
        if uid(node) in record.fixed:
            why = "its node group has a fixed size: it runs on without the service"
            yield Leftover("Node", name(node), why, costs_money=True, stays=True)


def _node_reason(snapshot: Snapshot, node: Object, others: int | None) -> str:
    if any(at(pod, "spec", "nodeName") == name(node) for pod in snapshot.pods):
        return "its pods are still ending"
    if at(node, "metadata", "annotations", DO_NOT_DISRUPT) == "true":
        return f"it is annotated {DO_NOT_DISRUPT}: Karpenter leaves it until somebody takes that away"
    blocked = [
        message(event)
        for event in snapshot.events
        if event.get("reason") in DISRUPTION_EVENTS
        and (concerns(event, "Node", name(node)) or concerns(event, "NodeClaim", _claim_of(snapshot, node)))
    ]
    if blocked:  # names a PodDisruptionBudget, or the pod that may not be disrupted
        return f"Karpenter says: {blocked[-1]}"
    if deleting(node):
        return "it is being drained and ended"
    pool = next((item for item in snapshot.nodepools if name(item) == label(node, NODEPOOL_LABEL)), None)
    after = at(pool, "spec", "disruption", "consolidateAfter")
    if after == "Never":
        return "its NodePool never consolidates (consolidateAfter: Never): delete its NodeClaim yourself"
    unseen = "; whether others use it cannot be seen (list pods in all namespaces)" if others is None else ""
    return f"it is empty, and Karpenter removes it{f' {after} after its last pod' if after else ''}{unseen}"


def _claim_of(snapshot: Snapshot, node: Object) -> str:
    return next((name(claim) for claim in snapshot.nodeclaims if at(claim, "status", "nodeName") == name(node)), "-")


def foreign_pods(cluster: Cluster, node: str, ours: Record) -> int | None:
    """How many pods of others hold a node (those of DaemonSets and of the node itself do not); None: not to be seen."""
    try:
        pods = cluster.items(PODS, "", fields=f"spec.nodeName={node}")
    except NotAllowed:
        return None
    held = [pod for pod in pods if at(pod, "status", "phase") in ("Running", "Pending")]
    return sum(1 for pod in held if not _belongs_to_node(pod) and uid(pod) not in ours.pods)


def _belongs_to_node(pod: Object) -> bool:
    owners = {owner.get("kind") for owner in at(pod, "metadata", "ownerReferences") or []}
    return bool(owners & {"DaemonSet", "Node"}) or namespace(pod) == "kube-node-lease"
