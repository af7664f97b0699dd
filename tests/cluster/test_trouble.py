"""An API server that is busy, fails, is away for a while, or forgets: what status, logs and clean-up make of it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from urllib3.exceptions import ProtocolError

from sdctl import cli
from sdctl.cluster.cleanup import cleanup
from sdctl.cluster.client import Cluster
from sdctl.cluster.refusals import Expired
from sdctl.cluster.resources import PODS, RAYSERVICES
from sdctl.cluster.snapshot import take
from sdctl.errors import Busy, SdctlError, Unreachable
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operating import NAME, cluster_of, rayservice

pytestmark = pytest.mark.cluster


class Answer:
    """An error of the API server, in the client's shape; with 200, an answer that breaks off."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers

    def read(self) -> bytes:
        if self.status == 200:
            raise ProtocolError("Connection broken: IncompleteRead(888 bytes read, 3109 more expected)")
        return b'{"kind": "Status", "message": "try again"}'


class Failing:
    """The client's transport; it answers the first requests itself and hands the others on."""

    def __init__(self, cluster: Cluster, status: int, times: int) -> None:
        self._real = cluster.api.rest_client.request
        self.status, self.left = status, times

    def request(self, *args: Any, **options: Any) -> Any:
        if self.left <= 0:
            return self._real(*args, **options)
        self.left -= 1
        return Answer(self.status, {"Retry-After": "0"})


def failing(cluster: Cluster, status: int, times: int) -> Cluster:
    """The same cluster, whose next answers are errors."""
    cluster.api.rest_client.request = Failing(cluster, status, times).request
    return replace(cluster, pause=lambda _: None)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_errors_are_waited_out(control_plane: ControlPlane, namespace: str, status: int) -> None:
    cluster = failing(cluster_of(control_plane, namespace), status, times=3)
    assert take(cluster).rayservice is None


@pytest.mark.parametrize(("status", "error"), [(429, Busy), (500, SdctlError), (503, Busy), (200, Unreachable)])
def test_lasting_errors_are_told(
    control_plane: ControlPlane, namespace: str, status: int, error: type[SdctlError]
) -> None:
    cluster = failing(cluster_of(control_plane, namespace), status, times=10**9)
    with pytest.raises(error) as raised:
        take(cluster)
    assert type(raised.value) is error


def test_an_api_server_that_dies_and_comes_back(
    control_plane: ControlPlane,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = ["--target", "kubernetes", "--namespace", namespace, "--kubeconfig", str(control_plane.kubeconfig())]
    cluster = cluster_of(control_plane, namespace)
    held = rayservice(namespace)
    held["metadata"]["finalizers"] = ["ray.io/rayservice-finalizer"]
    cluster.create(held)
    looks = iterate(cleanup(replace(cluster, pause=lambda _: None), namespace, NAME))
    assert [left.kind for left in looks()] == ["RayService"]
    control_plane.stop_apiserver()
    assert [left.kind for left in looks()] == ["RayService"]
    assert cli.run(["status", *place]) == 5
    assert "cannot be reached" in capsys.readouterr().err
    assert cli.run(["doctor", *place]) == 1
    assert "fail     API server" in capsys.readouterr().out

    control_plane.start_apiserver()
    assert cli.run(["status", *place]) == 3
    [left] = looks()
    assert "operator, which would remove it, is gone" in left.why
    cluster.patch(RAYSERVICES, NAME, {"metadata": {"finalizers": None}})
    assert any(not left for left in iter(looks, None))
    assert take(cluster).rayservice is None


def iterate(looks: Iterator[Any]) -> Callable[[], Any]:
    """The next of them, or None when there is none."""
    return lambda: next(looks, None)


def test_a_watch_from_a_forgotten_version_says_so(control_plane: ControlPlane, namespace: str) -> None:
    cluster = cluster_of(control_plane, namespace)
    with pytest.raises(Expired):
        list(cluster.watch(PODS, "1", timeout_s=5))
