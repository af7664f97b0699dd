"""Reads that note what was refused instead of failing, and the parts of a snapshot that take several of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import Object, at, containers, name, namespace, time_of
from sdctl.cluster.refusals import Attempt
from sdctl.cluster.resources import CONFIGMAPS, DEPLOYMENTS, LEASES, PODS, SECRETS, Resource
from sdctl.errors import Busy, NotAllowed, NotFound, SdctlError, Unreachable

OPERATOR = "kuberay-operator"
OPERATOR_LABEL = f"app.kubernetes.io/name={OPERATOR}"
OPERATOR_LEASE = "ray-operator-leader"
OPERATOR_HOMES = (OPERATOR, "kuberay-system", "kuberay", "ray-system", "default")
LEASE_GRACE_S = 120.0  # many times its duration, and room for clocks that differ
KEPT_LINES = 40


@dataclass(frozen=True)
class Operator:
    """KubeRay's operator: `running`, `gone`, or `unknown` where its Deployment and lease cannot be read."""

    state: str = "unknown"
    detail: str = ""
    image: str = ""


def passing(error: SdctlError) -> bool:
    """Whether the API server may well answer the same question in a moment: it is away, busy, or has failed (500)."""
    return isinstance(error, (Unreachable, Busy)) or type(error) is SdctlError


@dataclass
class Reader:
    """A cluster, and what it refused or does not know."""

    cluster: Cluster
    forbidden: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)

    def items(
        self, resource: Resource, where: str | None = None, labels: str = "", fields: str = ""
    ) -> tuple[Object, ...]:
        """All objects that match; none where they may not be read or the server does not know the kind."""
        try:
            return tuple(self.cluster.items(resource, where, labels=labels, fields=fields))
        except NotAllowed as error:
            self._note(error, "list", resource, where)
        except NotFound:
            self.missing.add(resource.plural)
        return ()

    def one(self, resource: Resource, called: str, where: str = "") -> Object | None:
        """One object; None where there is none, or it may not be read."""
        try:
            return self.cluster.get(resource, called, where)
        except NotAllowed as error:
            self._note(error, "get", resource, where)
        except NotFound as error:
            if error.code == "kind_missing":
                self.missing.add(resource.plural)
        return None

    def may(self, verb: str, resource: Resource) -> bool:
        """Whether nothing was refused yet to this verb on this resource."""
        return not any(entry.startswith(f"{verb} {resource.title}") for entry in self.forbidden)

    def _note(self, error: NotAllowed, verb: str, resource: Resource, where: str | None) -> None:
        if error.code == "unauthenticated":
            raise error
        elsewhere = resource.namespaced and where is not None and where != self.cluster.namespace
        self.forbidden.add(f"{verb} {resource.title}" + (f" in {where or 'all namespaces'}" if elsewhere else ""))


def operator(reader: Reader, where: str) -> Operator:
    """Whether KubeRay's operator runs, by its Deployment, else by its lease: never by what it wrote somewhere."""
    found = reader.items(DEPLOYMENTS, "", OPERATOR_LABEL) or reader.items(
        DEPLOYMENTS, "", fields=f"metadata.name={OPERATOR}"
    )
    looked = not any(entry.startswith("list deployments") for entry in reader.forbidden)
    if not found and not looked:
        found = tuple(item for home in (where, *OPERATOR_HOMES) if (item := reader.one(DEPLOYMENTS, OPERATOR, home)))
    if found:
        return max((_of_deployment(item) for item in found), key=lambda one: one.state == "running")
    leases = reader.items(LEASES, "", fields=f"metadata.name={OPERATOR_LEASE}")
    if leases:
        return _of_lease(leases[0], datetime.now(UTC))
    if looked:
        return Operator("gone", f"there is no Deployment {OPERATOR} in any namespace.")
    return Operator("unknown", "its Deployment and its lease may not be read.")


def _of_deployment(deployment: Object) -> Operator:
    ready, wanted = at(deployment, "status", "readyReplicas") or 0, at(deployment, "spec", "replicas")
    image = str(at(deployment, "spec", "template", "spec", "containers", 0, "image") or "")
    place = f"Deployment {name(deployment)} in namespace {namespace(deployment)}"
    if ready:
        return Operator("running", place, image)
    why = "is scaled to 0" if wanted == 0 else "has no ready pod"
    return Operator("gone", f"{place} {why}.", image)


def _of_lease(lease: Object, now: datetime) -> Operator:
    renewed = time_of(at(lease, "spec", "renewTime"))
    silent = (now - renewed).total_seconds()
    if silent <= LEASE_GRACE_S + float(at(lease, "spec", "leaseDurationSeconds") or 0):
        return Operator("running", f"lease {name(lease)} in namespace {namespace(lease)}")
    return Operator("gone", f"its lease in namespace {namespace(lease)} was last renewed {renewed:%F %T} UTC.")


def last_lines(reader: Reader, pod: Object) -> tuple[str, ...]:
    """The last lines of the pod's container that failed; none where they are gone already."""
    failed = [status for status in containers(pod) if at(status, "state", "terminated", "exitCode")]
    attempt = Attempt("GET", PODS, namespace(pod), name(pod), "log")
    query = {"container": str(failed[0]["name"]) if failed else "", "tailLines": str(KEPT_LINES)}
    try:
        return tuple(reader.cluster.lines(attempt, {key: value for key, value in query.items() if value}, 10.0))
    except NotAllowed:
        reader.forbidden.add("get pods/log")
    except SdctlError:
        return ()  # KubeRay deletes a failed pod at once: its log is a gift, not a right
    return ()


def absent_objects(reader: Reader, rayservice: Object | None, where: str) -> frozenset[str]:
    """The Secrets and ConfigMaps that the pod templates need and that are not there."""
    kinds = {"Secret": SECRETS, "ConfigMap": CONFIGMAPS}
    wanted = sorted(set(references(at(rayservice, "spec", "rayClusterConfig"))))
    return frozenset(
        f"{kind} {called}"
        for kind, called in wanted
        if reader.one(kinds[kind], called, where) is None and reader.may("get", kinds[kind])
    )


def references(value: Any) -> Iterator[tuple[str, str]]:
    """(kind, name) of each Secret and ConfigMap that pods cannot start without."""
    named = (
        ("secretKeyRef", "name", "Secret"),
        ("secretRef", "name", "Secret"),
        ("secret", "secretName", "Secret"),
        ("configMapKeyRef", "name", "ConfigMap"),
        ("configMapRef", "name", "ConfigMap"),
        ("configMap", "name", "ConfigMap"),
        ("authOptions", "secretName", "Secret"),
    )
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    if isinstance(value, dict):
        for key, field_name, kind in named:
            entry = value.get(key)
            if isinstance(entry, dict) and entry.get(field_name) and not entry.get("optional"):
                yield kind, str(entry[field_name])
        for item in value.values():
            yield from references(item)
