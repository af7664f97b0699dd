"""The objects that the stand-ins work with, kept up to date by watches; every write goes through here."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from tests.cluster.control_plane import ControlPlane, Refused
from tests.cluster.control_plane.plane import token

MERGE = "application/merge-patch+json"
GROUPS = {
    "rayservices": "/apis/ray.io/v1",
    "rayclusters": "/apis/ray.io/v1",
    "nodepools": "/apis/karpenter.sh/v1",
    "nodeclaims": "/apis/karpenter.sh/v1",
    "ec2nodeclasses": "/apis/karpenter.k8s.aws/v1",
    "deployments": "/apis/apps/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "events.k8s.io": "/apis/events.k8s.io/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "ingresses": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1beta1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
}
CLUSTER_SCOPED = {"nodes", "namespaces", "nodepools", "nodeclaims", "ec2nodeclasses"}
FOLLOWED = (
    *("pods", "services", "secrets", "configmaps", "rayservices", "rayclusters"),
    *("nodes", "nodepools", "nodeclaims", "ec2nodeclasses"),
)
WATCH_S = 300

Object = dict[str, Any]
Objects = list[Object]


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """Where a kind (by its plural), an object or its subresource is in the API."""
    place = "" if kind in CLUSTER_SCOPED else f"/namespaces/{namespace}"
    plural = kind.partition(".")[0]
    return "/".join(part for part in (f"{GROUPS.get(kind, '/api/v1')}{place}/{plural}", name, subresource) if part)


def now() -> str:
    """The present, as the API writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


@dataclass
class Mirror:
    """Objects by kind and name; `changed` is set whenever one differs."""

    control_plane: ControlPlane
    namespace: str
    session: aiohttp.ClientSession
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _objects: dict[str, dict[str, Object]] = field(default_factory=lambda: {kind: {} for kind in FOLLOWED})
    _gone: set[str] = field(default_factory=set)  # UIDs

    def get(self, kind: str, name: str) -> Object | None:
        return self._objects[kind].get(name)

    def list(self, kind: str, labels: dict[str, str] | None = None) -> Objects:
        """A kind's objects, those with these labels; safe to call from any thread."""
        return [item for item in [*self._objects[kind].values()] if select(item, labels or {})]

    def owned(self, kind: str, owner: Object) -> Objects:
        """The objects whose controller is `owner`."""
        return [item for item in self.list(kind) if owner["metadata"]["uid"] in owners(item)]

    async def create(self, kind: str, body: Object) -> Object | None:
        """The new object, or None where it exists already or its namespace is going; raises Refused otherwise."""
        try:
            return self._keep(kind, await self.request("POST", path(kind, self.namespace), body))
        except Refused as refusal:
            if refusal.status in (404, 409) or "being terminated" in str(refusal):
                return None
            raise

    async def patch(self, kind: str, name: str, body: Object, subresource: str = "") -> None:
        """Merge `body` into an object that may be gone."""
        with gone_is_fine():
            place = path(kind, self.namespace, name, subresource)
            self._keep(kind, await self.request("PATCH", place, body, content=MERGE))

    async def put_status(self, kind: str, item: Object) -> None:
        """Replace an object's status; not where it has changed meanwhile (the next round sees that)."""
        with gone_is_fine():
            place = path(kind, self.namespace, item["metadata"]["name"], "status")
            self._keep(kind, await self.request("PUT", place, item))

    async def delete(self, kind: str, name: str, grace_s: int | None = None) -> None:
        """Ask for an object's deletion; it may be gone already."""
        with gone_is_fine():
            options: Object = {"propagationPolicy": "Background"}
            options |= {} if grace_s is None else {"gracePeriodSeconds": grace_s}
            await self.request("DELETE", path(kind, self.namespace, name), options)

    async def request(self, method: str, place: str, body: Any = None, *, content: str = "application/json") -> Object:
        """What the API server answers; raises Refused, or aiohttp.ClientError where it is away."""
        data = None if body is None else json.dumps(body)
        url = self.control_plane.url + place
        async with self.session.request(method, url, data=data, headers={"Content-Type": content}) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise Refused(answer.status, text)
            return dict(json.loads(text))

    async def sync(self, kind: str) -> int:
        """List a kind anew; its resource version."""
        answer = await self.request("GET", path(kind, self.namespace))
        listed = {item["metadata"]["name"] for item in answer["items"]}
        at = version(answer)
        for name, item in [*self._objects[kind].items()]:
            if name not in listed and version(item) <= at:
                self._forget(kind, item)
        for item in answer["items"]:
            self._keep(kind, item)
        return at

    async def follow(self, kind: str) -> None:
        """Keep a kind up to date for ever, through broken watches and restarts of the API server."""
        while True:
            try:
                await self._watch(kind, await self.sync(kind))
            except (aiohttp.ClientError, OSError, Refused, TimeoutError, json.JSONDecodeError):
                await asyncio.sleep(0.2)

    async def _watch(self, kind: str, since: int) -> None:
        query = {"watch": "1", "resourceVersion": str(since), "timeoutSeconds": str(WATCH_S)}
        url = self.control_plane.url + path(kind, self.namespace)
        async with self.session.get(url, params=query) as answer:
            if answer.status != 200:
                raise Refused(answer.status, await answer.text())
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                (self._forget if event["type"] == "DELETED" else self._keep)(kind, event["object"])

    def _keep(self, kind: str, item: Object) -> Object:
        if kind in self._objects and item["metadata"].get("uid") not in self._gone:
            known = self._objects[kind].get(item["metadata"]["name"])
            if known is None or version(known) < version(item):
                self._objects[kind][item["metadata"]["name"]] = item
                self.changed.set()
        return item

    def _forget(self, kind: str, item: Object) -> None:
        self._gone.add(item["metadata"]["uid"])  # an answer from before its end may still come
        known = self._objects[kind].get(item["metadata"]["name"])
        if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]:
            del self._objects[kind][item["metadata"]["name"]]
            self.changed.set()


@contextlib.contextmanager
def gone_is_fine() -> Iterator[None]:
    """Let pass that an object is gone or has changed."""
    try:
        yield
    except Refused as refusal:
        if refusal.status not in (404, 409):
            raise


def owners(item: Object) -> set[str]:
    """The UIDs of an object's owners."""
    return {owner["uid"] for owner in item["metadata"].get("ownerReferences", [])}


def select(item: Object, labels: dict[str, str]) -> bool:
    """Whether an object has all these labels."""
    own: dict[str, str] = item["metadata"].get("labels", {})
    return labels.items() <= own.items()


def connect(control_plane: ControlPlane) -> aiohttp.ClientSession:
    """A session as admin, for as many watches as wanted."""
    context = ssl.create_default_context(cafile=str(control_plane.certificate))
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30)
    headers = {"Authorization": f"Bearer {token('admin')}"}
    return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers, read_bufsize=2**24)
