"""Which pod a connection goes to."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sdctl.cluster.client import Cluster
from sdctl.cluster.pods import DASHBOARD, SERVE, PodPort, Route, find, target_port
from sdctl.cluster.resources import Resource
from sdctl.errors import NotFound, Unreachable


def pod(name: str, cluster: str, *, head: bool = False, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    labels = {"ray.io/cluster": cluster, "ray.io/node-type": "head" if head else "worker", "ray.io/serve": "true"}
    container = {"ports": [{"name": "serve", "containerPort": 8000}, {"name": "dash", "containerPort": 9265}]}
    return {
        "metadata": {"name": name, "labels": labels, **metadata},
        "spec": {"containers": [container]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def rayservice(active: str = "", pending: str = "") -> dict[str, Any]:
    status = {"activeServiceStatus": {"rayClusterName": active}, "pendingServiceStatus": {"rayClusterName": pending}}
    return {"metadata": {"name": "sd"}, "status": status}


def service(cluster: str, **port: Any) -> dict[str, Any]:
    ports = [port or {"name": "serve", "port": 8000, "targetPort": 8000}]
    return {"spec": {"selector": {"ray.io/cluster": cluster, "ray.io/serve": "true"}, "ports": ports}}


@dataclass
class Objects:
    """An API server's objects, by plural and name."""

    rayservice: dict[str, Any] | None
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    def get(self, resource: Resource, name: str, namespace: str) -> dict[str, Any]:
        self.asked += 1
        if self.rayservice is None:
            raise NotFound(f"There is no {resource.title} {name}.")
        return self.rayservice

    def find(self, resource: Resource, name: str, namespace: str) -> dict[str, Any] | None:
        return self.services.get(name)

    def items(self, resource: Resource, namespace: str, *, labels: str) -> list[dict[str, Any]]:
        wanted = dict(entry.split("=") for entry in labels.split(","))
        return [pod for pod in self.pods if wanted.items() <= pod["metadata"]["labels"].items()]


def found(objects: Objects) -> list[str]:
    return [str(each) for each in find(cast("Cluster", objects), "sdctl", "sd", SERVE)]


def test_ready_pods_of_the_service_and_no_others() -> None:
    going = pod("c", "one", deletionTimestamp="2026-11-20T10:00:00Z")
    pods = [pod("b", "one"), pod("a", "one"), going, pod("d", "one", ready=False), pod("e", "two")]
    assert found(Objects(rayservice("one", "two"), {"sd-serve-svc": service("one")}, pods)) == ["a:8000", "b:8000"]


def test_the_head_of_the_cluster_in_preparation_while_nothing_is_ready() -> None:
    pods = [pod("h1", "one", head=True, ready=False), pod("h2", "two", head=True, ready=False), pod("w", "two")]
    assert found(Objects(rayservice("", "two"), {}, pods)) == ["h2:8000"]
    assert found(Objects(rayservice("one", "two"), {"sd-serve-svc": service("one")}, pods)) == ["h1:8000"]
    assert found(Objects(rayservice("one", "two"), {"sd-serve-svc": service("one")}, pods[1:])) == ["h2:8000"]
    assert found(Objects(rayservice())) == []


def test_a_service_may_have_a_name_of_its_own_and_name_its_port() -> None:
    named = rayservice("one") | {"spec": {"serveService": {"metadata": {"name": "front"}}}}
    front = service("one", name="http", port=8000, targetPort="serve")
    assert found(Objects(named, {"front": front}, [pod("a", "one")])) == ["a:8000"]


@pytest.mark.parametrize(
    ("ports", "number"),
    [
        ({"name": "dashboard", "port": 80, "targetPort": "dash"}, 9265),
        ({"name": "dashboard", "port": 8265}, 8265),
        ({"name": "dashboard", "port": 80, "targetPort": "unknown"}, 8265),
        ({"name": "other", "port": 6379}, 8265),
    ],
)
def test_target_ports(ports: dict[str, Any], number: int) -> None:
    assert target_port(service("one", **ports), pod("a", "one"), DASHBOARD) == number


def test_connections_take_turns_and_ask_the_server_once_a_second() -> None:
    objects = Objects(rayservice("one"), {"sd-serve-svc": service("one")}, [pod("a", "one"), pod("b", "one")])
    now = [0.0]
    route = Route(cast("Cluster", objects), "sdctl", "sd", SERVE, clock=lambda: now[0])
    assert [route.next().pod for _ in range(4)] == ["a", "b", "a", "b"]
    assert objects.asked == 1
    objects.pods = [pod("c", "one")]
    assert route.next().pod in "ab"
    route.forget()
    assert route.next() == PodPort("c", 8000)
    now[0] = 1.5
    objects.services, objects.pods = {"sd-serve-svc": service("two")}, [pod("d", "two"), pod("c", "one")]
    assert route.next().pod == "d"


def test_without_pods_and_without_the_rayservice() -> None:
    objects = Objects(rayservice("one"))
    route = Route(cast("Cluster", objects), "sdctl", "sd", SERVE)
    with pytest.raises(Unreachable, match="No pod of RayService sd runs"):
        route.next()
    objects.rayservice = None
    with pytest.raises(NotFound):
        route.next()
