"""Every manifest is taken by a real API server with the real definitions."""

import pytest
import yaml

from sdctl import manifest
from sdctl.cluster.apply import asked_server
from sdctl.cluster.client import Cluster, connect
from sdctl.cluster.deploy_plan import plan
from sdctl.cluster.resources import resource_of
from sdctl.targets.base import ApplyOptions, DeploySpec, Selection
from tests.cluster.control_plane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Cluster:
    return connect(Selection(namespace=namespace, kubeconfig=str(control_plane.kubeconfig())))


@pytest.mark.parametrize(
    "name", ["rayservice.yaml", "rayservice.cpu.yaml", "karpenter.yaml", "networkpolicy.yaml", "rbac.yaml"]
)
def test_packaged_manifests_pass_a_server_side_dry_run(cluster: Cluster, name: str) -> None:
    for document in yaml.safe_load_all(manifest.packaged(name).read_text()):
        if resource_of(document).namespaced:
            document["metadata"]["namespace"] = cluster.namespace
        answer = cluster.apply(document, query={"dryRun": "All"})
        assert answer["metadata"]["name"] == document["metadata"]["name"]


def test_the_rendered_public_image_variant_and_the_load_balancer_pass(cluster: Cluster) -> None:
    options = ApplyOptions(dashboard_ingress=True, inbound_cidrs=("203.0.113.0/24",))
    planned = plan(DeploySpec(apply=options), Selection(namespace=cluster.namespace))
    taken = asked_server(cluster, planned)
    assert [document["kind"] for document in taken] == ["Secret", "Secret", "ConfigMap", "Ingress", "RayService"]
    kept = taken[-1]["spec"]["rayClusterConfig"]
    sent = planned.rayservice["spec"]["rayClusterConfig"]
    # Nothing that we wrote was dropped as unknown.
    assert covers(sent, kept)


def covers(sent: object, kept: object) -> bool:
    if isinstance(sent, dict) and isinstance(kept, dict):
        return all(key in kept and covers(value, kept[key]) for key, value in sent.items())
    if isinstance(sent, list) and isinstance(kept, list):
        return len(sent) == len(kept) and all(map(covers, sent, kept))
    return str(sent) == str(kept)


def test_secrets_stay_masked_in_what_the_server_answers(cluster: Cluster) -> None:
    planned = plan(DeploySpec(), Selection(namespace=cluster.namespace))
    cluster.create(planned.secrets[0])
    value = next(iter(planned.secrets[0]["stringData"].values()))
    assert value not in str(asked_server(cluster, planned))
