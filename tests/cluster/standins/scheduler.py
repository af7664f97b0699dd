"""Binds pods to nodes that fit them, and says of the others why none does."""

from collections import Counter
from dataclasses import dataclass

from tests.cluster.standins.events import Events
from tests.cluster.standins.mirror import Mirror, Object, now, path
from tests.cluster.standins.nodes import GPU, quantity, requests

REPORTER = "default-scheduler"
FINISHED = ("Succeeded", "Failed")


@dataclass
class Scheduler:
    """kube-scheduler for one namespace."""

    mirror: Mirror
    events: Events

    async def reconcile(self) -> None:
        for pod in self.mirror.list("pods"):
            if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]:
                await self._place(pod)

    async def _place(self, pod: Object) -> None:
        nodes = self.mirror.list("nodes")
        problems = {node["metadata"]["name"]: obstacle(pod, node, self._free(node)) for node in nodes}
        fitting = [name for name, problem in problems.items() if not problem]
        if fitting:
            await self._bind(pod, fitting[0])
            return
        counts = Counter(problem for problem in problems.values() if problem)
        reasons = ", ".join(f"{count} {problem}" for problem, count in sorted(counts.items()))
        note = f"0/{len(nodes)} nodes are available" + (f": {reasons}." if reasons else ".")
        await self._refuse(pod, note)

    def _free(self, node: Object) -> dict[str, float]:
        amounts = node.get("status", {}).get("allocatable", {})
        free = {name: quantity(amounts.get(name, 0)) for name in ("cpu", "memory", GPU)}
        for pod in self.mirror.list("pods"):
            if pod["spec"].get("nodeName") == node["metadata"]["name"] and pod["status"]["phase"] not in FINISHED:
                for name, amount in requests(pod).items():
                    free[name] -= amount
        return free

    async def _bind(self, pod: Object, node: str) -> None:
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self.mirror.request("POST", path("pods", self.mirror.namespace, name, "binding"), binding)
        await self.mirror.sync("pods")
        note = f"Successfully assigned {self.mirror.namespace}/{name} to {node}"
        await self.events.record(pod, "Scheduled", note, REPORTER)

    async def _refuse(self, pod: Object, note: str) -> None:
        known: Object = next(
            (item for item in pod["status"].get("conditions", []) if item["type"] == "PodScheduled"), {}
        )
        if known.get("message") == note:
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": note}
        status = {"conditions": [condition | {"lastTransitionTime": now()}]}
        await self.mirror.patch("pods", pod["metadata"]["name"], {"status": status}, "status")
        await self.events.warn(pod, "FailedScheduling", note, REPORTER)


def obstacle(pod: Object, node: Object, free: dict[str, float]) -> str:
    """Why a pod cannot run on a node, in the scheduler's words; empty where it can."""
    labels = node["metadata"].get("labels", {})
    conditions = node.get("status", {}).get("conditions", [])
    if not any(item["type"] == "Ready" and item["status"] == "True" for item in conditions):
        return "node(s) were not ready"
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if not pod["spec"].get("nodeSelector", {}).items() <= labels.items() or not _affine(pod, labels):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in node["spec"].get("taints", []):
        if taint["effect"] != "PreferNoSchedule" and not tolerated(pod, taint):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return next((f"Insufficient {name}" for name, amount in requests(pod).items() if amount > free[name]), "")


def tolerated(pod: Object, taint: Object) -> bool:
    """Whether one of the pod's tolerations covers a taint."""
    for toleration in pod["spec"].get("tolerations", []):
        key, effect = toleration.get("key", ""), toleration.get("effect", "")
        exists = toleration.get("operator", "Equal") == "Exists"
        value = exists or toleration.get("value", "") == taint.get("value", "")
        if key in ("", taint["key"]) and effect in ("", taint["effect"]) and value:
            return True
    return False


def matches(expression: Object, labels: dict[str, str]) -> bool:
    """Whether labels meet one requirement (In, NotIn, Exists, DoesNotExist)."""
    value, values = labels.get(expression["key"]), expression.get("values", [])
    verdicts = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return verdicts.get(expression["operator"], True)


def _affine(pod: Object, labels: dict[str, str]) -> bool:
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    terms = required["nodeSelectorTerms"]
    return any(all(matches(item, labels) for item in term.get("matchExpressions", [])) for term in terms)
