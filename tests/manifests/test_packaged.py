"""The manifests that ship: clean by our own checks, and as the platform needs them."""

from typing import Any

import pytest
import yaml

from sdctl import manifest
from sdctl.manifest import deployments, groups, head, ray_container
from sdctl.manifest.resources import bounds, of_group, of_replica
from sdctl.manifest_checks import check

BOTH = (manifest.GPU, manifest.CPU)


@pytest.mark.parametrize("name", BOTH)
def test_nothing_is_found_in_it(name: str) -> None:
    assert check(manifest.load(manifest.packaged(name)), kuberay=(1, 7)) == ()


@pytest.mark.parametrize("name", BOTH)
def test_kuberay_below_1_6_is_told(name: str) -> None:
    [finding] = check(manifest.load(manifest.packaged(name)), kuberay=(1, 5))
    assert finding.level == "fail"
    assert "authOptions.secretName" in finding.what


@pytest.mark.parametrize("name", BOTH)
def test_workers_and_replicas_have_the_same_bounds(name: str) -> None:
    loaded = manifest.load(manifest.packaged(name))
    [group] = groups(loaded.rayservice)
    generator = deployments(loaded.serve_config["applications"][0])[1]
    assert bounds(generator) == (group["minReplicas"], group["maxReplicas"])
    need, have = of_replica(generator), of_group(group)
    assert (need.gpus or need.cpus) == (have.gpus or have.cpus)  # one replica fills one worker


@pytest.mark.parametrize("name", BOTH)
def test_pods_meet_pod_security_restricted(name: str) -> None:
    rayservice = manifest.load(manifest.packaged(name)).rayservice
    containers = [rayservice["spec"]["rayClusterConfig"]["autoscalerOptions"]]
    for group in (head(rayservice), *groups(rayservice)):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        containers += pod["containers"]
    for container in containers:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]
        assert context["seccompProfile"]["type"] == "RuntimeDefault"


@pytest.mark.parametrize("name", BOTH)
def test_pods_are_protected_and_sized(name: str) -> None:
    rayservice = manifest.load(manifest.packaged(name)).rayservice
    for group in (head(rayservice), *groups(rayservice)):
        template = group["template"]
        assert template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        resources = ray_container(group)["resources"]
        assert resources["requests"] == resources["limits"]
        assert {"cpu", "memory"} <= set(resources["limits"])


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifest.packaged(name).read_text()))


def test_gpu_nodes_are_limited_and_only_empty_ones_go() -> None:
    pool, _ = documents("karpenter.yaml")
    assert pool["spec"]["limits"]["nvidia.com/gpu"]
    assert pool["spec"]["disruption"]["consolidationPolicy"] == "WhenEmpty"
    [group] = groups(manifest.load(manifest.packaged(manifest.GPU)).rayservice)
    tolerated = {one["key"] for one in group["template"]["spec"]["tolerations"]}
    assert {taint["key"] for taint in pool["spec"]["template"]["spec"]["taints"]} <= tolerated


def test_network_policy_lets_names_the_operator_and_the_pods_themselves_through() -> None:
    [policy] = documents("networkpolicy.yaml")
    pods = policy["spec"]["podSelector"]
    assert {"podSelector": pods} in policy["spec"]["ingress"][0]["from"]
    assert [port["port"] for port in policy["spec"]["ingress"][1]["ports"]] == [8265, 8000]
    assert any(port["port"] == 53 for rule in policy["spec"]["egress"] for port in rule.get("ports", []))
    for group in (head(manifest.load(manifest.packaged(manifest.GPU)).rayservice),):
        assert pods["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()
