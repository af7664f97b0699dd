"""A snapshot read as a state, with its reason, its nodes and its drift."""

from dataclasses import replace
from typing import Any

import pytest

from sdctl.cluster.snapshot import Snapshot
from sdctl.cluster.status import explain
from sdctl.errors import NotAllowed
from sdctl.ray_api import Application, Deployment, Replica, ServeState
from sdctl.targets.base import ServiceStatus
from tests.sdctl.diagnosis.builders import (
    NOW,
    ago,
    cluster_spec,
    coming,
    condition,
    nodeclaim,
    pod,
    raycluster,
    rayservice,
    snapshot,
    starting,
    unscheduled,
    waiting,
)

GENERATOR = Deployment("Generator", "HEALTHY", "", 3, (Replica("a", "RUNNING"), Replica("b", "STARTING")))
INGRESS = Deployment("Ingress", "HEALTHY", "", 9, (Replica("c", "RUNNING"),))
SERVE = ServeState(
    {"app": Application("app", "RUNNING", "", {"name": "app", "args": {"model": "a"}}, (INGRESS, GENERATOR))}
)


def status(seen: Snapshot, serve: ServeState | None = None) -> ServiceStatus:
    return explain(seen, NOW, lambda: serve)


def upgrading() -> dict[str, Any]:
    service = rayservice(status={"conditions": [condition("Ready"), condition("UpgradeInProgress")]})
    service["status"]["pendingServiceStatus"] = {"rayClusterName": "sd-new00", "applicationStatuses": {}}
    return service


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (snapshot(), "ready", ""),
        (Snapshot("images", "sd"), "absent", "There is no RayService sd in namespace images."),
        (snapshot(rayservice=None), "deleting", "3 RayClusters and pods are still ending"),
        (snapshot(rayservice=rayservice(deletionTimestamp=ago(9))), "deleting", ""),
        (snapshot(rayservice=upgrading()), "updating", "RayCluster sd-new00 has no pods yet"),
        (snapshot(rayservice=rayservice(generation=2)), "updating", "Pods run; Serve: app RUNNING"),
        (coming(rayclusters=(), pods=()), "starting", "KubeRay has accepted the service"),
        (coming(pod("head", ready=False, phase="Pending"), rayservice=starting("", "")), "starting", "Head pod"),
        (coming(pod(ready=False, containers=[waiting("InvalidImageName")])), "failing", "no such image"),
        (snapshot(pods=(pod("head"), pod(ready=False))), "ready", ""),
    ],
)
def test_state(seen: Snapshot, state: str, reason: str) -> None:
    said = status(seen)
    assert said.state == state
    assert reason in said.reason
    assert bool(said.reason) == (state not in ("ready", "deleting") or bool(reason))


def test_suspended_costs_nothing() -> None:
    service = rayservice()
    service["spec"]["suspend"] = True
    said = status(snapshot(rayservice=service, pods=(), rayclusters=()))
    assert (said.state, said.hint) == ("suspended", "sdctl resume")


def test_a_user_who_may_not_read_the_service_is_told_the_verb() -> None:
    with pytest.raises(NotAllowed, match="get rayservices"):
        status(Snapshot("images", "sd", forbidden=frozenset({"get rayservices.ray.io"})))


def test_replicas_are_those_of_the_generator_and_addresses_are_those_of_the_services() -> None:
    said = status(snapshot(), SERVE)
    assert (said.replicas_running, said.replicas_target) == (1, 3)
    assert said.endpoint_url == "http://sd-serve-svc.images.svc:8000"
    assert said.dashboard_url == "http://sd-head-svc.images.svc:8265"
    assert status(coming(), SERVE).endpoint_url == ""


def test_without_a_ready_head_nobody_asks_ray() -> None:
    def ask() -> ServeState:
        raise AssertionError("no head can answer")

    assert explain(coming(pod("head", ready=False)), NOW, ask).replicas_running is None


def test_nodes_are_those_under_the_pods_and_those_on_their_way() -> None:
    here, launching = status(
        coming(unscheduled("2 Insufficient nvidia.com/gpu"), nodeclaims=(nodeclaim(condition("Launched")),))
    ).nodes
    assert (here.name, here.kind, here.gpus, here.detail) == ("node-1", "g6.xlarge", 1.0, "spot gpu")
    assert (launching.name, launching.state) == ("gpu-8hq2z", "launching")


def test_idle_workers_are_a_note_and_no_reason() -> None:
    said = status(snapshot(pods=(pod("head"), pod(ready=False))))
    assert said.reason == ""
    assert "by design" in said.details["notes"][0]


def test_drift_is_what_kuberay_does_not_carry_over() -> None:
    old = raycluster(spec=cluster_spec(image="sdctl:0", most=2))
    said = status(snapshot(rayclusters=(old,)), replace(SERVE, running=True))
    assert said.state == "ready"
    assert "the manifest says 1:4 workers, the running cluster has 1:2" in "\n".join(said.details["drift"])
    assert "image is sdctl:1 in the manifest, sdctl:0 in the running cluster" in "\n".join(said.details["drift"])
    assert "not as the manifest says" in said.reason


def test_drift_of_the_serve_config_and_none_where_serve_only_filled_in_defaults() -> None:
    def drift_with(config: dict[str, Any]) -> Any:
        application = Application("app", "RUNNING", "", config)
        return status(snapshot(), ServeState({"app": application}, running=True)).details.get("drift")

    assert drift_with({"name": "app", "args": {"model": "a", "auth": "keys"}, "route_prefix": "/"}) is None
    assert drift_with({"name": "app", "args": {"model": "b"}}) == [
        "application app: Serve runs an older config than the manifest has"
    ]


def test_the_document_has_what_scripts_read() -> None:
    document = status(snapshot(), SERVE).to_json()
    assert document["target"] == "kubernetes"
    assert {"state", "reason", "endpoint", "dashboard", "replicas", "nodes"} <= set(document)
    assert [each["role"] for each in document["details"]["pods"]] == ["head", "worker"]
