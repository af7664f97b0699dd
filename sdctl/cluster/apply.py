"""Server-side apply of a plan, in order, and what it would change."""

import difflib
from collections.abc import Iterable

from sdctl.cluster import secrets
from sdctl.cluster.client import Cluster, Query
from sdctl.cluster.deploy_plan import Plan
from sdctl.cluster.refusals import Conflict, Conflicts
from sdctl.cluster.resources import FIELD_MANAGER, MANAGED_BY, NAMESPACES, resource_of
from sdctl.errors import NotAllowed, NotFound
from sdctl.manifest import Object
from sdctl.manifest.text import masked, to_yaml

STRICT_SINCE = (1, 25)
GITOPS = ("argocd", "kustomize-controller", "helm-controller", "flux", "fleet", "rancher")
_SERVERS = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "finalizers", "selfLink")


def validation(cluster: Cluster) -> dict[str, str]:
    """The query that makes the server refuse unknown fields, where it can."""
    return {"fieldValidation": "Strict"} if cluster.version() >= STRICT_SINCE else {}


def ensure_namespace(cluster: Cluster) -> bool:
    """Create the namespace if it is absent, marked as made by us; gives whether it was.

    Where it may not be read it is taken to exist: the next request tells.
    """
    try:
        if cluster.find(NAMESPACES, cluster.namespace):
            return False
        cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": cluster.namespace, "labels": {MANAGED_BY: FIELD_MANAGER}},
            }
        )
    except NotAllowed:
        return False
    except Conflicts:  # somebody was faster
        return False
    return True


def apply(cluster: Cluster, plan: Plan, *, force: bool = False) -> list[str]:
    """Apply the plan; gives one line for each thing that was made or changed, and for each field taken by force.

    Raises Conflicts naming managers and fields, InvalidRequest for what the server's validation refuses.
    """
    query = validation(cluster)
    changes = [f"namespace {plan.namespace} created"] if ensure_namespace(cluster) else []
    for secret in plan.secrets:
        if secrets.ensure(cluster, secret):
            changes.append(f"Secret {secret['metadata']['name']} created")
    for document in plan.objects:
        before = cluster.find(resource_of(document), document["metadata"]["name"], document["metadata"]["namespace"])
        after = _apply(cluster, document, query)
        changes += _change(before, after)
    before = cluster.find(resource_of(plan.rayservice), plan.name, plan.namespace)
    try:
        after = _apply(cluster, plan.rayservice, query)
    except Conflicts as conflicts:
        if not force:
            raise
        changes += [f"took {conflict.field} from {conflict.manager}" for conflict in conflicts.found]
        after = cluster.apply(plan.rayservice, force=True, query=query)
    return changes + _change(before, after)


def _apply(cluster: Cluster, document: Object, query: Query) -> Object:
    try:
        return cluster.apply(document, query=query)
    except Conflicts as conflicts:
        raise _explained(document, conflicts) from None


def _explained(document: Object, conflicts: Conflicts) -> Conflicts:
    called = f"{document['kind']} {document['metadata']['name']}"
    found = conflicts.found
    if not found:
        return conflicts
    lines = "\n".join(f"  {one.manager} manages {one.field}" for one in found)
    hint = "`sdctl deploy --force-conflicts` takes them." if document["kind"] == "RayService" else "Rename the object."
    return Conflicts(f"{called} has fields that somebody else manages:\n{lines}", found, hint=_gitops(found) + hint)


def _gitops(found: Iterable[Conflict]) -> str:
    named = sorted({one.manager for one in found if any(tool in one.manager.lower() for tool in GITOPS)})
    if not named:
        return ""
    return f"{', '.join(named)} applies from a repository and would take them back: change it there. "


def _change(before: Object | None, after: Object) -> list[str]:
    called = f"{after['kind']} {after['metadata']['name']}"
    if before is None:
        return [f"{called} created"]
    return [] if _readable(before) == _readable(after) else [f"{called} changed"]


def asked_server(cluster: Cluster, plan: Plan) -> list[Object]:
    """What the server would make of the plan (a dry run there), secrets masked.

    Raises NotFound when the namespace is not there yet: the server cannot try objects in it.
    """
    query = {**validation(cluster), "dryRun": "All"}
    _require_namespace(cluster)
    found = []
    for document in (*plan.secrets, *plan.objects, plan.rayservice):
        where = resource_of(document)
        if document["kind"] == "Secret":
            there = cluster.find(where, document["metadata"]["name"], plan.namespace)
            found.append(there or cluster.create(document, query=query))
            continue
        found.append(_apply(cluster, document, query))
    return [masked(_readable(document)) for document in found]


def _require_namespace(cluster: Cluster) -> None:
    try:
        cluster.get(NAMESPACES, cluster.namespace)
    except NotAllowed:
        return
    except NotFound:
        raise NotFound(
            f"The namespace {cluster.namespace} is not there yet, so the server cannot try anything in it.",
            hint="`sdctl deploy` would create it. Use --dry-run client, or create it first.",
        ) from None


def difference(cluster: Cluster, plan: Plan) -> str:
    """What applying the plan would change, as a unified diff; empty when nothing would. Secrets are masked."""
    try:
        coming = asked_server(cluster, plan)
    except NotFound:
        coming = [masked(document) for document in plan.documents]
    lines: list[str] = []
    for document in coming:
        name, namespace = document["metadata"]["name"], document["metadata"].get("namespace", "")
        live = cluster.find(resource_of(document), name, namespace)
        old = to_yaml(masked(_readable(live))).splitlines() if live else []
        new = to_yaml(document).splitlines()
        title = f"{document['kind']}/{name}"
        lines += difflib.unified_diff(old, new, f"live {title}", f"coming {title}", lineterm="")
    return "\n".join(lines)


def _readable(document: Object) -> Object:
    """Without what only the server writes."""
    kept = {key: value for key, value in document.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in document["metadata"].items() if key not in _SERVERS}
    return kept
