"""Clean-up on a real API server: only what is ours, nodes too, with proof; a hang is explained."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from sdctl import cli
from sdctl.cluster.cleanup import cleanup
from sdctl.cluster.resources import CONFIGMAPS, FIELD_MANAGER, MANAGED_BY, NAMESPACES, NODES, labels
from sdctl.errors import InvalidRequest, NotFound
from sdctl.targets.base import Leftover
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operating import NAME, cluster_of, node_class, node_pool, rayservice, serving
from tests.cluster.standins.platform import Platform

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def _state(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def configmap(name: str, marks: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": marks}, "data": {"a": "b"}}


def run(control_plane: ControlPlane, namespace: str, *argv: str) -> int:
    place = ["--namespace", namespace, "--name", NAME, "--kubeconfig", str(control_plane.kubeconfig())]
    return cli.run(["cleanup", "--yes", "--target", "kubernetes", *place, *argv])


def test_ours_goes_with_its_nodes_and_theirs_stays(
    platform: Platform, control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace, admin = platform.namespace, cluster_of(control_plane, platform.namespace)
    admin.patch(NAMESPACES, namespace, {"metadata": {"labels": {MANAGED_BY: FIELD_MANAGER}}})
    platform.create(node_class())
    platform.create(node_pool())
    platform.create(configmap("ours", labels(NAME)))
    platform.create(configmap("theirs", {}))
    platform.create(rayservice(namespace, gpus=1))
    platform.until(lambda: serving(platform))
    platform.until(lambda: len(admin.items(NODES)) == 2)

    assert run(control_plane, namespace, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    removed = {each["kind"] for each in document["removed"]}
    assert {"RayService", "RayCluster", "Pod", "ConfigMap", "Node"} <= removed
    stays = {each["kind"]: each["why"] for each in document["stays"]}
    assert "fixed size" in stays["Node"]
    assert "configmaps/theirs" in stays["Namespace"]
    assert [node["metadata"]["name"] for node in admin.items(NODES)] == ["node-cpu"]
    assert not platform.list("pods")
    assert {item["metadata"]["name"] for item in admin.items(CONFIGMAPS)} - {"kube-root-ca.crt"} == {"theirs"}

    platform.delete("configmaps", "theirs")
    assert run(control_plane, namespace, "--keep-namespace") == 0
    assert "There is nothing of sdctl" in capsys.readouterr().out
    assert run(control_plane, namespace) == 0
    with pytest.raises(NotFound):
        admin.get(NAMESPACES, namespace)


def test_what_sdctl_did_not_make_is_refused(control_plane: ControlPlane, namespace: str) -> None:
    admin = cluster_of(control_plane, namespace)
    admin.create(rayservice(namespace, ours=False))
    with pytest.raises(InvalidRequest, match="was not made by sdctl"):
        list(cleanup(admin, namespace, NAME))
    assert admin.find(NAMESPACES, namespace)


def test_a_hang_is_explained_and_goes_on_when_the_operator_is_back(
    platform: Platform, control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.create(rayservice(platform.namespace))
    platform.until(lambda: serving(platform))
    platform.stop_operator()
    assert run(control_plane, platform.namespace, "--timeout", "0.001s") == 4
    assert "RayService sd" in capsys.readouterr().err

    looks = cleanup(quick(control_plane, platform.namespace), platform.namespace, NAME)
    platform.until(lambda: any("is gone" in left.why for left in next(looks)), "nobody says that the operator is gone")
    platform.start_operator()
    assert until_done(looks)
    assert not platform.list("rayclusters")


def test_a_pod_that_holds_a_node_makes_it_theirs(platform: Platform, control_plane: ControlPlane) -> None:
    platform.create(node_class())
    platform.create(node_pool())
    platform.create(rayservice(platform.namespace, gpus=1))
    platform.until(lambda: serving(platform))
    [node] = platform.until(
        lambda: {pod["spec"]["nodeName"] for pod in platform.list("pods", "ray.io/node-type=worker")}
    )
    platform.create(guest(node))
    platform.until(lambda: platform.get("pods", "guest")["status"]["phase"] == "Running")
    last = until_done(cleanup(quick(control_plane, platform.namespace), platform.namespace, NAME))
    theirs = {left.name: left.why for left in last if left.kind == "Node"}
    assert "1 pods of others" in theirs[node]
    assert platform.get("nodes", node)


def guest(node: str) -> dict[str, Any]:
    """A pod of somebody else on this node."""
    container = {"name": "guest", "image": "guest"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "guest", "ownerReferences": []},
        "spec": {"nodeName": node, "containers": [container]},
    }


def quick(control_plane: ControlPlane, namespace: str) -> Any:
    cluster = cluster_of(control_plane, namespace)
    return replace(cluster, pause=lambda _: cluster.pause(0.2))


def until_done(looks: Iterator[tuple[Leftover, ...]]) -> tuple[Leftover, ...]:
    """What the last look gave."""
    last: tuple[Leftover, ...] = ()
    with suppress(StopIteration):
        while True:
            last = next(looks)
    assert all(left.stays for left in last)
    return last
