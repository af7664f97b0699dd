"""Whether a cluster can give the machines that a manifest asks for."""

from typing import Any

import pytest

from sdctl.cluster.doctor_nodes import machines, quotas
from sdctl.cluster.snapshot import Snapshot
from tests.sdctl.diagnosis.builders import node, nodeclass, nodepool, rayservice, snapshot

GUARD = {"key": "nvidia.com/gpu", "effect": "NoSchedule", "value": "true"}
TEAM = {"key": "team", "effect": "NoSchedule", "value": "vision"}


def verdict(seen: Snapshot, service: dict[str, Any] | None = None) -> tuple[str, str]:
    *_, last = machines(seen, service or rayservice())
    return last.level, last.detail


@pytest.mark.parametrize(
    ("changes", "level", "detail"),
    [
        ({"nodes": (node(taints=[GUARD]),)}, "ok", "1 GPUs on 1 nodes"),
        ({"nodes": (), "nodepools": (nodepool(taints=[GUARD]),)}, "ok", "NodePool gpu can make some"),
        ({"nodes": (node(gpus=0, labels={}),)}, "fail", "1 GPUs are needed, there are 0 and no NodePool"),
        ({"nodes": (node(taints=[TEAM]),)}, "fail", "do not tolerate the taint team"),
        ({"nodes": (), "nodepools": (nodepool(taints=[TEAM]),)}, "fail", "do not tolerate the taint team"),
        ({"nodes": (), "nodepools": (nodepool(limit="2", used="2"),)}, "fail", "at its limit of nvidia.com/gpu"),
        ({"nodes": (), "forbidden": frozenset({"list nodes"})}, "unknown", "you may not list nodes"),
        (
            {"nodes": (node(taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]),)},
            "ok",
            "1 GPUs on 1 nodes",
        ),
    ],
)
def test_gpus(changes: dict[str, Any], level: str, detail: str) -> None:
    found = verdict(snapshot(**changes))
    assert found[0] == level
    assert detail in found[1]


def test_a_manifest_without_gpus_needs_none() -> None:
    service = rayservice()
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"] = []
    assert verdict(snapshot(nodes=()), service) == ("ok", "the manifest asks for none")


def test_what_is_not_ready_or_not_registered_is_named() -> None:
    seen = snapshot(
        nodes=(node(), node("node-2", gpus=0, age_s=400)),
        nodepools=(nodepool(ready="False", message="no such class"),),
        nodeclasses=(nodeclass("False", "no subnets"),),
    )
    failures = {finding.what: finding.detail for finding in machines(seen, rayservice()) if finding.level == "fail"}
    assert failures == {
        "NodePool gpu": "no such class",
        "EC2NodeClass gpu": "no subnets",
        "GPU of node node-2": "not registered as nvidia.com/gpu",
    }


def test_a_quota_without_room_for_a_worker_is_a_warning() -> None:
    quota = {
        "metadata": {"name": "small"},
        "status": {"hard": {"requests.nvidia.com/gpu": "2", "pods": "50"}, "used": {"requests.nvidia.com/gpu": "2"}},
    }
    [finding] = quotas((quota,), rayservice())
    assert (finding.level, finding.detail) == ("warn", "requests.nvidia.com/gpu: 0 of 2 free")
