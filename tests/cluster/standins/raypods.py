"""The pods and services that KubeRay makes of a RayCluster's groups."""

import copy
import secrets
import string
from typing import Any

from tests.cluster.standins.mirror import Object

HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080, "serve": 8000}
APPLICATION_LABELS = {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/created-by": "kuberay-operator"}
ALPHABET = "".join(sorted({*string.ascii_lowercase, *string.digits} - {*"aeiou01"}))


def suffix() -> str:
    """Five letters, as generated names end."""
    return "".join(secrets.choice(ALPHABET) for _ in range(5))


def owned_by(owner: Object, kind: str) -> list[Object]:
    """The ownerReferences of what an object controls."""
    metadata = owner["metadata"]
    reference = {"apiVersion": "ray.io/v1", "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
    return [reference | {"controller": True, "blockOwnerDeletion": True}]


def head_pod(cluster: Object) -> Object:
    """The head pod of a RayCluster, with the autoscaler's sidecar where it is on."""
    spec = cluster["spec"]
    pod = _pod(cluster, "head", "headgroup", spec["headGroupSpec"]["template"])
    if spec.get("enableInTreeAutoscaling"):
        pod["spec"]["containers"].append(_autoscaler(spec, pod["spec"]["containers"][0]["image"]))
    return pod


def worker_pod(cluster: Object, group: Object) -> Object:
    """A worker pod of a group; it waits for the head in an init container, and may serve."""
    pod = _pod(cluster, "worker", group["groupName"], group["template"])
    pod["metadata"]["labels"]["ray.io/serve"] = "true"
    ray = pod["spec"]["containers"][0]
    wait = {"name": "wait-gcs-ready", "image": ray["image"], "command": ["/bin/bash", "-c", "until ray health-check"]}
    if "securityContext" in ray:
        wait["securityContext"] = ray["securityContext"]
    pod["spec"].setdefault("initContainers", []).append(wait)
    return pod


def head_service(cluster: Object) -> Object:
    """`<cluster>-head-svc`, made with the RayCluster itself."""
    name = cluster["metadata"]["name"]
    selector = {"ray.io/cluster": name, "ray.io/node-type": "head"}
    return service(cluster, "RayCluster", f"{name}-head-svc", selector, HEAD_PORTS)


def service(owner: Object, kind: str, name: str, selector: dict[str, str], ports: dict[str, int]) -> Object:
    """A headless Service; its owner's name is in KubeRay's labels."""
    labels = selector | origin(owner["metadata"]["name"], kind)
    listed = [{"name": key, "port": port, "targetPort": port, "protocol": "TCP"} for key, port in ports.items()]
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": owned_by(owner, kind)},
        "spec": {"clusterIP": "None", "selector": selector, "ports": listed},
    }


def origin(name: str, kind: str) -> dict[str, str]:
    """The labels that KubeRay puts on clusters and services, but not on pods."""
    return {"ray.io/originated-from-cr-name": name, "ray.io/originated-from-crd": kind}


def auth_secret(spec: Object, cluster: str) -> str:
    """The Secret with the dashboard's token; empty without token authentication."""
    options = spec.get("authOptions", {})
    return str(options.get("secretName") or cluster) if options.get("mode") == "token" else ""


def _pod(cluster: Object, role: str, group: str, template: Object) -> Object:
    name = cluster["metadata"]["name"]
    stem = f"{name}-head" if role == "head" else f"{name}-{group}-worker"
    metadata = copy.deepcopy(template.get("metadata", {}))
    labels = {
        "ray.io/cluster": name,
        "ray.io/group": group,
        "ray.io/identifier": f"{name}-{role}",
        "ray.io/is-ray-node": "yes",
        "ray.io/node-type": role,
    }
    spec = copy.deepcopy(template["spec"])
    _complete(spec, cluster["spec"], name, head=role == "head")
    return {
        "metadata": {
            "name": f"{stem}-{suffix()}",
            "labels": APPLICATION_LABELS | metadata.get("labels", {}) | labels,
            "annotations": metadata.get("annotations", {}),
            "ownerReferences": owned_by(cluster, "RayCluster"),
        },
        "spec": spec,
    }


def _complete(spec: Object, cluster_spec: Object, cluster: str, *, head: bool) -> None:
    """Add what KubeRay adds to a Ray container: ports, address, token."""
    ray = spec["containers"][0]
    if head and not ray.get("ports"):
        ray["ports"] = [{"name": name, "containerPort": port} for name, port in HEAD_PORTS.items()]
    address = "127.0.0.1:6379" if head else f"{cluster}-head-svc:6379"
    environment: list[dict[str, Any]] = [
        {"name": "RAY_CLUSTER_NAME", "value": cluster},
        {"name": "RAY_ADDRESS", "value": address},
    ]
    if secret := auth_secret(cluster_spec, cluster):
        source = {"secretKeyRef": {"name": secret, "key": "auth_token"}}
        environment += [{"name": "RAY_AUTH_MODE", "value": "token"}, {"name": "RAY_AUTH_TOKEN", "valueFrom": source}]
    ray["env"] = [*ray.get("env", []), *environment]
    if cluster_spec.get("enableInTreeAutoscaling"):
        spec["restartPolicy"] = "Never"


def _autoscaler(spec: Object, image: str) -> Object:
    options = spec.get("autoscalerOptions", {})
    container = {
        "name": "autoscaler",
        "image": options.get("image", image),
        "command": ["/bin/bash", "-lc", "--"],
        "resources": options.get("resources", {"limits": {"cpu": "500m", "memory": "512Mi"}}),
    }
    if "securityContext" in options:
        container["securityContext"] = options["securityContext"]
    return container
