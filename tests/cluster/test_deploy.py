"""`sdctl deploy` as a user runs it, against a real API server with stand-ins for what acts on it."""

import base64
from pathlib import Path
from typing import Any

import pytest

from sdctl import manifest
from sdctl.cluster.client import Cluster, connect
from sdctl.cluster.resources import CONFIGMAPS, PODS, RAYCLUSTERS, RAYSERVICES, SECRETS
from sdctl.cluster.rollout import Rollout
from sdctl.errors import SdctlError
from sdctl.targets.base import Selection
from tests.cluster.control_plane import ControlPlane, namespaces
from tests.cluster.deploying import CPU, NAME, Operator, operator
from tests.cluster.standins.platform import Platform

__all__ = ["operator"]
pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Cluster:
    return connect(Selection(name=NAME, namespace=namespace, kubeconfig=str(control_plane.kubeconfig())))


def worker_bounds(cluster: Cluster) -> list[tuple[int, int]]:
    return [
        (group["minReplicas"], group["maxReplicas"])
        for item in cluster.items(RAYCLUSTERS)
        for group in item["spec"]["workerGroupSpecs"]
    ]


def value_of(cluster: Cluster, secret: str) -> str:
    [encoded] = cluster.get(SECRETS, secret)["data"].values()
    return base64.b64decode(encoded).decode()


def test_from_nothing_to_an_image_then_changes(operator: Operator, platform: Platform, cluster: Cluster) -> None:
    first = operator.deploy("--json")
    assert first.code == 0, first.err
    assert first.document["state"] == "ready"
    assert "RayService stable-diffusion created" in first.document["details"]["changes"]
    for stage in ("accepted", "head pod", "worker pod", "Serve application", "replica", "image"):
        assert f"{stage}: done" in first.err
    token, key = value_of(cluster, f"{NAME}-dashboard-token"), value_of(cluster, f"{NAME}-api-keys")
    assert token not in first.out + first.err
    assert all(pod["metadata"]["labels"]["app.kubernetes.io/instance"] == NAME for pod in cluster.items(PODS))

    again = operator.deploy("--json")
    assert again.document["details"]["changes"] == ["nothing changed"]
    assert (value_of(cluster, f"{NAME}-dashboard-token"), value_of(cluster, f"{NAME}-api-keys")) == (token, key)
    assert operator.deploy("--diff").code == 0

    differs = operator.deploy("--replicas", "2:5", "--diff")
    assert differs.code == 1
    assert any(line.startswith("+") and "maxReplicas: 5" in line for line in differs.out.splitlines())
    [before] = cluster.items(RAYCLUSTERS)
    scaled = operator.deploy("--replicas", "2:5")
    assert scaled.code == 0, scaled.err
    [after] = cluster.items(RAYCLUSTERS)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert worker_bounds(cluster) == [(2, 5)]
    assert "max_replicas: 5" in cluster.get(RAYSERVICES, NAME)["spec"]["serveConfigV2"]

    swapped = operator.deploy("--replicas", "2:5", image="sd:2")
    assert swapped.code == 0, swapped.err
    assert "needs a new Ray cluster" in swapped.err
    status = cluster.get(RAYSERVICES, NAME)["status"]
    assert status["activeServiceStatus"]["rayClusterName"] != before["metadata"]["name"]


def test_conflicts_name_manager_and_field_and_are_taken_only_by_force(operator: Operator, cluster: Cluster) -> None:
    assert operator.deploy("--no-wait").code == 0
    theirs: dict[str, Any] = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": NAME, "namespace": cluster.namespace},
        "spec": {"rayClusterDeletionDelaySeconds": 999},
    }
    cluster.apply(theirs, force=True, query={"fieldManager": "argocd-controller"})
    refused = operator.deploy("--no-wait", "--json")
    assert refused.code == 1
    error = refused.document["error"]
    assert error["code"] == "conflict"
    assert "argocd-controller manages spec.rayClusterDeletionDelaySeconds" in error["message"]
    assert "--force-conflicts" in error["hint"]
    assert "change it there" in error["hint"]
    taken = operator.deploy("--no-wait", "--force-conflicts")
    assert taken.code == 0
    assert "took spec.rayClusterDeletionDelaySeconds from argocd-controller" in taken.out
    assert cluster.get(RAYSERVICES, NAME)["spec"]["rayClusterDeletionDelaySeconds"] == 151


def test_a_namespace_is_made_only_if_absent_and_then_marked(operator: Operator, control_plane: ControlPlane) -> None:
    assert operator.deploy("--no-wait").code == 0
    found = control_plane.request("GET", f"/api/v1/namespaces/{operator.namespace}")
    assert "app.kubernetes.io/managed-by" not in found["metadata"].get("labels", {})
    fresh = f"{operator.namespace}-new"
    try:
        made = operator.run("deploy", "-f", CPU, "--image", "sd:1", "--no-wait", namespace=fresh)
        assert f"namespace {fresh} created" in made.out
        labels = control_plane.request("GET", f"/api/v1/namespaces/{fresh}")["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "sdctl"
    finally:
        namespaces.remove(control_plane, fresh)


def test_code_travels_by_a_configmap_with_the_public_image(operator: Operator, cluster: Cluster) -> None:
    ran = operator.run("deploy", "--no-wait")
    assert ran.code == 0, ran.err
    assert "some 5 to 10 minutes more on each cold start" in ran.err
    [configmap] = [one for one in cluster.items(CONFIGMAPS) if one["metadata"]["name"].startswith(f"{NAME}-code-")]
    head = cluster.get(RAYSERVICES, NAME)["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    assert head["containers"][0]["image"].startswith("rayproject/ray:")
    assert any(one.get("configMap", {}).get("name") == configmap["metadata"]["name"] for one in head["volumes"])


def test_without_rights_and_without_sense_nothing_is_sent(operator: Operator, cluster: Cluster) -> None:
    forbidden = operator.run("deploy", "-f", CPU, "--image", "sd:1", "--json", user="nobody")
    assert forbidden.code == 7
    assert "You may not" in forbidden.document["error"]["message"]
    bad = operator.run(
        "deploy", "-f", "tests/manifests/systems/system1-karpenter.yaml", "--json", namespace="stablediffusion"
    )
    assert bad.code == 2
    assert bad.document["error"]["code"] == "invalid_manifest"
    assert cluster.items(RAYSERVICES) == []
    assert cluster.items(SECRETS, labels="app.kubernetes.io/managed-by=sdctl") == []


def test_dry_runs_send_nothing_and_show_no_secret(operator: Operator, cluster: Cluster) -> None:
    for how in ("client", "server"):
        shown = operator.deploy("--dry-run", how, "--json")
        assert shown.code == 0, shown.err
        kinds = [document["kind"] for document in shown.document["documents"]]
        assert kinds[-3:] == ["Secret", "Secret", "RayService"]
        secrets = [document for document in shown.document["documents"] if document["kind"] == "Secret"]
        values = [value for one in secrets for value in {**one.get("data", {}), **one.get("stringData", {})}.values()]
        assert values
        assert set(values) == {"*** masked ***"}
    assert cluster.items(RAYSERVICES) == []


def test_it_ends_early_with_the_cause_and_keeps_the_evidence(
    operator: Operator, platform: Platform, cluster: Cluster
) -> None:
    platform.scenario.deploy_failed = "ValueError: no such scheduler"
    assert operator.deploy("--no-wait").code == 0
    with pytest.raises(SdctlError, match="no such scheduler") as caught:
        for _ in Rollout(cluster, 240.0, certain_s=0.5).steps():
            pass
    assert caught.value.code == "deploy_failed"
    kept = caught.value.hint.rpartition(" ")[2].rstrip(".")
    assert "no such scheduler" in Path(kept).read_text()


def test_suspend_and_resume(operator: Operator, platform: Platform, cluster: Cluster) -> None:
    assert operator.deploy().code == 0
    assert operator.run("suspend", "--name", NAME).code == 0
    platform.until(lambda: not cluster.items(PODS))
    assert operator.run("status", "--name", NAME, "--json").document["state"] == "suspended"
    resumed = operator.run("resume", "--name", NAME)
    assert resumed.code == 0, resumed.err
    assert "ready" in resumed.out


def test_too_few_gpus_for_two_clusters_offer_recreate(operator: Operator, platform: Platform, cluster: Cluster) -> None:
    platform.add_node("gpu-a", gpus=1)
    gpu = str(manifest.packaged(manifest.GPU))
    assert operator.deploy(file=gpu).code == 0
    refused = operator.deploy("--json", file=gpu, image="sd:2")
    assert refused.code == 1
    assert refused.document["error"]["code"] == "too_few_gpus"
    assert "--recreate" in refused.document["error"]["hint"]
    before = cluster.get(RAYSERVICES, NAME)["metadata"]["uid"]
    again = operator.deploy("--recreate", file=gpu, image="sd:2")
    assert again.code == 0, again.err
    assert "Nobody is served until the new cluster is ready" in again.err
    after = cluster.get(RAYSERVICES, NAME)
    assert after["metadata"]["uid"] != before
    [active] = cluster.items(RAYCLUSTERS)
    assert active["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] == "sd:2"
