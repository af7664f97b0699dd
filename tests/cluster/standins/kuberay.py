"""KubeRay's RayService controller with its weaknesses: stale statuses, a hash that overlooks, time-outs for ever."""

import copy
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.cluster.standins.conditions import get_condition, set_condition, without
from tests.cluster.standins.events import Events
from tests.cluster.standins.mirror import Mirror, Object, now
from tests.cluster.standins.pods import is_ready
from tests.cluster.standins.raypods import HEAD_PORTS, origin, owned_by, service, suffix
from tests.cluster.standins.scenario import Scenario
from tests.cluster.standins.serve import Serve
from tests.cluster.standins.timers import Timers

REPORTER = "rayservice-controller"
FINALIZER = "ray.io/rayservice-finalizer"
HASH = "ray.io/hash-without-replicas-and-workers-to-delete"
LONGEST_NAME = 47
DELETION_DELAY_S = 60.0
UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class RayServices:
    """All RayServices of the namespace. `serve` gives the Ray of a RayCluster, once its head pod runs."""

    mirror: Mirror
    events: Events
    scenario: Scenario
    serve: Callable[[str], Serve | None]
    timers: Timers = field(default_factory=Timers)
    _retired: set[str] = field(default_factory=set)

    async def reconcile(self) -> None:
        for item in self.mirror.list("rayservices"):
            await self._reconcile(copy.deepcopy(item))

    async def _reconcile(self, item: Object) -> None:
        name, status = item["metadata"]["name"], item.setdefault("status", {})
        if "deletionTimestamp" in item["metadata"]:
            await self._finish(item)
        elif FINALIZER not in item["metadata"].get("finalizers", []):
            finalizers = [*item["metadata"].get("finalizers", []), FINALIZER]
            await self.mirror.patch("rayservices", name, {"metadata": {"finalizers": finalizers}})
        elif problem := self._invalid(item):
            await self.events.warn(
                item, "InvalidRayServiceSpec", f"{self.mirror.namespace}/{name}: {problem}", REPORTER
            )
            set_condition(status, "Ready", False, "ValidationFailed", problem)
            await self._write(item)
        elif self._timed_out(item):
            await self._give_up(item)
        elif item["spec"].get("suspend") and self.scenario.suspend_supported:
            await self._suspend(item)
        else:
            await self._serve(item)

    async def _finish(self, item: Object) -> None:
        if await self._delete_clusters(item) and not self.scenario.finalizer_stuck:
            rest = [entry for entry in item["metadata"].get("finalizers", []) if entry != FINALIZER]
            await self.mirror.patch("rayservices", item["metadata"]["name"], {"metadata": {"finalizers": rest or None}})

    async def _delete_clusters(self, item: Object, *, keep: tuple[str, ...] = ()) -> bool:
        """Ask for the deletion of the service's RayClusters but `keep`; whether none of them is left."""
        clusters = [c for c in self.mirror.owned("rayclusters", item) if c["metadata"]["name"] not in keep]
        for cluster in clusters:
            await self.mirror.delete("rayclusters", cluster["metadata"]["name"])
        return not clusters

    def _invalid(self, item: Object) -> str:
        if len(item["metadata"]["name"]) > LONGEST_NAME:
            return f"RayService name should be no more than {LONGEST_NAME} characters"
        return self.scenario.validation_failed

    def _timed_out(self, item: Object) -> bool:
        ready = get_condition(item["status"], "Ready")
        if ready.get("reason") == "InitializingTimeout":
            return True
        if ready.get("status") == "True" or item["status"].get("activeServiceStatus"):
            return False
        limit = seconds(item["metadata"].get("annotations", {}).get("ray.io/initializing-timeout", ""))
        created = datetime.fromisoformat(item["metadata"]["creationTimestamp"])
        late = limit is not None and (datetime.now(UTC) - created).total_seconds() > limit
        return self.scenario.initializing_timeout or late

    async def _give_up(self, item: Object) -> None:
        await self._delete_clusters(item)
        message = "RayService failed to become ready within the initializing timeout"
        set_condition(item["status"], "Ready", False, "InitializingTimeout", message)
        item["status"] |= {"activeServiceStatus": {}, "pendingServiceStatus": {}}
        await self.events.warn(item, "RayServiceInitializingTimeout", message, REPORTER)
        await self._write(item)

    async def _suspend(self, item: Object) -> None:
        gone = await self._delete_clusters(item)
        set_condition(item["status"], "Suspending", not gone, "SuspendRequested", "RayClusters are being deleted")
        set_condition(item["status"], "Suspended", gone, "SuspendComplete", "")
        set_condition(item["status"], "Ready", False, "Suspended", "The RayService is suspended")
        item["status"].pop("serviceStatus", None)
        item["status"] |= {"activeServiceStatus": {}, "pendingServiceStatus": {}}
        item["status"]["observedGeneration"] = item["metadata"]["generation"]
        await self._write(item)

    async def _serve(self, item: Object) -> None:
        for kind in ("Suspending", "Suspended"):
            item["status"]["conditions"] = without(item["status"], kind)
        active, pending = self._cluster(item, "activeServiceStatus"), self._cluster(item, "pendingServiceStatus")
        pending = await self._goal(item, active, pending)
        current = pending or active
        serve = self.serve(current["metadata"]["name"]) if current else None
        if serve is not None:
            serve.config = item["spec"].get("serveConfigV2", "")
        if current and serve and serve.running():
            await self._point_services(item, current)
            if pending:
                active, pending = pending, None
        await self._label_head(item, active)
        self._report(item, active, pending)
        await self._write(item)
        await self._retire(item, [cluster for cluster in (active, pending) if cluster])

    def _cluster(self, item: Object, part: str) -> Object | None:
        name = item["status"].get(part, {}).get("rayClusterName", "")
        cluster = self.mirror.get("rayclusters", name) if name else None
        return cluster if cluster and "deletionTimestamp" not in cluster["metadata"] else None

    async def _goal(self, item: Object, active: Object | None, pending: Object | None) -> Object | None:
        """The pending cluster that there shall be: none where the active one still fits."""
        wanted = cluster_hash(item["spec"]["rayClusterConfig"])
        if pending and fits(pending, wanted):
            return pending
        if pending is None and active:
            strategy = item["spec"].get("upgradeStrategy", {}).get("type", "NewCluster")
            if fits(active, wanted) or strategy == "None":
                return None
        for cluster in self.mirror.owned("rayclusters", item):  # its name may not have reached the status
            gone = "deletionTimestamp" in cluster["metadata"] or cluster["metadata"]["name"] in self._retired
            if fits(cluster, wanted) and not gone:
                return cluster
        return await self._create(item, wanted)

    async def _create(self, item: Object, wanted: str) -> Object | None:
        name = item["metadata"]["name"]
        metadata = {
            "name": f"{name}-{suffix()}",
            "labels": item["metadata"].get("labels", {}) | origin(name, "RayService"),
            "annotations": {HASH: wanted},
            "ownerReferences": owned_by(item, "RayService"),
        }
        body = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata}
        return await self.mirror.create("rayclusters", body | {"spec": item["spec"]["rayClusterConfig"]})

    async def _point_services(self, item: Object, cluster: Object) -> None:
        """`<name>-head-svc` and `<name>-serve-svc`, which exist only once every application runs."""
        name, target = item["metadata"]["name"], {"ray.io/cluster": cluster["metadata"]["name"]}
        head = service(item, "RayService", f"{name}-head-svc", target | {"ray.io/node-type": "head"}, HEAD_PORTS)
        serve = service(item, "RayService", f"{name}-serve-svc", target | {"ray.io/serve": "true"}, {"serve": 8000})
        for body in (head, serve):
            known = self.mirror.get("services", body["metadata"]["name"])
            if known is None:
                await self.mirror.create("services", body)
            elif known["spec"]["selector"] != body["spec"]["selector"]:
                change = {"spec": {"selector": body["spec"]["selector"]}}
                await self.mirror.patch("services", body["metadata"]["name"], change)

    async def _label_head(self, item: Object, active: Object | None) -> None:
        if active is None or item["spec"].get("excludeHeadPodFromServeSvc"):
            return
        labels = {"ray.io/cluster": active["metadata"]["name"], "ray.io/node-type": "head"}
        for pod in self.mirror.list("pods", labels):
            value = "true" if is_ready(pod) else "false"
            if pod["metadata"]["labels"].get("ray.io/serve") != value:
                change = {"metadata": {"labels": {"ray.io/serve": value}}}
                await self.mirror.patch("pods", pod["metadata"]["name"], change)

    def _report(self, item: Object, active: Object | None, pending: Object | None) -> None:
        status, endpoints = item["status"], self._endpoints(active)
        for part, cluster in (("activeServiceStatus", active), ("pendingServiceStatus", pending)):
            status[part] = self._part(status, cluster, asked=pending is None or cluster is pending)
        serving = "NonZeroServeEndpoints" if endpoints else "ZeroServeEndpoints"
        set_condition(status, "Ready", endpoints > 0, serving if active else "Initializing", "")
        both = active is not None and pending is not None
        reason = "BothActivePendingClustersExist" if both else "NoPendingCluster" if active else "NoActiveCluster"
        set_condition(status, "UpgradeInProgress", both, reason, "")
        status.pop("serviceStatus", None)
        status |= {"numServeEndpoints": endpoints} | ({"serviceStatus": "Running"} if endpoints else {})
        status["observedGeneration"] = item["metadata"]["generation"]

    def _part(self, status: Object, cluster: Object | None, *, asked: bool) -> Object:
        """One of the two halves; an active cluster is not asked any more while another is pending."""
        if cluster is None:
            return {}
        name = cluster["metadata"]["name"]
        halves = (status.get("activeServiceStatus", {}), status.get("pendingServiceStatus", {}))
        before: Object = next((half for half in halves if half.get("rayClusterName") == name), {})
        serve = self.serve(name)
        known = serve.statuses() if asked and serve else before.get("applicationStatuses", {})
        part = {"rayClusterName": name, "rayClusterStatus": cluster.get("status", {})}
        return part | ({"applicationStatuses": known} if known else {})

    def _endpoints(self, active: Object | None) -> int:
        if active is None:
            return 0
        labels = {"ray.io/cluster": active["metadata"]["name"], "ray.io/serve": "true"}
        return sum(is_ready(pod) for pod in self.mirror.list("pods", labels))

    async def _retire(self, item: Object, wanted: list[Object]) -> None:
        """Delete what was replaced, after the deletion delay."""
        delay = self.scenario.deletion_delay_s
        if delay is None:
            delay = float(item["spec"].get("rayClusterDeletionDelaySeconds", DELETION_DELAY_S))
        names = {cluster["metadata"]["name"] for cluster in wanted}
        for cluster in self.mirror.owned("rayclusters", item):
            name = cluster["metadata"]["name"]
            if name not in names:
                self._retired.add(name)
                if self.timers.passed(delay, name, "retired"):
                    await self.mirror.delete("rayclusters", name)

    async def _write(self, item: Object) -> None:
        known = self.mirror.get("rayservices", item["metadata"]["name"])
        if known and known.get("status", {}) != item["status"]:
            item["status"]["lastUpdateTime"] = now()
            await self.mirror.put_status("rayservices", item)


def cluster_hash(config: Object) -> str:
    """What decides on a new cluster: the specification but for replicas, their limits and tolerations."""

    def cut(value: object) -> object:
        if isinstance(value, dict):
            dropped = ("replicas", "minReplicas", "maxReplicas", "scaleStrategy", "tolerations")
            return {key: cut(item) for key, item in value.items() if key not in dropped}
        return [cut(item) for item in value] if isinstance(value, list) else value

    return hashlib.sha1(json.dumps(cut(config), sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def fits(cluster: Object, wanted: str) -> bool:
    """Whether a RayCluster was made from the specification with this hash."""
    return bool(cluster["metadata"].get("annotations", {}).get(HASH) == wanted)


def seconds(duration: str) -> float | None:
    """A Go duration ("1h30m") or a number of seconds; None without one."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", duration)
    return sum(float(number) * UNITS_S[unit] for number, unit in parts) if parts else None
