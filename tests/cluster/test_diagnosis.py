"""Causes as they look on a real API server, with stand-ins that fail as asked."""

import pytest

from sdctl.cluster.diagnosis import Cause
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operating import NAME, cause_of, cluster_of, node_class, node_pool, rayservice, serving
from tests.cluster.standins.platform import Platform

pytestmark = pytest.mark.cluster


def until_cause(platform: Platform, control_plane: ControlPlane, code: str, words: str) -> Cause:
    """Wait until sdctl names this cause in these words."""
    ask = cause_of(cluster_of(control_plane, platform.namespace))

    def named() -> Cause | None:
        cause = ask()
        return cause if cause and cause.code == code and words in cause.reason else None

    found = platform.until(named, f"never diagnosed as {code}: {words}")
    assert found is not None
    return found


def test_one_fault_after_another_is_named(platform: Platform, control_plane: ControlPlane) -> None:
    scenario, namespace = platform.scenario, platform.namespace
    scenario.pod_creation_refused = 'pods "x" is forbidden: violates PodSecurity "restricted": runAsNonRoot != true'
    platform.create(rayservice(namespace, secret="sd-key"))
    assert until_cause(platform, control_plane, "pod_security", "runAsNonRoot").fatal

    scenario.pod_creation_refused = ""
    until_cause(platform, control_plane, "object_missing", "Secret sd-key")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sd-key"}, "stringData": {"key": "x"}}
    platform.create(secret)

    scenario.deploy_failed = "ValueError: no such scheduler"
    assert until_cause(platform, control_plane, "deploy_failed", "no such scheduler").fatal
    scenario.deploy_failed = ""
    platform.until(lambda: serving(platform))
    assert platform.until(lambda: cause_of(cluster_of(control_plane, namespace))() is None)


def test_pods_that_end_and_are_replaced(platform: Platform, control_plane: ControlPlane) -> None:
    platform.scenario.pod_group = "workers"
    platform.scenario.exit_code = 137
    platform.scenario.exit_reason = "OOMKilled"
    platform.create(rayservice(platform.namespace))
    until_cause(platform, control_plane, "out_of_memory", "more memory than its limit")
    platform.scenario.exit_reason, platform.scenario.exit_code = "Error", 3
    platform.scenario.exit_log = ("starting", "ray: command not found")
    assert "debug-bundle" in until_cause(platform, control_plane, "container_exits", "exit code 3").hint


def test_an_image_that_is_not_there(platform: Platform, control_plane: ControlPlane) -> None:
    platform.scenario.image_pull_error = 'failed to resolve "registry.test/sd:1": not found'
    platform.create(rayservice(platform.namespace))
    assert "--image" in until_cause(platform, control_plane, "image_pull", "registry.test/sd:1").hint


def test_a_gpu_from_nothing_to_a_node(platform: Platform, control_plane: ControlPlane) -> None:
    platform.create(rayservice(platform.namespace, gpus=1))
    until_cause(platform, control_plane, "no_gpu_node", "no Karpenter NodePool")
    platform.create(node_pool())
    assert until_cause(platform, control_plane, "nodepool_not_ready", "not found").fatal
    platform.scenario.launch_error = "VcpuLimitExceeded: You have requested more vCPU capacity than your limit of 0"
    platform.create(node_class())
    assert "quota" in until_cause(platform, control_plane, "account_quota", "VcpuLimitExceeded").hint
    platform.scenario.launch_error, platform.scenario.never_registers = "", True
    until_cause(platform, control_plane, "node_starting", "of pool gpu")


def test_operator_gone_while_it_has_work(platform: Platform, control_plane: ControlPlane) -> None:
    platform.stop_operator()
    platform.create(rayservice(platform.namespace))
    until_cause(platform, control_plane, "operator_gone", NAME)


def test_a_service_that_kuberay_gave_up(platform: Platform, control_plane: ControlPlane) -> None:
    platform.scenario.initializing_timeout = True
    platform.create(rayservice(platform.namespace))
    assert "cleanup" in until_cause(platform, control_plane, "initializing_timeout", "gave up").hint
