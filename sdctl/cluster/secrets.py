"""The Secrets of a service: made once, never overwritten, never shown."""

import base64
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import at
from sdctl.cluster.resources import SECRETS, labels
from sdctl.errors import NotFound
from sdctl.manifest import Object

TOKEN_KEY = "auth_token"  # noqa: S105  (the field that KubeRay reads)
INCOMING = "0-incoming"  # sorts before every key: clients take the last one, servers accept all


def wanted(rayservice: Object) -> list[Object]:
    """The Secrets that this service needs and sdctl can make, with fresh values."""
    name = str(rayservice["metadata"]["name"])
    found = []
    auth = at(rayservice, "spec", "rayClusterConfig", "authOptions") or {}
    if auth.get("mode") == "token" and auth.get("secretName"):
        found.append(_secret(str(auth["secretName"]), name, TOKEN_KEY))
    keys = keys_name(name)
    if keys in _mounted(at(rayservice, "spec", "rayClusterConfig")):
        found.append(_secret(keys, name, "default"))
    return found


def keys_name(service: str) -> str:
    """The Secret that holds the API keys, a key's name being its tenant's."""
    return f"{service}-api-keys"


def ensure(cluster: Cluster, secret: Object) -> bool:
    """Create the Secret unless there is one of that name; gives whether it was made."""
    if cluster.find(SECRETS, secret["metadata"]["name"], secret["metadata"]["namespace"]):
        return False
    cluster.create(secret)
    return True


def keys(cluster: Cluster) -> dict[str, str]:
    """The API keys by name, oldest name first; raises NotFound when the service has none."""
    found = cluster.find(SECRETS, keys_name(cluster.name))
    if found is None:
        raise NotFound(
            f"The service {cluster.name} in namespace {cluster.namespace} has no Secret {keys_name(cluster.name)}.",
            hint="`sdctl deploy` makes it; --name and --namespace choose another service.",
        )
    data = found.get("data") or {}
    return {key: base64.b64decode(data[key]).decode().strip() for key in sorted(data)}


def offer(cluster: Cluster) -> str:
    """Add a new key that servers accept as soon as they see it and that no client takes yet; gives it."""
    value = secrets.token_hex(32)
    cluster.patch(SECRETS, keys_name(cluster.name), {"stringData": {INCOMING: value}})
    return value


def adopt(cluster: Cluster, value: str, now: datetime, *, drop_old: bool) -> str:
    """Make an offered key the one that clients take; gives its name. With `drop_old` all others end."""
    name = f"key-{now:%Y%m%d%H%M%S}"
    removed = [INCOMING, *(keys(cluster) if drop_old else ())]
    data: dict[str, Any] = dict.fromkeys(removed)
    data[name] = base64.b64encode(value.encode()).decode()
    cluster.patch(SECRETS, keys_name(cluster.name), {"data": data})
    return name


def _secret(name: str, service: str, key: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels(service)},
        "type": "Opaque",
        "stringData": {key: secrets.token_hex(32)},
    }


def _mounted(value: Any) -> set[str]:
    return set(_walk(value))


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("secretName"), str):
            yield value["secretName"]
        for inner in value.values():
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)
