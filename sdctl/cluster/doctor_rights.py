"""What this user may do: every verb that sdctl uses, asked of the API server one by one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sdctl.cluster.client import Cluster
from sdctl.cluster.resources import (
    ACCESS_REVIEWS,
    CONFIGMAPS,
    DEPLOYMENTS,
    EC2NODECLASSES,
    EVENTS,
    INGRESSES,
    LEASES,
    NAMESPACES,
    NODECLAIMS,
    NODEPOOLS,
    NODES,
    PODS,
    QUOTAS,
    RAYCLUSTERS,
    RAYSERVICES,
    SECRETS,
    SERVICES,
    Resource,
)
from sdctl.errors import SdctlError
from sdctl.targets.base import Finding


@dataclass(frozen=True)
class Right:
    """One verb on one resource; `anywhere`: in all namespaces, or on what has none.

    `suffix` limits it to the object of that name after the service's: a role may name the Secrets that it opens.
    """

    verb: str
    resource: Resource
    subresource: str = ""
    anywhere: bool = False
    suffix: str = ""

    def __str__(self) -> str:
        title = self.resource.title + (f"/{self.subresource}" if self.subresource else "")
        title += f" …{self.suffix}" if self.suffix else ""
        return f"{self.verb} {title}" + (" in all namespaces" if self.anywhere and self.resource.namespaced else "")


@dataclass(frozen=True)
class Purpose:
    """What a group of rights is for; `needed`: without them the commands fail, else they only know less."""

    title: str
    rights: tuple[Right, ...]
    needed: bool = True
    without: str = ""


def _rights(resource: Resource, *verbs: str, anywhere: bool = False, subresource: str = "") -> tuple[Right, ...]:
    return tuple(Right(verb, resource, subresource, anywhere) for verb in verbs)


PURPOSES = (
    Purpose(
        "see the service (status, logs)",
        (
            *_rights(RAYSERVICES, "get", "list"),
            *_rights(RAYCLUSTERS, "list"),
            *_rights(PODS, "list"),
            *_rights(PODS, "get", subresource="log"),
            *_rights(EVENTS, "list"),
            *_rights(SERVICES, "list", "get"),
        ),
    ),
    Purpose(
        "reach the service (imagine, loadtest, forward, dashboard)",
        (*_rights(PODS, "get", "create", subresource="portforward"), Right("get", SECRETS, suffix="-api-keys")),
    ),
    Purpose(
        "deploy",
        (
            *_rights(RAYSERVICES, "create", "patch"),
            *_rights(RAYCLUSTERS, "get", "patch"),
            *_rights(SECRETS, "create", "patch"),
            *_rights(CONFIGMAPS, "get", "create", "patch"),
        ),
    ),
    Purpose(
        "clean up",
        (
            *_rights(RAYSERVICES, "delete"),
            *_rights(SECRETS, "list", "delete"),
            *_rights(CONFIGMAPS, "list", "delete"),
        ),
    ),
    Purpose(
        "make and remove the namespace",
        _rights(NAMESPACES, "get", "create", "delete", anywhere=True),
        needed=False,
        without="the namespace must be there already, and clean-up leaves it",
    ),
    Purpose(
        "put the dashboard behind a load balancer",
        _rights(INGRESSES, "get", "list", "create", "patch", "delete"),
        needed=False,
        without="deploy --dashboard-ingress is refused",
    ),
    Purpose(
        "explain from the whole cluster",
        (
            *_rights(NODES, "list", anywhere=True),
            *_rights(PODS, "list", anywhere=True),
            *_rights(NODECLAIMS, "list", anywhere=True),
            *_rights(NODEPOOLS, "list", anywhere=True),
            *_rights(EC2NODECLASSES, "list", anywhere=True),
            *_rights(DEPLOYMENTS, "list", anywhere=True),
            *_rights(LEASES, "list", anywhere=True),
            *_rights(QUOTAS, "list"),
        ),
        needed=False,
        without="causes below the pods stay unseen, and clean-up cannot prove that nodes are gone",
    ),
)


def rights(cluster: Cluster, namespace: str, service: str) -> Iterator[Finding]:
    """One line for each purpose: ok, or what is missing; unknown where the server does not say."""
    with ThreadPoolExecutor(8, "sdctl-doctor") as pool:
        for purpose in PURPOSES:
            answers = list(pool.map(lambda right: allowed(cluster, namespace, service, right), purpose.rights))
            yield _judge(purpose, answers)


def _judge(purpose: Purpose, answers: list[bool | None]) -> Finding:
    what = f"You may {purpose.title}"
    refused = [str(right) for right, answer in zip(purpose.rights, answers, strict=True) if answer is False]
    if refused:
        level = "fail" if purpose.needed else "warn"
        detail = f"not allowed: {', '.join(refused)}" + (f"; {purpose.without}" if purpose.without else "")
        return Finding(level, what, detail, "Ask for the roles in manifests/rbac.yaml.")
    if None in answers:
        return Finding("unknown", what, "the API server does not say what this user may do", "Try, or ask an admin.")
    return Finding("ok", what, f"{len(answers)} verbs")


def allowed(cluster: Cluster, namespace: str, service: str, right: Right) -> bool | None:
    """Whether this user has the right; None where the server does not say."""
    attributes = {"verb": right.verb, "group": right.resource.group, "resource": right.resource.plural}
    if right.subresource:
        attributes["subresource"] = right.subresource
    if right.suffix:
        attributes["name"] = service + right.suffix
    if not right.anywhere:
        attributes["namespace"] = namespace
    review = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "metadata": {},
        "spec": {"resourceAttributes": attributes},
    }
    try:
        return bool((cluster.ask(ACCESS_REVIEWS, review).get("status") or {}).get("allowed"))
    except SdctlError:
        return None
