"""The stand-ins' main stories: a RayService comes up, changes its cluster, goes; nodes come and go with its pods."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from typing import Any

import kubernetes.client
import kubernetes.config
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward

from tests.cluster.control_plane import ControlPlane
from tests.cluster.standins.conditions import get_condition
from tests.cluster.standins.kubelet import Fault
from tests.cluster.standins.platform import Platform

pytestmark = pytest.mark.cluster

SERVE = {
    "proxy_location": "EveryNode",
    "applications": [
        {"name": "pictures", "route_prefix": "/", "import_path": "a.b:c", "deployments": [{"name": "Generator"}]}
    ],
}
PICTURE = "/imagine?prompt=a+star&seed=7&width=512&height=512"
POOL = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": "gpu"},
    "spec": {
        "limits": {"nvidia.com/gpu": 1},
        "template": {
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "gpu"},
                "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}],
                "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}],
            }
        },
    },
}
CLASS = {
    "apiVersion": "karpenter.k8s.aws/v1",
    "kind": "EC2NodeClass",
    "metadata": {"name": "gpu"},
    "spec": {
        "role": "node",
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "subnetSelectorTerms": [{"tags": {"own": "yes"}}],
        "securityGroupSelectorTerms": [{"tags": {"own": "yes"}}],
    },
}


def template(image: str, gpus: int = 0) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "ray", "image": image, "env": [{"name": "EMPTY", "value": ""}]}
    container["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {"spec": {"containers": [container], "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}}


def rayservice(image: str = "ray:1", *, gpus: int = 0) -> dict[str, Any]:
    group = {"groupName": "workers", "replicas": 1, "minReplicas": 1, "maxReplicas": 2, "rayStartParams": {}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "sd"},
        "spec": {
            "serveConfigV2": yaml.safe_dump(SERVE),
            "rayClusterDeletionDelaySeconds": 0,
            "rayClusterConfig": {
                "rayVersion": "2.60.0",
                "headGroupSpec": {"rayStartParams": {}, "template": template(image)},
                "workerGroupSpecs": [group | {"template": template(image, gpus)}],
            },
        },
    }


def status(platform: Platform) -> dict[str, Any]:
    return dict(platform.get("rayservices", "sd")["status"])


def ready(platform: Platform) -> bool:
    return bool(get_condition(status(platform), "Ready").get("status") == "True")


def active(platform: Platform) -> str:
    return str(status(platform)["activeServiceStatus"].get("rayClusterName", ""))


def test_a_rayservice_comes_up_changes_its_cluster_and_goes(platform: Platform) -> None:
    platform.scenario.never_running = True
    platform.create(rayservice())
    pending = platform.until(
        lambda: status(platform)["pendingServiceStatus"]["applicationStatuses"] and status(platform)
    )
    first = pending["pendingServiceStatus"]["rayClusterName"]
    assert pending["pendingServiceStatus"]["applicationStatuses"]["pictures"]["status"] == "DEPLOYING"
    assert {item["metadata"]["name"] for item in platform.list("services")} == {f"{first}-head-svc"}
    platform.scenario.never_running = False
    platform.until(lambda: ready(platform))
    assert active(platform) == first
    assert {"sd-head-svc", "sd-serve-svc"} <= {item["metadata"]["name"] for item in platform.list("services")}
    platform.until(lambda: len([pod for pod in platform.list("pods") if pod["status"]["phase"] == "Running"]) == 2)

    platform.patch("rayservices", "sd", {"spec": {"rayClusterConfig": rayservice("ray:2")["spec"]["rayClusterConfig"]}})
    platform.until(lambda: active(platform) not in ("", first) and ready(platform))
    platform.until(lambda: [item["metadata"]["name"] for item in platform.list("rayclusters")] == [active(platform)])
    platform.until(
        lambda: {pod["metadata"]["labels"]["ray.io/cluster"] for pod in platform.list("pods")} == {active(platform)}
    )
    [serve] = [item for item in platform.list("services") if item["metadata"]["name"] == "sd-serve-svc"]
    assert serve["spec"]["selector"]["ray.io/cluster"] == active(platform)

    platform.delete("rayservices", "sd")
    platform.until(lambda: not any(platform.list(kind) for kind in ("rayservices", "rayclusters", "pods", "services")))


def test_a_change_of_replicas_alone_changes_nothing_and_settles(platform: Platform) -> None:
    platform.create(rayservice())
    platform.until(lambda: ready(platform))
    first, wider = active(platform), rayservice()["spec"]["rayClusterConfig"]
    wider["workerGroupSpecs"][0] |= {"replicas": 2, "minReplicas": 2}
    generation = platform.patch("rayservices", "sd", {"spec": {"rayClusterConfig": wider}})["metadata"]["generation"]
    platform.until(lambda: status(platform)["observedGeneration"] == generation)
    assert active(platform) == first
    assert [item["metadata"]["name"] for item in platform.list("rayclusters")] == [first]
    platform.until(lambda: settled(platform), "the operator writes one status after another")


def settled(platform: Platform) -> bool:
    """Whether nothing is written while the garbage collector has its next object to delete."""
    before = platform.get("rayservices", "sd")["metadata"]["resourceVersion"]
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "gone", "uid": "0-0"}
    platform.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orphan", "ownerReferences": [owner]}}
    )
    platform.until(lambda: not platform.get("configmaps", "orphan"))
    return bool(before == platform.get("rayservices", "sd")["metadata"]["resourceVersion"])


def waiting(platform: Platform) -> set[str]:
    """The reasons for which containers wait or ended."""
    found = set()
    for pod in platform.list("pods"):
        for item in pod["status"].get("containerStatuses", []):
            found |= {detail.get("reason", "") for detail in item["state"].values()}
    return found


def reasons(platform: Platform) -> set[str]:
    return {event["reason"] for event in platform.list("events")}


def test_each_failure_shows_and_heals(platform: Platform) -> None:
    scenario = platform.scenario
    scenario.validation_failed = "headGroupSpec should have at least one container"
    platform.create(rayservice())
    platform.until(lambda: get_condition(status(platform), "Ready")["reason"] == "ValidationFailed")
    assert "observedGeneration" not in status(platform)

    scenario.pod_creation_refused, scenario.validation_failed = 'pods "x" is forbidden: exceeded quota', ""
    platform.until(lambda: "FailedToCreateHeadPod" in reasons(platform))
    [event] = [item for item in platform.list("events") if item["reason"] == "FailedToCreateHeadPod"]
    assert "exceeded quota" in event["message"]
    assert event["lastTimestamp"] is None

    scenario.image_pull_error, scenario.pod_creation_refused = "manifest unknown", ""
    platform.until(lambda: "ImagePullBackOff" in waiting(platform))

    scenario.exit_code, scenario.exit_log, scenario.image_pull_error = 1, ("Traceback: no",), ""
    first = platform.until(lambda: {pod["metadata"]["uid"] for pod in platform.list("pods", "ray.io/node-type=head")})
    platform.until(
        lambda: not first & {pod["metadata"]["uid"] for pod in platform.list("pods", "ray.io/node-type=head")}
    )
    platform.until(lambda: "DeletedHeadPod" in reasons(platform))

    scenario.exit_code, scenario.deploy_failed = None, "ImportError: no module named b"
    failed = platform.until(
        lambda: applications(platform)["pictures"]["status"] == "DEPLOY_FAILED" and applications(platform)
    )
    assert failed["pictures"]["message"] == "ImportError: no module named b"

    scenario.deploy_failed = ""
    platform.until(lambda: ready(platform))
    scenario.pod_group, scenario.exit_code, scenario.exit_reason = "workers", 137, "OOMKilled"
    platform.until(lambda: "DeletedWorkerPod" in reasons(platform))
    assert ready(platform), "Ready is weak: the head still serves"


def applications(platform: Platform) -> dict[str, Any]:
    return dict(status(platform)["pendingServiceStatus"]["applicationStatuses"])


def test_a_missing_secret_and_a_time_out_that_never_heals(platform: Platform) -> None:
    service = rayservice()
    service["spec"]["rayClusterConfig"]["authOptions"] = {"mode": "token", "secretName": "dashboard-token"}
    platform.create(service)
    platform.until(lambda: "CreateContainerConfigError" in waiting(platform))
    platform.scenario.initializing_timeout = True
    platform.until(lambda: get_condition(status(platform), "Ready")["reason"] == "InitializingTimeout")
    platform.scenario.initializing_timeout = False
    platform.until(lambda: not platform.list("rayclusters") and not platform.list("pods"))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "dashboard-token"},
        "stringData": {"auth_token": "t"},
    }
    platform.create(secret)
    platform.until(lambda: settled(platform))
    assert get_condition(status(platform), "Ready")["reason"] == "InitializingTimeout"
    platform.delete("rayservices", "sd")
    platform.until(lambda: not platform.list("rayservices"))
    platform.create(service)
    platform.until(lambda: ready(platform))


def test_without_its_operator_a_rayservice_stays_and_its_namespace_too(platform: Platform) -> None:
    platform.create(rayservice())
    platform.until(lambda: ready(platform))
    platform.stop_operator()
    assert platform.get("deployments", "kuberay-operator", "kuberay-system")["status"].get("availableReplicas", 0) == 0
    platform.delete("namespaces", platform.namespace)
    platform.until(lambda: not platform.list("services"), "the namespace is emptied")
    assert platform.get("rayservices", "sd")["metadata"]["finalizers"] == ["ray.io/rayservice-finalizer"]
    platform.start_operator()
    platform.until(lambda: not platform.get("namespaces", platform.namespace))


def test_nodes_come_for_gpus_within_the_limits_and_go(platform: Platform) -> None:
    platform.create(POOL)
    platform.create(rayservice(gpus=1))
    problem = "NodeClassNotReady"
    platform.until(lambda: get_condition(platform.get("nodepools", "gpu")["status"], "Ready")["reason"] == problem)
    platform.scenario.gpu_never_registers = True
    platform.create(CLASS)
    [claim] = platform.until(lambda: platform.list("nodeclaims"))
    name = claim["metadata"]["name"]
    missing = "ResourceNotRegistered"
    platform.until(
        lambda: get_condition(platform.get("nodeclaims", name)["status"], "Initialized")["reason"] == missing
    )
    platform.scenario.gpu_never_registers = False
    platform.until(lambda: ready(platform))
    [node] = [node for node in platform.list("nodes") if node["metadata"]["name"] == name]
    assert node["metadata"]["labels"]["karpenter.sh/capacity-type"] == "spot"
    cluster = active(platform)
    config = platform.get("rayclusters", cluster)["spec"]
    config["workerGroupSpecs"][0] |= {"replicas": 2}
    platform.patch("rayclusters", cluster, {"spec": config})
    over = "exceed limits for nodepool"
    platform.until(lambda: any(over in event["message"] for event in platform.list("events")))
    assert len(platform.list("nodeclaims")) == 1
    platform.delete("rayservices", "sd")
    platform.until(lambda: not platform.list("nodeclaims"))
    assert [node["metadata"]["name"] for node in platform.list("nodes")] == ["node-cpu"]


@contextlib.contextmanager
def core(control_plane: ControlPlane) -> Iterator[Any]:
    with kubernetes.config.new_client_from_config(str(control_plane.kubeconfig())) as api:
        yield kubernetes.client.CoreV1Api(api)


def get(api: Any, namespace: str, pod: str, path: str) -> tuple[int, bytes]:
    """GET through one port-forward of the kubernetes client."""
    forward = portforward(api.connect_get_namespaced_pod_portforward, pod, namespace, ports="8000")
    connection = http.client.HTTPConnection("pod")
    connection.sock = forward.socket(8000)
    connection.sock.settimeout(120)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
        forward.close()
        for thread in threading.enumerate():
            if thread.name.startswith("Kubernetes port forward proxy"):
                thread.join(120)
        forward.websocket.shutdown()  # the client leaves the socket of a forward that broke off open


def test_forwards_and_logs_pass_through_the_api_server(platform: Platform, control_plane: ControlPlane) -> None:
    platform.create(rayservice())
    platform.until(lambda: ready(platform))
    [head] = platform.list("pods", "ray.io/node-type=head")
    pod, namespace = head["metadata"]["name"], platform.namespace
    with core(control_plane) as api:
        code, picture = get(api, namespace, pod, PICTURE)
        assert (code, picture[:4]) == (200, b"\x89PNG")
        platform.kubelet.fault = Fault(cut_after=len(picture), times=1)  # before the end: there are headers too
        with contextlib.suppress(http.client.HTTPException, OSError):
            assert get(api, namespace, pod, PICTURE) != (200, picture)
        assert get(api, namespace, pod, PICTURE) == (200, picture)
        platform.kubelet.log(pod, "ray", "old", ago_s=3600)
        platform.kubelet.log(pod, "ray", "one", "two")
        assert api.read_namespaced_pod_log(pod, namespace, tail_lines=1) == "two\n"
        assert api.read_namespaced_pod_log(pod, namespace, since_seconds=600) == "one\ntwo\n"
        following = api.read_namespaced_pod_log(pod, namespace, follow=True, tail_lines=1, _preload_content=False)
        lines = iter(following)
        assert next(lines).endswith(b"two\n")
        platform.kubelet.log(pod, "ray", "three")
        assert next(lines).endswith(b"three\n")
        platform.delete("rayservices", "sd")
        assert [*lines] == []
        with pytest.raises(ApiException):
            api.read_namespaced_pod_log(pod, namespace)


def test_work_goes_on_after_the_api_server_was_away(platform: Platform, control_plane: ControlPlane) -> None:
    control_plane.restart()
    platform.create(rayservice())
    platform.until(lambda: ready(platform))
