"""What a clean-up waits for, what it only tells, and how it explains a hang."""

from dataclasses import replace
from typing import Any

import pytest

from sdctl.cluster import cleanup_record
from sdctl.cluster.cleanup_left import fixed_nodes, machines_left, ray_left
from sdctl.cluster.cleanup_record import Record
from sdctl.cluster.client import Cluster
from sdctl.cluster.snapshot_reader import Operator
from sdctl.errors import NotAllowed
from sdctl.targets.base import Leftover
from tests.sdctl.diagnosis.builders import (
    ago,
    condition,
    event,
    node,
    nodeclaim,
    nodepool,
    pod,
    raycluster,
    rayservice,
    snapshot,
    unscheduled,
)


class Pods(Cluster):
    """A cluster of which only the pods of a node can be asked."""

    def __init__(self, *pods: dict[str, Any], allowed: bool = True) -> None:
        super().__init__(api=None)
        object.__setattr__(self, "answer", (pods, allowed))

    def items(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        pods, allowed = self.answer  # type: ignore[attr-defined]
        if not allowed:
            raise NotAllowed("You may not list pods.")
        return list(pods)


def owned_by(kind: str) -> dict[str, Any]:
    return {"metadata": {"ownerReferences": [{"kind": kind}]}, "status": {"phase": "Running"}}


def machine(seen: Any, *others: dict[str, Any], allowed: bool = True) -> Leftover:
    [left] = machines_left(Pods(*others, allowed=allowed), seen, Record.of(snapshot()))
    return left


def test_the_record_has_pods_and_machines_and_those_on_their_way() -> None:
    claim = nodeclaim(condition("Launched"), age_s=60)
    record = Record.of(snapshot(pods=(pod("head"), unscheduled("")), nodeclaims=(claim,)))
    assert set(record.pods.values()) == {"sd-x7k2p-head-aaaaa", "sd-x7k2p-gpu-worker-bbbbb"}
    assert set(record.machines.values()) == {"node-1", "gpu-8hq2z"}
    assert not record.fixed


def test_the_record_outlives_the_command(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    cluster = Pods()
    monkeypatch.setattr(Cluster, "host", "https://127.0.0.1:1")
    record = Record.of(snapshot())
    cleanup_record.save(cluster, record)
    assert cleanup_record.load(cluster) == record
    assert cleanup_record.load(replace_namespace(cluster)) == Record()
    cleanup_record.forget(cluster)
    assert cleanup_record.load(cluster) == Record()


def replace_namespace(cluster: Pods) -> Cluster:
    return Cluster(api=None, namespace="other", name=cluster.name)


def test_an_empty_karpenter_node_costs_money_until_it_is_gone() -> None:
    pool = nodepool()
    pool["spec"]["disruption"] = {"consolidateAfter": "300s"}
    left = machine(snapshot(pods=(), nodepools=(pool,)), owned_by("DaemonSet"))
    assert (left.kind, left.name, left.costs_money, left.stays) == ("Node", "node-1", True, False)
    assert "300s after its last pod" in left.why


def test_a_node_that_holds_pods_of_others_is_theirs() -> None:
    left = machine(snapshot(pods=()), owned_by("ReplicaSet"))
    assert left.stays
    assert "1 pods of others" in left.why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nodes": (node(meta={"annotations": {"karpenter.sh/do-not-disrupt": "true"}}),)}, "do-not-disrupt"),
        (
            {"events": (event("DisruptionBlocked", 'pdb "web/front" prevents pod evictions', "Node", "node-1"),)},
            'pdb "web/front" prevents',
        ),
        ({"nodes": (node(meta={"deletionTimestamp": ago(5)}),)}, "being drained"),
    ],
)
def test_a_node_that_does_not_go_is_explained(changes: dict[str, Any], why: str) -> None:
    assert why in machine(snapshot(pods=(), **changes)).why


def test_a_pool_that_never_consolidates_is_named_and_its_claim_left_to_the_user() -> None:
    pool = nodepool()
    pool["spec"]["disruption"] = {"consolidateAfter": "Never"}
    assert "delete its NodeClaim yourself" in machine(snapshot(pods=(), nodepools=(pool,))).why


def test_who_may_not_list_all_pods_is_told_so() -> None:
    assert "cannot be seen" in machine(snapshot(pods=()), allowed=False).why


def test_a_claim_whose_node_is_gone_still_costs_money() -> None:
    claim = nodeclaim(condition("Launched"), node_name="node-1")
    claim["metadata"]["deletionTimestamp"] = ago(3)
    record = Record.of(snapshot(nodeclaims=(claim,)))
    [left] = machines_left(Pods(), snapshot(pods=(), nodes=(), nodeclaims=(claim,)), record)
    assert (left.kind, left.costs_money) == ("NodeClaim", True)


def test_a_node_that_came_after_the_record_of_its_claim_is_ours() -> None:
    claim = nodeclaim(condition("Launched"), age_s=60)
    record = Record.of(snapshot(pods=(unscheduled(""),), nodes=(), nodeclaims=(claim,)))
    joined = nodeclaim(condition("Launched"), age_s=60, node_name="node-9")
    [left] = machines_left(Pods(), snapshot(pods=(), nodes=(node("node-9"),), nodeclaims=(joined,)), record)
    assert (left.kind, left.name, left.stays) == ("Node", "node-9", False)


def test_fixed_nodes_are_told() -> None:
    seen = snapshot(nodes=(node(labels={}),))
    [left] = fixed_nodes(seen, Record.of(seen))
    assert left.stays
    assert "fixed size" in left.why


def test_ray_objects_say_what_holds_them() -> None:
    gone = Operator("gone", "Deployment kuberay-operator is scaled to 0.")
    service = rayservice(deletionTimestamp=ago(5), finalizers=["ray.io/rayservice-finalizer"])
    ending = pod(meta={"deletionTimestamp": ago(5), "deletionGracePeriodSeconds": 180})
    seen = snapshot(rayservice=service, rayclusters=(raycluster(),), pods=(ending,))
    assert [(left.kind, left.why) for left in ray_left(seen)] == [
        ("RayService", "waits for its finalizer ray.io/rayservice-finalizer"),
        ("RayCluster", ""),
        ("Pod", "ends within its grace period of 180 s"),
    ]
    assert "scaled to 0" in next(ray_left(replace(seen, operator=gone))).why
    silent = replace(seen, nodes=(node(ready="Unknown"),))
    assert "does not answer" in list(ray_left(silent))[-1].why
