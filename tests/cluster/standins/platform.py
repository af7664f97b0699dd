"""All stand-ins of one test at work in a thread: what a test starts, sets and asks."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from tests.cluster.control_plane import ControlPlane, Refused
from tests.cluster.standins import operator
from tests.cluster.standins.collector import Collector
from tests.cluster.standins.events import Events
from tests.cluster.standins.karpenter import Karpenter
from tests.cluster.standins.kubelet import Kubelet
from tests.cluster.standins.kuberay import RayServices
from tests.cluster.standins.mirror import FOLLOWED, MERGE, Mirror, Object, Objects, connect, path
from tests.cluster.standins.nodepools import NodePools
from tests.cluster.standins.nodes import GPU, node, ready
from tests.cluster.standins.pods import Pods
from tests.cluster.standins.raycluster import RayClusters
from tests.cluster.standins.rays import Rays
from tests.cluster.standins.scenario import Scenario
from tests.cluster.standins.scheduler import Scheduler
from tests.cluster.standins.serve import Maker

TICK_S = 0.05  # the longest sleep between two rounds
LEASE_S = 1.0
UNTIL_S = 120.0
START_S = 120.0

T = TypeVar("T")


class Platform:
    """The stand-ins, running inside a `with` block; fields may be set from the test at any time."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.scenario = Scenario()
        self.kubelet = Kubelet()
        self.demand: dict[str, int] = {}  # worker group → workers that the autoscaler wants
        self.backend: Maker | None = None  # None: FakeRay
        self.rays: Rays
        self._operator_runs = True
        self._started, self._stopping = Event(), Event()
        self._failure: BaseException | None = None
        self._problems: deque[str] = deque(maxlen=5)  # what the API server refused last, for messages
        self._thread = Thread(target=self._run, name=f"stand-ins of {namespace}")

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_S) or self._failure:
            raise RuntimeError("The stand-ins do not start") from self._failure
        self.add_node("node-cpu", cpus=64)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure and value is None:
            raise RuntimeError("A stand-in failed") from self._failure

    def add_node(
        self,
        name: str,
        *,
        gpus: int = 0,
        cpus: int = 32,
        labels: dict[str, str] | None = None,
        taints: Sequence[Object] = (),
    ) -> None:
        """A fixed node, ready at once; "node-cpu" is there already."""
        capacity = {"cpu": cpus, "memory": "256Gi", "pods": 110} | ({GPU: gpus} if gpus else {})
        self.create(node(name, capacity, labels or {}, [*taints]), "nodes")
        self.patch("nodes", name, {"spec": {"taints": [*taints]}})  # without the not-ready one of admission
        self.patch("nodes", name, ready(capacity, self.kubelet.port), "status")

    def lose_node(self, name: str) -> None:
        """A node is gone from one moment to the next, its pods and its NodeClaim too (a spot interruption)."""
        pods = [pod for pod in self.list("pods") if pod["spec"].get("nodeName") == name]
        self.delete("nodes", name)
        self.delete("nodeclaims", name)
        for pod in pods:
            self.kubelet.cut(pod["metadata"]["name"])
            self.delete("pods", pod["metadata"]["name"], grace_s=0)

    def stop_operator(self) -> None:
        """KubeRay is gone: nothing is reconciled, its Lease gets old, its Deployment is unavailable."""
        self._operator_runs = False
        self.until(lambda: self.get("leases", operator.LEASE, operator.NAMESPACE)["spec"]["holderIdentity"] == "")

    def start_operator(self) -> None:
        """KubeRay is back."""
        self._operator_runs = True

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """An object by the plural of its kind; empty where there is none."""
        try:
            return dict(self.control_plane.request("GET", path(kind, namespace or self.namespace, name)))
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return {}

    def list(self, kind: str, selector: str = "") -> Objects:
        """The objects of a kind that a label selector chooses."""
        query = f"?labelSelector={selector.replace('=', '%3D')}" if selector else ""
        return [*self.control_plane.request("GET", path(kind, self.namespace) + query)["items"]]

    def create(self, body: Object, kind: str = "") -> Object:
        """A new object, as admin; its plural is guessed from `kind` where it is not given."""
        plural = kind or f"{body['kind'].lower()}{'es' if body['kind'].endswith('s') else 's'}"
        return dict(self.control_plane.request("POST", path(plural, self.namespace), body))

    def patch(self, kind: str, name: str, body: Object, subresource: str = "") -> Object:
        """Merge `body` into an object, as admin."""
        place = path(kind, self.namespace, name, subresource)
        return dict(self.control_plane.request("PATCH", place, body, content=MERGE))

    def delete(self, kind: str, name: str, grace_s: int | None = None) -> None:
        """Ask for an object's deletion, as admin; it may be gone already."""
        body = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        with contextlib.suppress(Refused):
            self.control_plane.request("DELETE", path(kind, self.namespace, name), body)

    def until(self, ask: Callable[[], T], what: str = "", *, timeout_s: float = UNTIL_S) -> T:
        """What `ask` gives once it is true; a KeyError, IndexError or refusal of the API server counts as not yet."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer: Any = None
            with contextlib.suppress(LookupError, TypeError, Refused):
                answer = ask()
            if answer:
                return answer  # type: ignore[no-any-return]
            if self._failure:
                raise RuntimeError("A stand-in failed") from self._failure
            if time.monotonic() > deadline:
                problems = "; ".join(self._problems)
                raise TimeoutError(f"{what or 'not true'}, {timeout_s:g} s; last: {answer!r}; refused: {problems}")
            time.sleep(0.05)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as failure:  # shown by the test's thread
            self._failure = failure
        finally:
            self._started.set()

    async def _main(self) -> None:
        async with connect(self.control_plane) as session, self.kubelet.serving(self.control_plane):
            mirror = Mirror(self.control_plane, self.namespace, session)
            events = Events(mirror)
            clusters = RayClusters(mirror, events, self.scenario, self.demand)
            self.rays = Rays(mirror, self.scenario, self.kubelet, clusters)
            pods = Pods(mirror, events, self.kubelet, self.scenario, self.rays.answers)
            pools = NodePools(mirror, self.scenario)
            karpenter = Karpenter(mirror, events, self.scenario, self.kubelet, pools)
            collector = Collector(mirror)
            services = RayServices(mirror, events, self.scenario, self.rays.of)
            for kind in FOLLOWED:
                await mirror.sync(kind)
            await operator.install(mirror)
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(mirror.follow(kind)) for kind in FOLLOWED]
                running += [tasks.create_task(collector.finish_namespace()), tasks.create_task(self._renew(mirror))]
                self._started.set()
                await self._rounds(
                    mirror, [collector, Scheduler(mirror, events), pods, karpenter], [clusters, services]
                )
                for task in running:
                    task.cancel()
                await self.rays.close()
            await operator.uninstall(mirror)

    async def _rounds(self, mirror: Mirror, always: Sequence[Any], operators: Sequence[Any]) -> None:
        while not self._stopping.is_set():
            mirror.changed.clear()
            self.rays.reconcile(self.backend, operator_runs=self._operator_runs)
            for controller in [*always, *(operators if self._operator_runs else ())]:
                try:
                    await controller.reconcile()
                except (aiohttp.ClientError, OSError, Refused, TimeoutError) as problem:
                    self._problems.append(repr(problem)[:500])  # the API server is away, or the world has moved on
                    await asyncio.sleep(TICK_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(mirror.changed.wait(), TICK_S)

    async def _renew(self, mirror: Mirror) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, Refused, TimeoutError):
                await operator.report(mirror, alive=self._operator_runs)
            for _ in range(10):
                before = self._operator_runs
                await asyncio.sleep(LEASE_S / 10)
                if before != self._operator_runs:
                    break
