"""What NodePools say and allow: readiness, use, the instance type that a pod would get."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.cluster.standins.conditions import condition
from tests.cluster.standins.mirror import Mirror, Object
from tests.cluster.standins.nodes import GPU, quantity, requests
from tests.cluster.standins.scenario import Scenario
from tests.cluster.standins.scheduler import matches, tolerated

POOL, TYPE, CAPACITY = "karpenter.sh/nodepool", "node.kubernetes.io/instance-type", "karpenter.sh/capacity-type"
TYPES: dict[str, dict[str, Any]] = {  # what a node of the type has
    "g5.xlarge": {"cpu": 4, "memory": "16Gi", GPU: 1},
    "g5.2xlarge": {"cpu": 8, "memory": "32Gi", GPU: 1},
    "g6.xlarge": {"cpu": 4, "memory": "16Gi", GPU: 1},
    "g6.2xlarge": {"cpu": 8, "memory": "32Gi", GPU: 1},
    "g6e.2xlarge": {"cpu": 8, "memory": "64Gi", GPU: 1},
    "g5.12xlarge": {"cpu": 48, "memory": "192Gi", GPU: 4},
}


@dataclass
class NodePools:
    """The NodePools and node classes of the cluster."""

    mirror: Mirror
    scenario: Scenario

    async def judge(self, pool: Object) -> None:
        """Say of a NodePool and its node class whether they are ready, and what the pool has used."""
        name, wanted = pool["metadata"]["name"], pool["spec"]["template"]["spec"]["nodeClassRef"]
        found = self.mirror.get("ec2nodeclasses", wanted["name"])
        error = self.scenario.node_class_error or ("" if found else f'EC2NodeClass "{wanted["name"]}" not found')
        before = pool.get("status", {})
        kinds = ("ValidationSucceeded", "NodeClassReady", "Ready")
        verdicts = [kind == "ValidationSucceeded" or not error for kind in kinds]
        conditions = [
            condition(before, kind, good, kind, "NodeClassNotReady", "" if good else error)
            for kind, good in zip(kinds, verdicts, strict=True)
        ]
        used: Counter[str] = Counter()
        for claim in self.claims(name):
            used.update({key: quantity(value) for key, value in claim.get("status", {}).get("capacity", {}).items()})
        resources = {key: f"{value:g}" if value < 10**6 else str(int(value)) for key, value in used.items()}
        resources["nodes"] = str(len(self.claims(name)))
        status = {"conditions": conditions, "resources": resources}
        if any(before.get(key) != value for key, value in status.items()):
            await self.mirror.patch("nodepools", name, {"status": status}, "status")
        await self._judge_class(found)

    async def _judge_class(self, found: Object | None) -> None:
        error = self.scenario.node_class_error
        if found is None:
            return
        before = found.get("status", {})
        new = condition(before, "Ready", not error, "Ready", "NodeClassNotReady", error)
        if new not in before.get("conditions", []):
            status = {"conditions": [new]}
            await self.mirror.patch("ec2nodeclasses", found["metadata"]["name"], {"status": status}, "status")

    def claims(self, pool: str) -> list[Object]:
        return self.mirror.list("nodeclaims", {POOL: pool})

    def choose(self, pod: Object, pool: Object) -> tuple[str, str]:
        """An instance type of the pool for the pod, and why there is none."""
        template = pool["spec"]["template"]
        if not any(
            item["type"] == "Ready" and item["status"] == "True"
            for item in pool.get("status", {}).get("conditions", [])
        ):
            return "", "node pool not ready"
        for taint in template["spec"].get("taints", []):
            if not tolerated(pod, taint):
                return "", f"did not tolerate taint {taint['key']}={taint.get('value', '')}:{taint['effect']}"
        used = pool["status"].get("resources", {})
        for kind, capacity in TYPES.items():
            labels = node_labels(pool, kind)
            selected = pod["spec"].get("nodeSelector", {}).items() <= labels.items()
            allowed = all(
                matches(item, labels) for item in template["spec"].get("requirements", []) if item["key"] in labels
            )
            if not (selected and allowed and holds(capacity, pod)):
                continue
            over = [
                key for key, most in pool["spec"].get("limits", {}).items() if self._over(key, most, used, capacity)
            ]
            return (
                (kind, "") if not over else ("", f"all available instance types exceed limits for nodepool ({over[0]})")
            )
        return "", "no instance type satisfied resources and requirements"

    def _over(self, key: str, most: object, used: dict[str, str], capacity: dict[str, Any]) -> bool:
        added = 1 if key == "nodes" else quantity(capacity.get(key, 0))
        return quantity(used.get(key, 0)) + added > quantity(most)


def node_labels(pool: Object, kind: str) -> dict[str, str]:
    """The labels that a node of this pool and instance type gets."""
    template = pool["spec"]["template"]
    required = {item["key"]: item.get("values", [""])[0] for item in template["spec"].get("requirements", [])}
    capacity = required.get(CAPACITY, "on-demand")
    own: dict[str, str] = template.get("metadata", {}).get("labels", {})
    return own | {
        POOL: pool["metadata"]["name"],
        TYPE: kind,
        CAPACITY: capacity,
        "topology.kubernetes.io/zone": "eu-west-1a",
    }


def holds(capacity: dict[str, Any], pod: Object) -> bool:
    """Whether a node of this capacity is large enough for the pod alone."""
    return all(amount <= quantity(capacity.get(name, 0)) for name, amount in requests(pod).items())
