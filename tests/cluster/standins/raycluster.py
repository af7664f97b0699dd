"""KubeRay's RayCluster controller: a head, the workers that its groups ask for, replacements, a status."""

import secrets
from dataclasses import dataclass, field

from tests.cluster.control_plane import Refused
from tests.cluster.standins.conditions import condition
from tests.cluster.standins.events import Events
from tests.cluster.standins.mirror import Mirror, Object
from tests.cluster.standins.pods import FINISHED, is_ready
from tests.cluster.standins.raypods import auth_secret, head_pod, head_service, owned_by, worker_pod
from tests.cluster.standins.scenario import Scenario

REPORTER = "raycluster-controller"


@dataclass
class RayClusters:
    """All RayClusters of the namespace. `demand` is what the autoscaler wants of a group, within its limits."""

    mirror: Mirror
    events: Events
    scenario: Scenario
    demand: dict[str, int] = field(default_factory=dict)

    async def reconcile(self) -> None:
        for cluster in self.mirror.list("rayclusters"):
            if "deletionTimestamp" not in cluster["metadata"]:
                await self._reconcile(cluster)

    async def _reconcile(self, cluster: Object) -> None:
        name = cluster["metadata"]["name"]
        if not self.mirror.get("services", f"{name}-head-svc"):
            await self.mirror.create("services", head_service(cluster))
        await self._make_token(cluster)
        await self._replace_failed(cluster)
        if not self._pods(cluster, "headgroup"):
            await self._make(cluster, head_pod(cluster), "FailedToCreateHeadPod", "CreatedHeadPod")
        for group in cluster["spec"].get("workerGroupSpecs", []):
            await self._scale(cluster, group)
        await self._report(cluster)

    async def _make_token(self, cluster: Object) -> None:
        """The operator makes a Secret of its own only where none is named."""
        name = cluster["metadata"]["name"]
        if auth_secret(cluster["spec"], name) == name and not self.mirror.get("secrets", name):
            metadata = {"name": name, "ownerReferences": owned_by(cluster, "RayCluster")}
            body = {"metadata": metadata, "stringData": {"auth_token": secrets.token_urlsafe(24)}}
            await self.mirror.create("secrets", body)

    async def _replace_failed(self, cluster: Object) -> None:
        for pod in self.mirror.owned("pods", cluster):
            if pod["status"].get("phase") in FINISHED and "deletionTimestamp" not in pod["metadata"]:
                head = pod["metadata"]["labels"]["ray.io/node-type"] == "head"
                name = pod["metadata"]["name"]
                await self.mirror.delete("pods", name)
                reason = "DeletedHeadPod" if head else "DeletedWorkerPod"
                note = f"Deleted {'head' if head else 'worker'} Pod {self.mirror.namespace}/{name}; Pod status: Failed"
                await self.events.record(cluster, reason, f"{note}; {_last_state(pod)}", REPORTER)

    async def _scale(self, cluster: Object, group: Object) -> None:
        wanted, pods = self.wanted(cluster, group), self._pods(cluster, group["groupName"])
        for _ in range(wanted - len(pods)):
            made = worker_pod(cluster, group)
            if not await self._make(cluster, made, "FailedToCreateWorkerPod", "CreatedWorkerPod"):
                return
        for pod in pods[wanted:]:
            await self.mirror.delete("pods", pod["metadata"]["name"])

    async def _make(self, cluster: Object, pod: Object, failed: str, created: str) -> bool:
        refusal = self.scenario.pod_creation_refused
        if not refusal:
            try:
                if made := await self.mirror.create("pods", pod):
                    note = f"Created Pod {self.mirror.namespace}/{made['metadata']['name']}"
                    await self.events.record(cluster, created, note, REPORTER)
                return made is not None
            except Refused as problem:
                refusal = str(problem)
        note = f"Failed to create Pod {self.mirror.namespace}/{cluster['metadata']['name']}, {refusal}"
        await self.events.warn(cluster, failed, note, REPORTER)
        return False

    def wanted(self, cluster: Object, group: Object) -> int:
        """How many workers a group shall have: its replicas, or the autoscaler's demand, within its limits."""
        smallest, largest = int(group.get("minReplicas", 0)), int(group.get("maxReplicas", 2**31))
        replicas = int(group.get("replicas", smallest))
        if cluster["spec"].get("enableInTreeAutoscaling"):
            replicas = self.demand.get(group["groupName"], max(replicas, 1))
        return min(max(replicas, smallest), largest)

    def _pods(self, cluster: Object, group: str) -> list[Object]:
        """The pods of a group that are not on their way out, oldest first."""
        pods = [pod for pod in self.mirror.owned("pods", cluster) if "deletionTimestamp" not in pod["metadata"]]
        named = [pod for pod in pods if pod["metadata"]["labels"]["ray.io/group"] == group]
        return sorted(named, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def complete(self, cluster: Object) -> bool:
        """Whether every pod that the cluster shall have is running."""
        groups = cluster["spec"].get("workerGroupSpecs", [])
        wanted = [("headgroup", 1), *((group["groupName"], self.wanted(cluster, group)) for group in groups)]
        running = {name: [pod["status"].get("phase") for pod in self._pods(cluster, name)] for name, _ in wanted}
        return all(running[name].count("Running") >= count for name, count in wanted)

    async def _report(self, cluster: Object) -> None:
        heads = self._pods(cluster, "headgroup")
        groups = cluster["spec"].get("workerGroupSpecs", [])
        workers = [pod for group in groups for pod in self._pods(cluster, group["groupName"])]
        head_ready = any(is_ready(pod) for pod in heads)
        status = {
            "desiredWorkerReplicas": sum(self.wanted(cluster, group) for group in groups),
            "availableWorkerReplicas": sum(pod["status"].get("phase") == "Running" for pod in workers),
            "observedGeneration": cluster["metadata"]["generation"],
            "head": {"serviceName": f"{cluster['metadata']['name']}-head-svc"},
        }
        if heads:
            address = heads[0]["status"].get("podIP")
            status["head"] |= {"podName": heads[0]["metadata"]["name"]} | ({"podIP": address} if address else {})
        if self.complete(cluster):
            status["state"] = "ready"
        before = cluster.get("status", {})
        conditions = [
            condition(before, "HeadPodReady", head_ready, "HeadPodRunningAndReady", "ContainersNotReady"),
            condition(
                before,
                "RayClusterProvisioned",
                self.complete(cluster),
                "AllPodRunningAndReadyFirstTime",
                "RayClusterPodsProvisioning",
            ),
        ]
        status["conditions"] = conditions
        if any(before.get(key) != value for key, value in status.items()):
            await self.mirror.patch("rayclusters", cluster["metadata"]["name"], {"status": status}, "status")


def _last_state(pod: Object) -> str:
    """How Go prints the state in which the Ray container ended: all that is left of it."""
    for status in pod["status"].get("containerStatuses", []):
        if end := status.get("state", {}).get("terminated"):
            said = f"ExitCode:{end['exitCode']},Signal:0,Reason:{end['reason']},Message:,StartedAt:{end['startedAt']}"
            return f"Ray container terminated status: &ContainerStateTerminated{{{said}}}"
    return "Ray container terminated status: nil"
