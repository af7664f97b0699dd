"""Nodes, as the kubelet registers them: what they hold, and where their kubelet answers."""

from typing import Any

from tests.cluster.standins.mirror import Object, now

GPU = "nvidia.com/gpu"
UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text: object) -> float:
    """A Kubernetes quantity ("500m", "8Gi", 1) as a number."""
    word = str(text)
    for unit in sorted(UNITS, key=len, reverse=True):
        if word.endswith(unit):
            return float(word.removesuffix(unit)) * UNITS[unit]
    return float(word)


def node(name: str, capacity: dict[str, Any], labels: dict[str, str], taints: list[Object]) -> Object:
    """A node object; its status is set apart, by `ready`."""
    known = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": known | labels},
        "spec": {"taints": taints, "providerID": f"stand-in:///{name}"},
        "status": {"capacity": {key: str(value) for key, value in capacity.items()}},
    }


def ready(capacity: dict[str, Any], kubelet_port: int, *, is_ready: bool = True) -> Object:
    """The status patch of a node whose kubelet answers on a port of 127.0.0.1."""
    amounts = {key: str(value) for key, value in capacity.items()}
    condition = {
        "type": "Ready",
        "status": "True" if is_ready else "False",
        "reason": "KubeletReady" if is_ready else "KubeletNotReady",
        "message": "kubelet is posting ready status" if is_ready else "container runtime network not ready",
        "lastHeartbeatTime": now(),
        "lastTransitionTime": now(),
    }
    return {
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
            "conditions": [condition],
        }
    }


def requests(pod: Object) -> dict[str, float]:
    """What a pod asks of its node: the sum of its containers."""
    total = {"cpu": 0.0, "memory": 0.0, GPU: 0.0}
    for container in pod["spec"]["containers"]:
        resources = container.get("resources", {})
        wanted = resources.get("limits", {}) | resources.get("requests", {})
        for name in total:
            total[name] += quantity(wanted.get(name, 0))
    return total
