"""The operator's own objects: a Deployment and a Lease by which one can tell whether KubeRay is alive."""

from datetime import UTC, datetime, timedelta

from tests.cluster.control_plane import Refused
from tests.cluster.standins.mirror import MERGE, Mirror, Object, path

NAMESPACE = "kuberay-system"
DEPLOYMENT = "kuberay-operator"
LEASE = "ray-operator-leader"
LABELS = {"app.kubernetes.io/name": DEPLOYMENT}
IMAGE = "quay.io/kuberay/operator:v1.7.0"
LONG_AGO = timedelta(minutes=10)


async def install(mirror: Mirror) -> None:
    """Make namespace, Deployment and Lease where they are not."""
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "operator", "image": IMAGE}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template}
    await _make(mirror, "namespaces", {"metadata": {"name": NAMESPACE}})
    await _make(mirror, "deployments", {"metadata": {"name": DEPLOYMENT, "labels": LABELS}, "spec": spec})
    await _make(mirror, "leases", {"metadata": {"name": LEASE}, "spec": {"leaseDurationSeconds": 15}})


async def report(mirror: Mirror, *, alive: bool) -> None:
    """Renew the Lease and say that the Deployment is available; or let both tell that nobody is at work."""
    renewed = datetime.now(UTC) - (timedelta() if alive else LONG_AGO)
    holder = "kuberay-operator-0_5d4f" if alive else ""
    lease = {"spec": {"holderIdentity": holder, "renewTime": renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}
    await mirror.request("PATCH", path("leases", NAMESPACE, LEASE), lease, content=MERGE)
    count = 1 if alive else 0
    condition = {"type": "Available", "status": "True" if alive else "False", "reason": "MinimumReplicasAvailable"}
    status = {"replicas": count, "readyReplicas": count, "availableReplicas": count, "conditions": [condition]}
    place = path("deployments", NAMESPACE, DEPLOYMENT, "status")
    await mirror.request("PATCH", place, {"status": status}, content=MERGE)


async def uninstall(mirror: Mirror) -> None:
    """Remove Deployment and Lease."""
    for kind, name in (("deployments", DEPLOYMENT), ("leases", LEASE)):
        try:
            await mirror.request("DELETE", path(kind, NAMESPACE, name))
        except Refused as refusal:
            if refusal.status != 404:
                raise


async def _make(mirror: Mirror, kind: str, body: Object) -> None:
    try:
        await mirror.request("POST", path(kind, NAMESPACE), body)
    except Refused as refusal:
        if refusal.status != 409:
            raise
