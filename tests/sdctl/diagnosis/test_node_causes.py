"""Causes below the pods: pools, machines, GPUs, taints."""

import pytest

from tests.sdctl.diagnosis.builders import (
    coming,
    condition,
    event,
    node,
    nodeclaim,
    nodeclass,
    nodepool,
    unscheduled,
)
from tests.sdctl.diagnosis.story import Story

NO_GPU = (
    "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
    "2 Insufficient nvidia.com/gpu."
)


STORIES = (
    Story(
        "no GPU node at all, and a control plane that is none of its business",
        coming(unscheduled(NO_GPU), nodes=(node(gpus=0, labels={}),)),
        "no_gpu_node",
        "no node has one free; there is no Karpenter NodePool",
        "karpenter.yaml",
    ),
    Story(
        "taint",
        coming(
            unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {team: vision}."),
            nodes=(node(taints=[{"key": "team", "value": "vision", "effect": "NoSchedule"}]),),
        ),
        "taint",
        "does not tolerate the taint team",
        "toleration",
    ),
    Story(
        "node selector",
        coming(unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")),
        "no_matching_node",
        "affinity/selector",
        "labels",
    ),
    Story(
        "pool at its limit",
        coming(unscheduled(NO_GPU), nodepools=(nodepool(limit="2", used="2"),)),
        "pool_limit",
        "nvidia.com/gpu 2 used of 2, 1 more needed",
        "spec.limits",
    ),
    Story(
        "NodePool not ready",
        coming(unscheduled(NO_GPU), nodepools=(nodepool(ready="False", message="requirements are invalid"),)),
        "nodepool_not_ready",
        "requirements are invalid",
        "describe nodepool",
    ),
    Story(
        "node class not ready",
        coming(
            unscheduled(NO_GPU),
            nodepools=(nodepool(ready="False", message="node class not ready"),),
            nodeclasses=(nodeclass("False", "SubnetSelector did not match any Subnets"),),
        ),
        "nodeclass_not_ready",
        "did not match any Subnets",
        "subnets",
    ),
    Story(
        "no capacity, the claim is gone already",
        coming(
            unscheduled(NO_GPU),
            nodepools=(nodepool(),),
            events=(
                event(
                    "InsufficientCapacityError",
                    "creating instance, insufficient capacity, with fleet error(s), InsufficientInstanceCapacity",
                    "NodeClaim",
                    "gpu-8hq2z",
                ),
            ),
        ),
        "no_capacity",
        "no such machine free",
        "more instance types",
        fatal=False,
    ),
    Story(
        "account quota",
        coming(
            unscheduled(NO_GPU),
            nodepools=(nodepool(),),
            nodeclaims=(nodeclaim(condition("Launched", "False", "LaunchFailed", "VcpuLimitExceeded: 0 vCPU")),),
        ),
        "account_quota",
        "VcpuLimitExceeded",
        "quota",
    ),
    Story(
        "machine never joins",
        coming(
            unscheduled(NO_GPU),
            nodepools=(nodepool(),),
            nodeclaims=(nodeclaim(condition("Launched"), condition("Registered", "Unknown"), age_s=900),),
        ),
        "node_not_registered",
        "never joined",
        "security groups",
    ),
    Story(
        "GPU never registered",
        coming(unscheduled(NO_GPU), nodes=(node("node-2", gpus=0, age_s=200),)),
        "gpu_not_registered",
        "node-2 has a GPU that never registered",
        "device plugin",
    ),
    Story(
        "node on its way",
        coming(
            unscheduled(NO_GPU),
            nodepools=(nodepool(limit="1", used="1"),),
            nodeclaims=(nodeclaim(condition("Launched"), condition("Registered", "Unknown")),),
        ),
        "node_starting",
        "NodeClaim gpu-8hq2z of pool gpu is launched",
        "minutes",
        fatal=False,
    ),
    Story(
        "spot loss",
        coming(events=(event("SpotInterrupted", "Spot interruption warning was received", "Node", "node-1"),)),
        "spot_lost",
        "node-1 was taken back",
        "on-demand",
        fatal=False,
    ),
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_cause(story: Story) -> None:
    story.check()
