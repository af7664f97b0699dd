"""What a user sees who may do little: doctor works without any right, and each refusal names verb and resource."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sdctl import cli
from sdctl.cluster.doctor import doctor
from sdctl.cluster.doctor_rights import PURPOSES, Right, allowed
from sdctl.cluster.resources import PODS, RAYSERVICES
from sdctl.cluster.snapshot import take
from sdctl.manifest import packaged
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operating import NAME, cluster_of, rayservice

pytestmark = pytest.mark.cluster

READ_SERVICES = {"apiGroups": ["ray.io"], "resources": ["rayservices", "rayclusters"], "verbs": ["get", "list"]}
READ_PODS = {"apiGroups": [""], "resources": ["pods", "events", "services"], "verbs": ["get", "list"]}


@pytest.fixture
def service(control_plane: ControlPlane, namespace: str) -> str:
    """The namespace of a RayService that nobody works on."""
    cluster_of(control_plane, namespace).create(rayservice(namespace))
    return namespace


def run(control_plane: ControlPlane, user: str, namespace: str, *argv: str) -> int:
    """One command line as this user."""
    place = ["--namespace", namespace, "--name", NAME, "--kubeconfig", str(control_plane.kubeconfig(user))]
    return cli.run([*argv, "--target", "kubernetes", *place])


def test_doctor_works_with_no_rights_at_all(
    control_plane: ControlPlane, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(control_plane, "nobody", service, "doctor", "--json") == 1
    document: Any = json.loads(capsys.readouterr().out)
    levels = {each["what"]: each["level"] for each in document["findings"]}
    assert levels["API server"] == "ok"
    assert levels["KubeRay's CRDs"] == "ok"
    assert levels["KubeRay's operator"] == "unknown"
    assert levels["GPUs"] == "unknown"
    assert levels["You may deploy"] == "fail"
    details = "\n".join(each["detail"] for each in document["findings"])
    assert "get pods/portforward, create pods/portforward" in details


def test_admin_is_told_what_is_there(control_plane: ControlPlane, service: str) -> None:
    findings = {finding.what: finding for finding in doctor(cluster_of(control_plane, service), service, NAME)}
    assert all(finding.level == "ok" for what, finding in findings.items() if what.startswith("You may"))
    assert findings["KubeRay's operator"].level == "fail"
    assert findings["Karpenter"].detail == "karpenter.sh/v1"
    assert findings["Secrets"].level == "ok"


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (["status"], "get rayservices.ray.io"),
        (["logs"], "list pods"),
        (["cleanup", "--yes"], "get rayservices.ray.io"),
    ],
)
def test_a_user_without_rights_is_told_the_verb(
    control_plane: ControlPlane,
    service: str,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    refused: str,
) -> None:
    assert run(control_plane, "nobody", service, *command) == 7
    assert refused in capsys.readouterr().err


def test_a_reader_sees_and_may_not_delete(
    control_plane: ControlPlane, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    user = control_plane.user([READ_SERVICES, READ_PODS], namespace=service)
    assert run(control_plane, user, service, "status", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "starting"
    assert "list nodes" in said["details"]["forbidden"]
    assert run(control_plane, user, service, "cleanup", "--yes") == 7
    assert "delete rayservices.ray.io" in capsys.readouterr().err
    assert take(cluster_of(control_plane, service)).rayservice


@pytest.mark.parametrize("verbs", [["get"], ["create"]])
def test_port_forward_needs_both_verbs(control_plane: ControlPlane, namespace: str, verbs: list[str]) -> None:
    rule = {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": verbs}
    user = control_plane.user([rule], namespace=namespace)
    cluster = cluster_of(control_plane, namespace, user)
    answers = {verb: allowed(cluster, namespace, NAME, Right(verb, PODS, "portforward")) for verb in ("get", "create")}
    assert answers == {verb: [verb] == verbs for verb in ("get", "create")}
    assert allowed(cluster, namespace, NAME, Right("get", RAYSERVICES)) is False


def test_unknown_credentials_are_no_traceback(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(control_plane.kubeconfig("nobody").read_text())
    document["users"][0]["user"]["token"] = "expired"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document))
    place = ["--target", "kubernetes", "--namespace", namespace, "--kubeconfig", str(path)]
    assert cli.run(["status", *place]) == 7
    assert "does not accept these credentials" in capsys.readouterr().err
    assert cli.run(["doctor", *place]) == 1


def test_the_roles_that_ship_give_every_right_that_sdctl_uses(control_plane: ControlPlane, namespace: str) -> None:
    documents = list(yaml.safe_load_all(packaged("rbac.yaml").read_text(encoding="utf-8")))
    rules = [rule for item in documents if item["kind"] in ("Role", "ClusterRole") for rule in item["rules"]]
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    for purpose in PURPOSES:
        for right in purpose.rights:
            resource = right.resource.plural + (f"/{right.subresource}" if right.subresource else "")
            assert (right.resource.group, resource, right.verb) in granted, right
