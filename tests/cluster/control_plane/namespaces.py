"""Makes and removes namespaces by hand: nothing finalises them in a bare API server."""

import functools
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tests.cluster.control_plane.plane import ControlPlane, Refused

MERGE = "application/merge-patch+json"
NO_GRACE = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
CLUSTER_SCOPED = (
    "/apis/karpenter.sh/v1/nodeclaims",
    "/apis/karpenter.sh/v1/nodepools",
    "/apis/karpenter.k8s.aws/v1/ec2nodeclasses",
    "/api/v1/nodes",
)


def create(control_plane: ControlPlane) -> str:
    """A new namespace with a random name."""
    name = f"test-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.request("POST", "/api/v1/namespaces", body)
    return name


def remove(control_plane: ControlPlane, name: str) -> None:
    """Delete a namespace and all in it, finalizers or not."""
    with suppress(Refused):
        control_plane.request("DELETE", f"/api/v1/namespaces/{name}")
    while not sweep(control_plane, name, force=True):
        pass
    finalise(control_plane, name)


def remove_cluster_scoped(control_plane: ControlPlane) -> None:
    """Delete every node and everything of Karpenter's."""
    for path in CLUSTER_SCOPED:
        for item in control_plane.request("GET", path)["items"]:
            _delete(control_plane, f"{path}/{item['metadata']['name']}", item, force=True)


def sweep(control_plane: ControlPlane, name: str, *, force: bool = False) -> bool:
    """Delete what is in a namespace, with `force` its finalizers too; whether nothing was there."""
    empty = True
    for path in _paths(control_plane, name):
        for item in control_plane.request("GET", path)["items"]:
            empty = False
            if force or "deletionTimestamp" not in item["metadata"]:
                _delete(control_plane, f"{path}/{item['metadata']['name']}", item, force=force)
    return empty


def finalise(control_plane: ControlPlane, name: str) -> None:
    """Let a namespace go that is being deleted and is empty."""
    path = f"/api/v1/namespaces/{name}"
    with suppress(Refused):
        namespace = control_plane.request("GET", path)
        namespace["spec"]["finalizers"] = []
        control_plane.request("PUT", f"{path}/finalize", namespace)


def _delete(control_plane: ControlPlane, path: str, item: dict[str, Any], *, force: bool) -> None:
    with suppress(Refused):  # gone already
        if force and item["metadata"].get("finalizers"):
            control_plane.request("PATCH", path, {"metadata": {"finalizers": None}}, content=MERGE)
        control_plane.request("DELETE", path, NO_GRACE)


def _paths(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    for group, resource in _deletable(control_plane):
        yield f"{group}/namespaces/{namespace}/{resource}"


@functools.lru_cache
def _deletable(control_plane: ControlPlane) -> list[tuple[str, str]]:
    """(group path, plural) of every namespaced kind that can be listed and deleted."""
    groups = ["/api/v1"]
    for group in control_plane.request("GET", "/apis")["groups"]:
        if group["name"] != "events.k8s.io":  # the same objects as the core group's
            groups.append(f"/apis/{group['preferredVersion']['groupVersion']}")
    found: list[tuple[str, str]] = []
    for group in groups:
        for resource in control_plane.request("GET", group)["resources"]:
            if resource["namespaced"] and {"list", "delete"} <= set(resource["verbs"]):
                found.append((group, resource["name"]))
    return found
