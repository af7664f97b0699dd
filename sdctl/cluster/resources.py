"""The Kubernetes resources that sdctl speaks about, and the labels that mark what it made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdctl.errors import InvalidRequest

FIELD_MANAGER = "sdctl"
MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"


@dataclass(frozen=True)
class Resource:
    """One kind of object, as the API server's paths name it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core one."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def title(self) -> str:
        """The name that RBAC rules and `kubectl` use, such as `rayservices.ray.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path below the API server's URL; without `namespace`, that of all namespaces."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


RAYSERVICES = Resource("ray.io/v1", "RayService", "rayservices")
RAYCLUSTERS = Resource("ray.io/v1", "RayCluster", "rayclusters")
PODS = Resource("v1", "Pod", "pods")
SERVICES = Resource("v1", "Service", "services")
SECRETS = Resource("v1", "Secret", "secrets")
CONFIGMAPS = Resource("v1", "ConfigMap", "configmaps")
NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
NODES = Resource("v1", "Node", "nodes", namespaced=False)
EVENTS = Resource("v1", "Event", "events")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
INGRESSES = Resource("networking.k8s.io/v1", "Ingress", "ingresses")
NETWORKPOLICIES = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SERVICEACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
QUOTAS = Resource("v1", "ResourceQuota", "resourcequotas")
ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLEBINDINGS = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTERROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTERROLEBINDINGS = Resource(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
NODECLAIMS = Resource("karpenter.sh/v1", "NodeClaim", "nodeclaims", namespaced=False)
NODEPOOLS = Resource("karpenter.sh/v1", "NodePool", "nodepools", namespaced=False)
EC2NODECLASSES = Resource("karpenter.k8s.aws/v1", "EC2NodeClass", "ec2nodeclasses", namespaced=False)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)

_KNOWN = (
    *(RAYSERVICES, RAYCLUSTERS, PODS, SERVICES, SECRETS, CONFIGMAPS, NAMESPACES, NODES, EVENTS, DEPLOYMENTS, LEASES),
    *(INGRESSES, NETWORKPOLICIES, SERVICEACCOUNTS, QUOTAS, ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS),
    *(CRDS, NODECLAIMS, NODEPOOLS, EC2NODECLASSES),
)


def resource_of(document: Mapping[str, Any]) -> Resource:
    """The resource of an object; raises InvalidRequest for a kind that sdctl does not apply."""
    api_version, kind = str(document.get("apiVersion", "")), str(document.get("kind", ""))
    for known in _KNOWN:
        if known.kind == kind and known.group == Resource(api_version, kind, "").group:
            return Resource(api_version, kind, known.plural, known.namespaced)
    raise InvalidRequest(
        f"sdctl does not apply objects of kind {kind or '(none)'} ({api_version or 'no apiVersion'}).",
        hint="Apply them with kubectl and keep them out of the file that -f names.",
    )


def labels(name: str) -> dict[str, str]:
    """The labels of everything that sdctl makes for the service `name`, pods included."""
    return {MANAGED_BY: FIELD_MANAGER, INSTANCE: name}


def selector(name: str) -> str:
    """The label selector of everything that sdctl made for the service `name`."""
    return ",".join(f"{key}={value}" for key, value in labels(name).items())
