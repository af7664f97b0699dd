"""Stop a service and its costs overnight, and start it again."""

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import at
from sdctl.cluster.resources import RAYSERVICES
from sdctl.errors import SdctlError


def suspend(cluster: Cluster, suspended: bool) -> None:
    """Set or clear spec.suspend; raises NotFound, NotAllowed, and SdctlError where KubeRay has no such field."""
    cluster.get(RAYSERVICES, cluster.name)
    after = cluster.patch(RAYSERVICES, cluster.name, {"spec": {"suspend": suspended}})
    if suspended and at(after, "spec", "suspend") is not True:
        raise SdctlError(
            "This cluster's KubeRay cannot suspend a service: it has the field since 1.7.",
            hint="Upgrade KubeRay and its CRDs, or use `sdctl cleanup` and `sdctl deploy`.",
            code="no_suspend",
        )
