"""Forwards through a real API server: whole bodies, breaks, replaced pods, another cluster, refusals."""

import contextlib
import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sdctl import service
from sdctl.cluster.client import Cluster
from sdctl.cluster.forward import dashboard_endpoint, forward, serve_endpoint
from sdctl.errors import NotAllowed, NotFound
from sdctl.retry import retry
from sdctl.targets.base import Endpoint
from sdctl.targets.forwarding import Forward, Listen
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operating import NAME, cluster_of, rayservice, serving
from tests.cluster.standins.kubelet import Fault
from tests.cluster.standins.platform import Platform
from tests.fakes.http_service import Reply
from tests.fakes.ray_dashboard import FakeRay

pytestmark = pytest.mark.cluster
PATIENT = Listen(ready_s=120.0, patience_s=120.0, notify=print)  # pytest shows what was told when a test fails
READ = {"apiGroups": ["ray.io"], "resources": ["rayservices"], "verbs": ["get"]}
READ_CORE = {"apiGroups": [""], "resources": ["services", "pods"], "verbs": ["get", "list"]}
PORTFORWARD = {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]}


class Echo(FakeRay):
    """A Ray whose service gives back what it was sent, and on GET says which one it is."""

    numbers = itertools.count()

    def __init__(self, cluster: str, platform: Platform) -> None:
        self.name = f"{cluster}/{next(self.numbers)}"
        super().__init__(lambda: ("DEPLOYING" if platform.scenario.never_running else "RUNNING", ""))

    def service(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if path == "/whoami":
            return Reply(200, body or self.name.encode())
        return super().service(method, path, headers, body)


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str, platform: Platform) -> Cluster:
    """sdctl's client; the service is being made, an Echo behind each head."""
    platform.backend = lambda name: Echo(name, platform)
    platform.create(rayservice(namespace))
    return cluster_of(control_plane, namespace)


@pytest.fixture
def endpoint(cluster: Cluster, platform: Platform) -> Iterator[Endpoint]:
    """The service, once it serves."""
    platform.until(lambda: serving(platform))
    with serve_endpoint(cluster, cluster.namespace, NAME, PATIENT) as opened:
        yield opened


def ask(endpoint: Endpoint, body: bytes = b"") -> bytes:
    """One request on a connection of its own, as it is: a dropped connection raises httpx.TransportError."""
    with service.http_client(endpoint, timeout_s=120.0) as client:
        answer = client.request("POST" if body else "GET", "/whoami", content=body)
        assert answer.status_code == 200
        return answer.content


def ask_patiently(endpoint: Endpoint) -> str:
    """One request with the tries that `imagine` makes."""

    def attempt(left_s: float) -> str:
        with service.http_client(endpoint, timeout_s=left_s) as client:
            answer = service.exchange(client, "GET", "/whoami", timeout_s=left_s)
        assert answer.status == 200, answer
        return answer.body.decode()

    return retry(attempt, timeout_s=120.0)


def ask_until_other(endpoint: Endpoint, before: str) -> list[str]:
    """Ask again and again until another Ray answers; gives all answers."""
    answers = [before]
    while answers[-1] == before:
        answers.append(ask_patiently(endpoint))
    return answers


def test_bodies_pass_whole_or_fail(endpoint: Endpoint, platform: Platform) -> None:
    bodies = [random.Random(seed).randbytes(2_000_000) for seed in range(16)]
    with ThreadPoolExecutor(16) as pool:
        echoed = list(pool.map(lambda body: hashlib.sha256(ask(endpoint, body)).digest(), bodies))
    assert echoed == [hashlib.sha256(body).digest() for body in bodies]

    for fault in (Fault(cut_after=100_000, times=1), Fault(refuse=True, times=1)):
        platform.kubelet.fault = fault
        with pytest.raises(httpx.TransportError):
            ask(endpoint, bodies[0])
        assert ask(endpoint, b"whole again") == b"whole again"


def test_the_next_connection_goes_to_the_new_pod_and_to_the_new_cluster(
    endpoint: Endpoint, cluster: Cluster, platform: Platform
) -> None:
    first = ask_patiently(endpoint)
    for pod in platform.list("pods"):
        platform.kubelet.end(pod["metadata"]["name"])
        platform.delete("pods", pod["metadata"]["name"], grace_s=0)
    *_, second = ask_until_other(endpoint, first)
    assert second.split("/")[0] == first.split("/")[0]

    template = platform.get("rayservices", NAME)["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    template["spec"]["containers"][0]["image"] = "registry.test/sd:2"
    change = {"spec": {"rayClusterConfig": {"headGroupSpec": {"template": template}}}}
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_until_other, endpoint, second) for _ in range(4)]
        platform.patch("rayservices", NAME, change)
        for answers in (future.result() for future in asking):
            assert answers[-1].split("/")[0] not in (first.split("/")[0], "")
            assert set(answers[:-1]) == {second}


def test_the_cluster_in_preparation_is_reached_and_then_the_service(cluster: Cluster, platform: Platform) -> None:
    platform.scenario.never_running = True
    told: list[str] = []
    listen = Listen(notify=told.append, ready_s=120.0)
    with (
        serve_endpoint(cluster, cluster.namespace, NAME, listen) as serve,
        dashboard_endpoint(cluster, cluster.namespace, NAME, listen) as dashboard,
    ):
        with service.http_client(dashboard, timeout_s=120.0) as client:
            assert client.get("/api/version").json()["ray_version"]
        pending = platform.get("rayservices", NAME)["status"]["pendingServiceStatus"]["rayClusterName"]
        assert ask(serve).decode().startswith(f"{pending}/")
        platform.scenario.never_running = False
        platform.until(lambda: serving(platform))
        assert ask(serve).decode().startswith(f"{pending}/")
    assert "Waiting: No pod of RayService sd runs." in told


def test_refusals_stop_it_and_name_the_right(
    cluster: Cluster, control_plane: ControlPlane, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.until(lambda: serving(platform))
    namespace = cluster.namespace
    monkeypatch.setenv("SDCTL_TOKEN", "given")
    blind = cluster_of(control_plane, namespace, control_plane.user([READ, READ_CORE], namespace=namespace))
    with pytest.raises(NotAllowed, match="pods/portforward") as refused, serve_endpoint(blind, namespace, NAME):
        pass
    assert "`get` and `create`" in refused.value.hint

    rights = [READ, READ_CORE, PORTFORWARD]
    few = cluster_of(control_plane, namespace, control_plane.user(rights, namespace=namespace))
    with serve_endpoint(few, namespace, NAME, PATIENT) as endpoint:
        assert endpoint.headers["Authorization"] == "Bearer given"
        assert endpoint.via == "tunnel"
    monkeypatch.delenv("SDCTL_TOKEN")
    with pytest.raises(NotAllowed, match="secrets") as unread, serve_endpoint(few, namespace, NAME, PATIENT):
        pass
    assert "SDCTL_TOKEN" in unread.value.hint
    with pytest.raises(NotFound, match="nosuch"), serve_endpoint(cluster, namespace, "nosuch"):
        pass


def test_a_forward_ends_when_its_service_is_gone(cluster: Cluster, platform: Platform) -> None:
    platform.until(lambda: serving(platform))

    def ask_while_it_may_work(opened: Forward) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                ask(opened.endpoint)
            opened.check()

    with forward(cluster, cluster.namespace, NAME, "serve", PATIENT) as opened:
        platform.delete("rayservices", NAME)
        with pytest.raises(NotFound, match=f"rayservices.* {NAME}"):
            ask_while_it_may_work(opened)
