"""A service on the test cluster that scales with its load: a scripted Ray whose workers are the stand-ins' pods."""

import itertools
import threading
import time
from collections.abc import Mapping
from typing import Any

import yaml

from tests.cluster.operating import Object, rayservice
from tests.cluster.standins.platform import Platform
from tests.fakes.http_service import Reply, json_reply
from tests.fakes.ray_dashboard import NODE_ID, FakeRay

GENERATOR, GROUP = "Generator", "workers"
AUTOSCALING = {
    "min_replicas": 1,
    "max_replicas": 4,
    "target_ongoing_requests": 1,
    "upscale_delay_s": 1,
    "downscale_delay_s": 2,
    "look_back_period_s": 1,
}
ALONE = 20  # pictures of the first replica; later ones wait until all replicas run
PATIENCE_S = 120.0


def scaling_service(namespace: str, most: int) -> Object:
    """A RayService whose generator takes a GPU and scales, on at most so many workers."""
    generator = {"name": GENERATOR, "autoscaling_config": AUTOSCALING, "ray_actor_options": {"num_gpus": 1}}
    application = {"name": "sd", "route_prefix": "/", "import_path": "a.b:c", "deployments": [generator]}
    body = rayservice(namespace, gpus=1)
    body["spec"]["serveConfigV2"] = yaml.safe_dump({"applications": [application]})
    config = body["spec"]["rayClusterConfig"]
    config["enableInTreeAutoscaling"] = True
    config["workerGroupSpecs"][0]["maxReplicas"] = most
    return body


class ScalingRay(FakeRay):
    """Wants a replica for each request in flight, up to `most`, until `shrink`; each runs once its worker pod does.

    So that nothing here depends on speed, pictures after the first ones wait until all replicas run.
    """

    def __init__(self, platform: Platform, most: int) -> None:
        self.shrink, self.grown = threading.Event(), threading.Event()
        self._reported = threading.Event()  # a new replica is placed no earlier: so the report has been read
        self._platform, self._most = platform, most
        self._lock = threading.Lock()
        self._ongoing = 0
        self._turn = itertools.count()
        self._replicas = [("sd#Generator#r0", time.time())]
        self._homes: dict[str, str] = {}  # replica → UID of its pod: once placed, it stays
        super().__init__()

    def service(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """An answer; a picture says which replica made it."""
        if method != "POST":
            return super().service(method, path, headers, body)
        with self._lock:
            self._ongoing += 1
        try:
            if self.images >= ALONE:
                self.grown.wait(PATIENCE_S)
            time.sleep(0.05)
            reply = super().service(method, path, headers, body)
            running = [name for name, pod in self._placed() if pod]
            replica = running[next(self._turn) % len(running)] if running else self._replicas[0][0]
            return Reply(reply.status, reply.body, {**reply.headers, "X-Replica": replica.rpartition("#")[2]})
        finally:
            with self._lock:
                self._ongoing -= 1

    def dashboard(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The dashboard's answer; every look at it is also a look of the autoscaler at the load."""
        self._scale()
        if path.partition("?")[0] == "/api/cluster_status":
            return json_reply(200, {"result": True, "msg": "", "data": {"clusterStatus": self._report()}})
        if path.partition("?")[0] != "/api/v0/nodes":
            return super().dashboard(method, path, headers, body)
        head = {"node_id": NODE_ID, "state": "ALIVE", "is_head_node": True, "node_ip": "10.244.9.9"}
        rows = [head] + [node_of(pod) for _, pod in self._placed() if pod]
        return json_reply(200, {"result": True, "data": {"result": {"total": len(rows), "result": rows}}})

    def _report(self) -> str:
        """What `ray status` would print."""
        waiting = sum(pod is None for _, pod in self._placed())
        if waiting == self._most - 1:
            self._reported.set()
        pending = f" {GROUP}, {waiting} launching" if waiting else " (no pending nodes)"
        demand = f" {{'GPU': 1.0}}: {waiting}+ pending tasks/actors" if waiting else " (no resource demands)"
        parts = ("Pending:", pending, "Recent failures:", " (no failures)", "", "Pending Demands:", demand)
        return "\n".join(("======== Autoscaler status ========", "Node status", "-----", *parts))

    def _scale(self) -> None:
        with self._lock:
            wanted = min(self._most, max(self._ongoing, len(self._replicas)))
            target = 1 if self.shrink.is_set() else wanted
            while len(self._replicas) < target:
                self._replicas.append((f"sd#Generator#r{len(self._replicas)}", time.time()))
            del self._replicas[target:]
        self._platform.demand[GROUP] = target

    def _placed(self) -> list[tuple[str, Object | None]]:
        """Each replica and the pod that it runs in; None while it has none."""
        pods = self._platform.rays.mirror.list("pods", {"ray.io/node-type": "worker"})
        up = {pod["metadata"]["uid"]: pod for pod in pods if pod["status"].get("phase") == "Running" and not gone(pod)}
        with self._lock:
            names = [name for name, _ in self._replicas]
            self._homes = {name: uid for name, uid in self._homes.items() if name in names and uid in up}
            for name in names:
                free = [uid for uid in up if uid not in self._homes.values()]
                if name not in self._homes and free and (name == names[0] or self._reported.is_set()):
                    self._homes[name] = free[0]
            return [(name, up.get(self._homes.get(name, ""))) for name in names]

    def _deployment(self, config: dict[str, Any], status: str, message: str) -> dict[str, Any]:
        told = super()._deployment(config, status, message)
        placed = self._placed()
        started = dict(self._replicas)
        told["target_num_replicas"] = len(placed)
        told["replicas"] = [
            {
                "replica_id": name,
                "state": "RUNNING" if pod else "STARTING",
                "node_id": node_of(pod)["node_id"] if pod else None,
                "start_time_s": started.get(name, time.time()),
            }
            for name, pod in placed
        ]
        return told


def node_of(pod: Object) -> dict[str, Any]:
    """The Ray node of a worker pod; as KubeRay's, it is called by its address."""
    address = pod["status"]["podIP"]
    name = pod["metadata"]["uid"].replace("-", "").ljust(56, "0")
    return {"node_id": name, "node_name": address, "node_ip": address, "state": "ALIVE", "is_head_node": False}


def gone(pod: Object) -> bool:
    """Whether a pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]
