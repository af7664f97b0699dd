"""Karpenter: NodeClaims and nodes for pods that fit nowhere, within the NodePools; both go when they are empty."""

import copy
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.standins.conditions import condition
from tests.cluster.standins.events import Events
from tests.cluster.standins.kubelet import Kubelet
from tests.cluster.standins.mirror import Mirror, Object
from tests.cluster.standins.nodepools import TYPE, TYPES, NodePools, node_labels
from tests.cluster.standins.nodes import GPU, node, ready, requests
from tests.cluster.standins.raypods import suffix
from tests.cluster.standins.scenario import Scenario
from tests.cluster.standins.scheduler import FINISHED
from tests.cluster.standins.timers import Timers

EXTRA = {"pods": 110, "ephemeral-storage": "100Gi"}
REPORTER = "karpenter"


@dataclass
class Karpenter:
    """The node provisioner; idle while there is no NodePool."""

    mirror: Mirror
    events: Events
    scenario: Scenario
    kubelet: Kubelet
    pools: NodePools
    timers: Timers = field(default_factory=Timers)
    _nominated: dict[str, str] = field(default_factory=dict)  # pod's UID → NodeClaim

    async def reconcile(self) -> None:
        for pool in self.mirror.list("nodepools"):
            await self.pools.judge(pool)
        for claim in self.mirror.list("nodeclaims"):
            await self._advance(claim)
        for pod in self.mirror.list("pods"):
            if unschedulable(pod) and self.mirror.list("nodepools"):
                await self._provide(pod)

    async def _provide(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        claim = self.mirror.get("nodeclaims", self._nominated.get(uid, ""))
        if claim:
            return
        problems = []
        for pool in self.mirror.list("nodepools"):
            kind, problem = self.pools.choose(pod, pool)
            if not problem:
                made = await self._claim(pool, kind, pod)
                self._nominated[uid] = made
                note = f"Pod should schedule on: nodeclaim/{made}"
                await self.events.record(pod, "Nominated", note, REPORTER)
                return
            problems.append(f'incompatible with nodepool "{pool["metadata"]["name"]}", {problem}')
        await self.events.warn(pod, "FailedScheduling", f"Failed to schedule pod, {'; '.join(problems)}", REPORTER)

    async def _claim(self, pool: Object, kind: str, pod: Object) -> str:
        name = f"{pool['metadata']['name']}-{suffix()}"
        template = copy.deepcopy(pool["spec"]["template"])
        spec = template["spec"] | {
            "resources": {"requests": {key: f"{value:g}" for key, value in requests(pod).items()}}
        }
        metadata = {
            "name": name,
            "labels": node_labels(pool, kind),
            "annotations": template.get("metadata", {}).get("annotations", {}),
        }
        body = {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": metadata, "spec": spec}
        made = await self.mirror.create("nodeclaims", body)
        await self.pools.judge(pool)
        return name if made else ""

    async def _advance(self, claim: Object) -> None:
        name, scenario = claim["metadata"]["name"], self.scenario
        done = {item["type"] for item in claim.get("status", {}).get("conditions", []) if item["status"] == "True"}
        if "Launched" not in done:
            await (self._launch(claim) if name in self._awaited() else self.mirror.delete("nodeclaims", name))
        elif "Registered" not in done:
            if self.timers.passed(scenario.register_s, name, "register") and not scenario.never_registers:
                await self._register(claim)
        elif "Initialized" not in done:
            missing = "ResourceNotRegistered" if scenario.gpu_never_registers else "NodeNotReady"
            if self.timers.passed(scenario.initialize_s, name, "initialize") and not scenario.gpu_never_registers:
                await self._initialise(claim)
            else:
                note = f'resource "{GPU}" not registered' if scenario.gpu_never_registers else "node not ready"
                await self._set(claim, {}, Initialized=(False, missing, note))
        else:
            await self._remove_empty(claim)

    async def _launch(self, claim: Object) -> None:
        name, error = claim["metadata"]["name"], self.scenario.launch_error
        if error:
            await self.events.warn(claim, "InsufficientCapacityError", f"NodeClaim {name} event: {error}", REPORTER)
            await self._set(claim, {}, Launched=(False, "LaunchFailed", error))
        elif self.timers.passed(self.scenario.launch_s, name, "launch"):
            capacity = TYPES[claim["metadata"]["labels"][TYPE]] | EXTRA
            amounts = {key: str(value) for key, value in capacity.items()}
            facts = {"providerID": f"aws:///eu-west-1a/i-{name}", "capacity": amounts, "allocatable": amounts}
            await self._set(claim, facts, Launched=(True, "Launched", ""))

    async def _register(self, claim: Object) -> None:
        name, labels = claim["metadata"]["name"], claim["metadata"]["labels"]
        capacity = self._capacity(claim)
        body = node(name, capacity, labels | {"karpenter.sh/registered": "true"}, claim["spec"].get("taints", []))
        await self.mirror.create("nodes", body)
        await self.mirror.patch("nodes", name, ready(capacity, self.kubelet.port, is_ready=False), "status")
        await self._set(claim, {"nodeName": name}, Registered=(True, "Registered", ""))

    async def _initialise(self, claim: Object) -> None:
        name = claim["metadata"]["name"]
        await self.mirror.patch("nodes", name, ready(self._capacity(claim), self.kubelet.port), "status")
        taints = claim["spec"].get("taints", [])  # without the not-ready one of admission
        change = {"metadata": {"labels": {"karpenter.sh/initialized": "true"}}, "spec": {"taints": taints}}
        await self.mirror.patch("nodes", name, change)
        await self._set(claim, {}, Initialized=(True, "Initialized", ""), Ready=(True, "Ready", ""))

    def _capacity(self, claim: Object) -> dict[str, Any]:
        capacity = TYPES[claim["metadata"]["labels"][TYPE]] | EXTRA
        dropped = GPU if self.scenario.gpu_never_registers else ""
        return {key: value for key, value in capacity.items() if key != dropped}

    async def _set(self, claim: Object, facts: Object, **changes: tuple[bool, str, str]) -> None:
        before = claim.get("status", {})
        conditions = {item["type"]: item for item in before.get("conditions", [])}
        for kind, (good, reason, message) in changes.items():
            new = condition(before, kind, good, reason, reason, message)
            # Karpenter says Unknown, not False, of what may still come
            conditions[kind] = new if good else new | {"status": "Unknown"}
        status = facts | {"conditions": [*conditions.values()]}
        if any(_timeless(before.get(key)) != _timeless(value) for key, value in status.items()):
            await self.mirror.patch("nodeclaims", claim["metadata"]["name"], {"status": status}, "status")

    def _awaited(self) -> set[str]:
        """The NodeClaims that pods without a node wait for."""
        pods = [pod for pod in self.mirror.list("pods") if not pod["spec"].get("nodeName")]
        return {self._nominated.get(pod["metadata"]["uid"], "") for pod in pods}

    async def _remove_empty(self, claim: Object) -> None:
        name = claim["metadata"]["name"]
        held = [
            pod
            for pod in self.mirror.list("pods")
            if pod["spec"].get("nodeName") == name and pod["status"]["phase"] not in FINISHED
        ]
        if held or name in self._awaited():
            self.timers.reset(name, "empty")
        elif self.timers.passed(self.scenario.empty_s, name, "empty"):
            await self.events.record(claim, "DisruptionTerminating", "Disrupting NodeClaim: Empty", REPORTER)
            await self.mirror.delete("nodes", name)
            await self.mirror.delete("nodeclaims", name)


def unschedulable(pod: Object) -> bool:
    """Whether the scheduler has found no node for the pod."""
    listed = pod["status"].get("conditions", [])
    waiting = not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    return waiting and any(item.get("reason") == "Unschedulable" for item in listed)


def _timeless(value: Any) -> Any:
    """Conditions without their times."""
    if not isinstance(value, list):
        return value
    return [{key: entry for key, entry in item.items() if key != "lastTransitionTime"} for item in value]
