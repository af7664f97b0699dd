"""Which Ray stands behind which head pod: started when the pod runs, ended when it is gone."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.cluster.standins.kubelet import Kubelet
from tests.cluster.standins.mirror import Mirror, Object
from tests.cluster.standins.raycluster import RayClusters
from tests.cluster.standins.raypods import auth_secret
from tests.cluster.standins.scenario import Scenario
from tests.cluster.standins.serve import Maker, Serve
from tests.fakes.ray_dashboard import FakeRay


@dataclass
class Rays:
    """The Rays of a namespace, by the name of their head pod."""

    mirror: Mirror
    scenario: Scenario
    kubelet: Kubelet
    clusters: RayClusters
    _serves: dict[str, Serve] = field(default_factory=dict)
    _tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    def reconcile(self, maker: Maker | None, *, operator_runs: bool) -> None:
        """Start what is missing, end what has lost its pod, and map the pods' ports."""
        heads = [pod for pod in self.mirror.list("pods", {"ray.io/node-type": "head"}) if _runs(pod)]
        for pod in heads:
            name, cluster = pod["metadata"]["name"], pod["metadata"]["labels"]["ray.io/cluster"]
            if name not in self._serves:
                self._serves[name] = serve = Serve(cluster)
                make = maker or self._fake_maker(cluster)
                self._tasks[name] = asyncio.create_task(serve.run(make, lambda: self.scenario.step_s))
            self._serves[name].reachable = operator_runs and not self.scenario.dashboard_unreachable
        for name in [*self._serves]:
            if name not in {pod["metadata"]["name"] for pod in heads}:
                del self._serves[name]
                self._tasks[name].cancel()
        for task in self._tasks.values():
            if task.done() and not task.cancelled():
                task.result()  # it ends only by failing: let the test see that
        self._map_ports()

    def of(self, cluster: str) -> Serve | None:
        """The Ray of a RayCluster, once it is up."""
        return next((serve for serve in self._serves.values() if serve.cluster == cluster and serve.backend), None)

    def answers(self, pod: Object) -> bool:
        """A Ray pod's readiness: the head's Ray is up; a worker's Serve proxy is, which it never is with HeadOnly."""
        labels = pod["metadata"]["labels"]
        serve = self.of(labels["ray.io/cluster"])
        if labels["ray.io/node-type"] == "head" or serve is None:
            return serve is not None
        return serve.running() and "HeadOnly" not in serve.config

    async def close(self) -> None:
        """End every Ray."""
        self._serves.clear()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _map_ports(self) -> None:
        for pod in self.mirror.list("pods", {"ray.io/is-ray-node": "yes"}):
            name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
            serve = self.of(labels["ray.io/cluster"])
            for port, local in serve.backend.ports.items() if serve and serve.backend else ():
                if port == 8000 or labels["ray.io/node-type"] == "head":
                    self.kubelet.ports.setdefault((name, port), local)

    def _fake_maker(self, cluster: str) -> Maker:
        return lambda name: FakeRay(self._state(cluster), token=self._token(cluster))

    def _token(self, cluster: str) -> str:
        item = self.mirror.get("rayclusters", cluster)
        secret = self.mirror.get("secrets", auth_secret(item["spec"], cluster)) if item else None
        return base64.b64decode(secret["data"]["auth_token"]).decode() if secret else ""

    def _state(self, cluster: str) -> Callable[[], tuple[str, str]]:
        """What the fake's applications become: (status, message)."""

        def state() -> tuple[str, str]:
            item = self.mirror.get("rayclusters", cluster)
            if self.scenario.deploy_failed:
                return "DEPLOY_FAILED", self.scenario.deploy_failed
            if self.scenario.never_running or item is None or not self.clusters.complete(item):
                return "DEPLOYING", ""
            return "RUNNING", ""

        return state


def _runs(pod: Object) -> bool:
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
