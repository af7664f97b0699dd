"""Objects as the API server gives them for a service that works; each test changes what its story needs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sdctl.cluster.snapshot import Snapshot
from sdctl.cluster.snapshot_reader import Operator

Object = dict[str, Any]
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NAME, PLACE, CLUSTER = "sd", "images", "sd-x7k2p"
RUNNING = Operator("running", "Deployment kuberay-operator in namespace kuberay-system", "kuberay/operator:v1.7.1")


def ago(seconds: float) -> str:
    """An API time so many seconds before NOW."""
    return (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> Object:
    """A status condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago(60)}


def meta(name: str, *, age_s: float = 600, labels: Object | None = None, **more: Any) -> Object:
    """Metadata; the UID follows from the name."""
    base = {"name": name, "namespace": PLACE, "uid": f"uid-{name}", "creationTimestamp": ago(age_s)}
    return {**base, "labels": labels or {}, **more}


def rayservice(
    ready: str = "True", reason: str = "NonZeroServeEndpoints", *, status: Object | None = None, **metadata: Any
) -> Object:
    """The RayService; `status` is merged into the one of a service whose active cluster serves."""
    whole = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", ready, reason), condition("UpgradeInProgress", "False")],
        "activeServiceStatus": {"rayClusterName": CLUSTER, "applicationStatuses": applications()},
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": meta(NAME, **{"generation": 1, **metadata}),
        "spec": {
            "rayClusterConfig": cluster_spec(),
            "serveConfigV2": "applications:\n- {name: app, args: {model: a}}\n",
        },
        "status": {**whole, **(status or {})},
    }


def pending(message: str = "", status: str = "DEPLOYING", deployment: str = "UPDATING") -> Object:
    """The status of a service that is coming up for the first time, with what its deployment says."""
    return {
        "activeServiceStatus": {},
        "pendingServiceStatus": {
            "rayClusterName": CLUSTER,
            "applicationStatuses": applications(status, deployment, message),
        },
    }


def starting(message: str = "", status: str = "DEPLOYING", deployment: str = "UPDATING", **metadata: Any) -> Object:
    """A RayService that is coming up for the first time."""
    return rayservice("False", "Initializing", status=pending(message, status, deployment), **metadata)


def applications(status: str = "RUNNING", deployment: str = "HEALTHY", message: str = "") -> Object:
    """KubeRay's applicationStatuses."""
    return {
        "app": {"status": status, "serveDeploymentStatuses": {"Generator": {"status": deployment, "message": message}}}
    }


def cluster_spec(image: str = "sdctl:1", most: int = 4) -> Object:
    """spec.rayClusterConfig, as RayService and RayCluster have it."""
    variable = {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "sd-hub-token", "key": "token", "optional": True}},
    }
    container = {
        "name": "ray-worker",
        "image": image,
        "env": [variable],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    template = {"spec": {"containers": [container], "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}}
    group = {"groupName": "gpu", "minReplicas": 1, "maxReplicas": most, "template": template}
    head = {"template": {"spec": {"containers": [{"name": "ray-head", "image": image}]}}}
    return {"headGroupSpec": head, "workerGroupSpecs": [group]}


def raycluster(name: str = CLUSTER, *, spec: Object | None = None, conditions: tuple[Object, ...] = ()) -> Object:
    """A RayCluster of the service."""
    labels = {"ray.io/originated-from-cr-name": NAME}
    return {
        "kind": "RayCluster",
        "metadata": meta(name, labels=labels),
        "spec": spec or cluster_spec(),
        "status": {"conditions": list(conditions)},
    }


def pod(kind: str = "worker", *, age_s: float = 600, ready: bool = True, phase: str = "Running", **more: Any) -> Object:
    """A pod of the active cluster; `containers` and `init` are statuses; `spec`, `status`, `meta` are merged."""
    name = f"{CLUSTER}-head-aaaaa" if kind == "head" else f"{CLUSTER}-gpu-worker-bbbbb"
    labels = {
        "ray.io/cluster": CLUSTER,
        "ray.io/node-type": kind,
        "ray.io/group": "gpu" if kind == "worker" else "headgroup",
    }
    limits = {"nvidia.com/gpu": "1"} if kind == "worker" else {}
    container = {"name": f"ray-{kind}", "image": "sdctl:1", "resources": {"limits": limits}}
    scheduled = more.get("scheduled") or condition("PodScheduled")
    return {
        "kind": "Pod",
        "metadata": {**meta(name, age_s=age_s, labels=labels), **more.get("meta", {})},
        "spec": {"nodeName": "node-1", "containers": [container], **more.get("spec", {})},
        "status": {
            "phase": phase,
            "conditions": [condition("Ready", "True" if ready else "False"), scheduled],
            "containerStatuses": more.get("containers", [{"name": f"ray-{kind}", "ready": ready, "image": "sdctl:1"}]),
            "initContainerStatuses": more.get("init", []),
            **more.get("status", {}),
        },
    }


def waiting(reason: str, message: str = "", container: str = "ray-worker") -> Object:
    """A container status that waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": container, "image": "registry.test/sd:9", "ready": False, "state": state}


def ended(exit_code: int, reason: str = "Error", message: str = "", container: str = "ray-worker") -> Object:
    """A container status of one that ended."""
    state = {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}
    return {"name": container, "image": "sdctl:1", "ready": False, "state": state}


def unscheduled(message: str, **more: Any) -> Object:
    """A GPU worker that no node takes, for two minutes by now."""
    scheduled = condition("PodScheduled", "False", "Unschedulable", message)
    spec = {"nodeName": "", **more.pop("spec", {})}
    return pod(ready=False, phase="Pending", age_s=120, containers=[], scheduled=scheduled, spec=spec, **more)


def event(
    reason: str, text: str, kind: str = "Pod", subject: str = f"{CLUSTER}-gpu-worker-bbbbb", **more: Any
) -> Object:
    """An event as KubeRay and Karpenter record them: eventTime instead of lastTimestamp."""
    age_s = more.pop("age_s", 30)
    return {
        "metadata": meta(f"event-{reason}-{subject}-{age_s}", age_s=age_s),
        "involvedObject": {"kind": kind, "name": subject},
        "reason": reason,
        "message": text,
        "type": more.pop("type", "Warning"),
        "eventTime": ago(age_s),
        "lastTimestamp": None,
        **more,
    }


def node(name: str = "node-1", *, gpus: int = 1, age_s: float = 600, **more: Any) -> Object:
    """A node that is ready, by default a GPU node of Karpenter's."""
    labels = {
        "karpenter.sh/nodepool": "gpu",
        "karpenter.sh/capacity-type": "spot",
        "node.kubernetes.io/instance-type": "g6.xlarge",
        "karpenter.k8s.aws/instance-gpu-count": "1",
    }
    return {
        "kind": "Node",
        "metadata": {**meta(name, age_s=age_s, labels=more.pop("labels", labels)), **more.pop("meta", {})},
        "spec": {"taints": more.pop("taints", [])},
        "status": {
            "conditions": [condition("Ready", more.pop("ready", "True"))],
            "allocatable": {"cpu": "4", **({"nvidia.com/gpu": str(gpus)} if gpus else {})},
        },
    }


def nodeclaim(*conditions: Object, age_s: float = 120, node_name: str = "") -> Object:
    """A NodeClaim with these conditions."""
    labels = {"karpenter.sh/nodepool": "gpu"}
    return {
        "kind": "NodeClaim",
        "metadata": meta("gpu-8hq2z", age_s=age_s, labels=labels),
        "status": {"conditions": list(conditions), "nodeName": node_name},
    }


def nodepool(*, ready: str = "True", message: str = "", limit: str = "8", used: str = "0", taints: Any = ()) -> Object:
    """A NodePool for GPU nodes."""
    return {
        "kind": "NodePool",
        "metadata": meta("gpu"),
        "spec": {"limits": {"nvidia.com/gpu": limit}, "template": {"spec": {"taints": list(taints)}}},
        "status": {"conditions": [condition("Ready", ready, "X", message)], "resources": {"nvidia.com/gpu": used}},
    }


def nodeclass(ready: str = "True", message: str = "") -> Object:
    """An EC2NodeClass."""
    return {
        "kind": "EC2NodeClass",
        "metadata": meta("gpu"),
        "status": {"conditions": [condition("Ready", ready, "SubnetsNotFound", message)]},
    }


def snapshot(**changes: Any) -> Snapshot:
    """A service that works, with what the test changes."""
    whole: dict[str, Any] = {
        "rayservice": rayservice(),
        "rayclusters": (raycluster(),),
        "pods": (pod("head"), pod()),
        "nodes": (node(),),
        "operator": RUNNING,
        "services": frozenset({"sd-head-svc", "sd-serve-svc"}),
        "now": NOW,
    }
    return Snapshot(PLACE, NAME, **{**whole, **changes})


def coming(*pods: Object, **changes: Any) -> Snapshot:
    """A service that is coming up, with these pods (a ready head is there where none is given)."""
    heads = [each for each in pods if each["metadata"]["labels"]["ray.io/node-type"] == "head"]
    whole = {"rayservice": starting(), "pods": tuple(pods) if heads else (pod("head"), *pods), "services": frozenset()}
    return snapshot(**{**whole, **changes})
