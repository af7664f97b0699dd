"""The garbage collector and the namespace controller: what a controller manager would do."""

import asyncio
import contextlib
from dataclasses import dataclass

import aiohttp

from tests.cluster.control_plane import Refused, namespaces
from tests.cluster.standins.mirror import Mirror, Object, owners, path

OWNERS = ("RayService", "RayCluster")
DEPENDENTS = ("pods", "services", "secrets", "configmaps", "rayclusters")
FINALIZERS = {"foregroundDeletion", "orphan"}
NAMESPACE_S = 0.2


@dataclass
class Collector:
    """Deletes what has lost its owner, and lets namespaces go that are being deleted."""

    mirror: Mirror

    async def reconcile(self) -> None:
        alive = {item["metadata"]["uid"] for kind in ("rayservices", "rayclusters") for item in self.mirror.list(kind)}
        for kind in DEPENDENTS:
            for item in self.mirror.list(kind):
                references = item["metadata"].get("ownerReferences", [])
                ours = [entry for entry in references if entry["kind"] in OWNERS]
                going = "deletionTimestamp" in item["metadata"]
                if ours and not going and not any(entry["uid"] in alive for entry in ours):
                    await self.mirror.delete(kind, item["metadata"]["name"])
        for kind in ("rayservices", "rayclusters"):
            for item in self.mirror.list(kind):
                await self._finish(kind, item)

    async def _finish(self, kind: str, owner: Object) -> None:
        """Foreground deletion: the dependents first, then the owner."""
        finalizers = owner["metadata"].get("finalizers", [])
        if "deletionTimestamp" not in owner["metadata"] or not FINALIZERS & {*finalizers}:
            return
        dependents = [
            (name, item)
            for name in DEPENDENTS
            for item in self.mirror.list(name)
            if owner["metadata"]["uid"] in owners(item)
        ]
        if dependents and "foregroundDeletion" in finalizers:
            for name, item in dependents:
                if "deletionTimestamp" not in item["metadata"]:
                    await self.mirror.delete(name, item["metadata"]["name"])
            return
        rest = [entry for entry in finalizers if entry not in FINALIZERS]
        await self.mirror.patch(kind, owner["metadata"]["name"], {"metadata": {"finalizers": rest or None}})

    async def finish_namespace(self) -> None:
        """For ever: empty the namespace once it is being deleted, and let it go."""
        plane, name = self.mirror.control_plane, self.mirror.namespace
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, Refused):
                namespace = await self.mirror.request("GET", path("namespaces", "", name))
                if namespace["status"]["phase"] == "Terminating" and await asyncio.to_thread(
                    namespaces.sweep, plane, name
                ):
                    await asyncio.to_thread(namespaces.finalise, plane, name)
            await asyncio.sleep(NAMESPACE_S)
