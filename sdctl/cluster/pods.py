"""Which pod answers for a port of a RayService at this moment: its Service's ready pods, else a head pod."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import CLUSTER_LABEL, NODE_TYPE_LABEL, Object, at, deleting, is_true, name
from sdctl.cluster.resources import PODS, RAYSERVICES, SERVICES
from sdctl.errors import Unreachable

FRESH_S = 1.0  # a burst of connections asks the API server once


@dataclass(frozen=True)
class Port:
    """A port that KubeRay gives every RayService: `service` is its Service's ending, `number` its usual number."""

    name: str
    service: str
    number: int
    health: str  # a path that answers once the port works


SERVE = Port("serve", "serve-svc", 8000, "/-/healthz")
DASHBOARD = Port("dashboard", "head-svc", 8265, "/api/version")


@dataclass(frozen=True)
class PodPort:
    """Where one connection goes."""

    pod: str
    number: int

    def __str__(self) -> str:
        return f"{self.pod}:{self.number}"


class Route:
    """Gives a pod for each new connection, in turn, wherever the RayService's pods are by then.

    Safe to share between threads.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, service: str, port: Port, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.port = port
        self.title = f"RayService {service}"
        self._find: Callable[[], tuple[PodPort, ...]] = partial(find, cluster, namespace, service, port)
        self._clock = clock
        self._lock = threading.Lock()
        self._turn = itertools.count()
        self._known: tuple[PodPort, ...] = ()
        self._until = 0.0

    def next(self) -> PodPort:
        """The pod for one more connection; raises NotFound without the RayService, Unreachable without a pod."""
        with self._lock:
            if not self._known or self._clock() >= self._until:
                self._known = self._find()
                self._until = self._clock() + FRESH_S
            if not self._known:
                raise Unreachable(
                    f"No pod of {self.title} runs.", hint="`sdctl status` says why; `sdctl deploy` starts it."
                )
            return self._known[next(self._turn) % len(self._known)]

    def forget(self) -> None:
        """A connection failed: ask again for the next one."""
        with self._lock:
            self._known = ()


def find(cluster: Cluster, namespace: str, service: str, port: Port) -> tuple[PodPort, ...]:
    """The pods that answer for `port` now; empty while none can. Raises NotFound when there is no such RayService."""
    rayservice = cluster.get(RAYSERVICES, service, namespace)
    of_service = cluster.find(SERVICES, service_name(rayservice, port), namespace)
    if selector := at(of_service, "spec", "selector"):
        pods = cluster.items(PODS, namespace, labels=",".join(f"{key}={value}" for key, value in selector.items()))
        ready = tuple(
            PodPort(name(pod), target_port(of_service, pod, port)) for pod in sorted(pods, key=name) if is_ready(pod)
        )
        if ready:
            return ready
    for of_cluster in ray_clusters(rayservice):
        labels = f"{CLUSTER_LABEL}={of_cluster},{NODE_TYPE_LABEL}=head"
        heads = [pod for pod in cluster.items(PODS, namespace, labels=labels) if is_running(pod)]
        if heads:
            return tuple(PodPort(name(pod), target_port(None, pod, port)) for pod in heads)
    return ()


def service_name(rayservice: Object, port: Port) -> str:
    """The name of the Service that KubeRay keeps for this port once everything runs."""
    chosen = at(rayservice, "spec", "serveService", "metadata", "name") if port is SERVE else None
    return str(chosen or f"{name(rayservice)}-{port.service}")


def ray_clusters(rayservice: Object) -> tuple[str, ...]:
    """The RayClusters whose head to try while the Service has no ready pod: the active one, then the one to come.

    Readiness flaps, and a cluster in preparation answers 404 for what the active one may still serve.
    """
    found = (at(rayservice, "status", key, "rayClusterName") for key in ("activeServiceStatus", "pendingServiceStatus"))
    return tuple(str(cluster) for cluster in found if cluster)


def is_running(pod: Object) -> bool:
    """Whether its containers run and it is not on its way out."""
    return at(pod, "status", "phase") == "Running" and not deleting(pod)


def is_ready(pod: Object) -> bool:
    """Whether a Service would send traffic to it."""
    return is_running(pod) and is_true(pod, "Ready")


def target_port(service: Object | None, pod: Object, port: Port) -> int:
    """The pod's port number behind a Service's port; without one, the container port of that name, else the usual."""
    entries = at(service, "spec", "ports") or []
    matching = [entry for entry in entries if entry.get("name") == port.name] or [
        entry for entry in entries if entry.get("port") == port.number
    ]
    target = (matching[0].get("targetPort") or matching[0].get("port")) if matching else port.name
    if isinstance(target, int):
        return target
    return _container_port(pod, str(target)) or port.number


def _container_port(pod: Object, called: str) -> int | None:
    for container in at(pod, "spec", "containers") or []:
        for entry in container.get("ports") or []:
            if entry.get("name") == called:
                return int(entry["containerPort"])
    return None
