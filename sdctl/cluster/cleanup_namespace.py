"""The namespace that deploy made: removed only when nothing of anybody is in it."""

from collections.abc import Iterator

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import Object, at, label, name
from sdctl.cluster.resources import FIELD_MANAGER, MANAGED_BY, NAMESPACES, Resource
from sdctl.errors import NotAllowed, SdctlError
from sdctl.targets.base import Leftover

# What Kubernetes itself puts into every namespace, or keeps there about what was in it.
OF_KUBERNETES = {
    ("configmaps", "kube-root-ca.crt"),
    ("serviceaccounts", "default"),
}
TRANSIENT = {"events", "endpoints", "endpointslices", "controllerrevisions", "leases"}
NOT_STORED = ("metrics.k8s.io", "authorization.k8s.io")


def is_ours(cluster: Cluster, namespace: str) -> Object | None:
    """The namespace, if deploy made it (it marks only those that it makes)."""
    try:
        found = cluster.find(NAMESPACES, namespace)
    except NotAllowed:
        return None
    return found if found is not None and label(found, MANAGED_BY) == FIELD_MANAGER else None


def remove(cluster: Cluster, namespace: str) -> Leftover | None:
    """Ask for the namespace's deletion when it is ours and empty; else say why it stays (None: not ours)."""
    if is_ours(cluster, namespace) is None:
        return None
    try:
        found = list(contents(cluster, namespace))
        if found:
            return Leftover("Namespace", namespace, f"it holds what is not ours: {', '.join(found[:5])}", stays=True)
        cluster.delete(NAMESPACES, namespace)
    except SdctlError as error:
        return Leftover("Namespace", namespace, f"it could not be shown to be empty: {error.message}", stays=True)
    return Leftover("Namespace", namespace)


def contents(cluster: Cluster, namespace: str) -> Iterator[str]:
    """`plural/name` of everything in the namespace that somebody made; raises where a kind cannot be listed."""
    for resource in _kinds(cluster):
        for item in cluster.items(resource, namespace):
            if (resource.plural, name(item)) in OF_KUBERNETES or _is_token(resource, item):
                continue
            yield f"{resource.plural}/{name(item)}"


def _is_token(resource: Resource, item: Object) -> bool:
    return resource.plural == "secrets" and item.get("type") == "kubernetes.io/service-account-token"


def _kinds(cluster: Cluster) -> Iterator[Resource]:
    """Every kind of object that lives in namespaces on this server, each once."""
    versions = ["v1"]
    for group in cluster.read("/apis").get("groups") or []:
        if group.get("name") not in NOT_STORED:
            versions.append(str(at(group, "preferredVersion", "groupVersion")))
    for version in versions:
        path = f"/api/{version}" if version == "v1" else f"/apis/{version}"
        for entry in cluster.read(path).get("resources") or []:
            stored = entry.get("namespaced") and "list" in (entry.get("verbs") or []) and "/" not in entry["name"]
            if stored and "delete" in entry["verbs"] and entry["name"] not in TRANSIENT:
                yield Resource(version, str(entry["kind"]), str(entry["name"]))
