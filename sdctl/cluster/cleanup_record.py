"""What a service occupied when its clean-up began, kept on disk so that an interrupted one goes on from there."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sdctl import state
from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import NODEPOOL_LABEL, at, condition, created, label, name, uid
from sdctl.cluster.snapshot import Snapshot


@dataclass(frozen=True)
class Record:
    """Names by UID, so that a namesake of later is not taken for ours; `machines` are Karpenter's, `fixed` are not."""

    pods: Mapping[str, str] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)  # Node or NodeClaim
    fixed: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()  # nodes under our pods that this user may not read

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Record":
        """What the service occupies now: pods, the nodes under them, and machines that are on their way for them."""
        used = {str(at(pod, "spec", "nodeName")) for pod in snapshot.pods if at(pod, "spec", "nodeName")}
        nodes = [node for node in snapshot.nodes if name(node) in used]
        claims = [claim for claim in snapshot.nodeclaims if at(claim, "status", "nodeName") in used]
        waiting = [created(pod) for pod in snapshot.pods if condition(pod, "PodScheduled").get("status") == "False"]
        if waiting:  # Karpenter makes machines for them, on which no pod is yet
            claims += [claim for claim in snapshot.nodeclaims if created(claim) >= min(waiting)]
        brought = [node for node in nodes if label(node, NODEPOOL_LABEL)]
        return cls(
            pods={uid(pod): name(pod) for pod in snapshot.pods},
            machines={uid(item): name(item) for item in (*brought, *claims)},
            fixed={uid(node): name(node) for node in nodes if not label(node, NODEPOOL_LABEL)},
            unseen=tuple(sorted(used - {name(node) for node in snapshot.nodes})) if _blind(snapshot) else (),
        )

    def joined(self, other: "Record") -> "Record":
        """Both together."""
        return Record(
            pods={**self.pods, **other.pods},
            machines={**self.machines, **other.machines},
            fixed={**self.fixed, **other.fixed},
            unseen=tuple(sorted({*self.unseen, *other.unseen})),
        )


def _blind(snapshot: Snapshot) -> bool:
    return any(entry.startswith("list nodes") for entry in snapshot.forbidden)


def _file(cluster: Cluster) -> str:
    key = f"{cluster.host} {cluster.namespace} {cluster.name}"
    return f"cleanup-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def load(cluster: Cluster) -> Record:
    """The record of a clean-up that was interrupted; an empty one when there was none."""
    kept: dict[str, Any] = state.read(_file(cluster))
    names = {
        key: {str(uid): str(name) for uid, name in found.items()}
        for key in ("pods", "machines", "fixed")
        if isinstance(found := kept.get(key), dict)
    }
    return Record(**names, unseen=tuple(map(str, kept.get("unseen") or ())))


def save(cluster: Cluster, record: Record) -> None:
    """Keep the record until `forget`."""
    state.write(_file(cluster), {**vars(record), "unseen": list(record.unseen)})


def forget(cluster: Cluster) -> None:
    """The clean-up is done."""
    state.remove(_file(cluster))
