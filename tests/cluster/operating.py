"""What the tests of status, doctor, logs and clean-up share: a service as sdctl deploys it, and sdctl's view of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import yaml

from sdctl.cluster.client import Cluster, connect
from sdctl.cluster.diagnosis import Cause, diagnose
from sdctl.cluster.resources import labels
from sdctl.cluster.snapshot import Snapshot, take
from sdctl.targets.base import Selection
from tests.cluster.control_plane import ControlPlane
from tests.cluster.standins.platform import Platform

Object = dict[str, Any]
NAME = "sd"
SERVE = {
    "applications": [
        {"name": "sd", "route_prefix": "/", "import_path": "a.b:c", "deployments": [{"name": "Generator"}]},
    ]
}


def cluster_of(control_plane: ControlPlane, namespace: str, user: str = "admin") -> Cluster:
    """sdctl's client, as this user, about the service of the test."""
    return connect(Selection(name=NAME, namespace=namespace, kubeconfig=str(control_plane.kubeconfig(user))))


def template(*, gpus: int = 0, secret: str = "") -> Object:
    """A pod template with our labels; with `secret`, its container cannot do without that Secret."""
    limits = {"cpu": "1", "memory": "1Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    container: Object = {"name": "ray", "image": "registry.test/sd:1", "resources": {"limits": limits}}
    if secret:
        container["env"] = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": secret, "key": "key"}}}]
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    return {"metadata": {"labels": labels(NAME)}, "spec": {"containers": [container], "tolerations": tolerations}}


def rayservice(namespace: str, *, gpus: int = 0, secret: str = "", ours: bool = True) -> Object:
    """A service with one worker."""
    group = {"groupName": "workers", "replicas": 1, "minReplicas": 1, "maxReplicas": 2, "rayStartParams": {}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": NAME, "namespace": namespace, "labels": labels(NAME) if ours else {}},
        "spec": {
            "serveConfigV2": yaml.safe_dump(SERVE),
            "rayClusterDeletionDelaySeconds": 0,
            "rayClusterConfig": {
                "rayVersion": "2.60.0",
                "headGroupSpec": {"rayStartParams": {}, "template": template(secret=secret)},
                "workerGroupSpecs": [group | {"template": template(gpus=gpus)}],
            },
        },
    }


def serving(platform: Platform) -> bool:
    """Whether KubeRay calls the service ready."""
    conditions = platform.get("rayservices", NAME)["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def cause_of(cluster: Cluster) -> Callable[[], Cause | None]:
    """A question that gives the cause as sdctl sees it now, in a loop as `deploy` has it."""
    seen: list[Snapshot] = []

    def ask() -> Cause | None:
        seen[:] = [take(cluster, earlier=seen[0] if seen else None)]
        return diagnose(seen[0], datetime.now(UTC))

    return ask


def node_pool(limit: int = 4) -> Object:
    """A NodePool from which Karpenter makes GPU nodes."""
    spec = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "gpu"},
        "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}],
        "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}],
    }
    limits = {"nvidia.com/gpu": limit}
    metadata = {"name": "gpu"}
    pool = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": metadata}
    return {**pool, "spec": {"limits": limits, "template": {"spec": spec}}}


def node_class() -> Object:
    """What the NodePool refers to."""
    own = [{"tags": {"own": "yes"}}]
    spec = {"role": "node", "amiSelectorTerms": [{"alias": "al2023@latest"}]}
    spec |= {"subnetSelectorTerms": own, "securityGroupSelectorTerms": own}
    kind = {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "gpu"}}
    return {**kind, "spec": spec}
