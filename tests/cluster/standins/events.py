"""Writes events as their reporters do: new API (no lastTimestamp) or old, once for each different note."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.cluster.standins.mirror import Mirror, Object, now


@dataclass
class Events:
    """Events of one namespace."""

    mirror: Mirror
    _seen: set[tuple[str, str, str]] = field(default_factory=set)

    async def warn(self, about: Object, reason: str, note: str, reporter: str) -> None:
        await self.record(about, reason, note, reporter, type_="Warning")

    async def record(self, about: Object, reason: str, note: str, reporter: str, *, type_: str = "Normal") -> None:
        """`reporter` "kubelet" or "karpenter" writes through the core API, all others through events.k8s.io."""
        metadata = about["metadata"]
        if (metadata["uid"], reason, note) in self._seen:
            return
        self._seen.add((metadata["uid"], reason, note))
        named = {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": self.mirror.namespace}
        reference = {
            "apiVersion": about.get("apiVersion", "v1"),
            "kind": about.get("kind", "Pod"),
            "name": metadata["name"],
            "namespace": self.mirror.namespace,
            "uid": metadata["uid"],
        }
        event = {"metadata": named, "reason": reason, "type": type_}
        if reporter in ("kubelet", "karpenter"):
            times = {"firstTimestamp": now(), "lastTimestamp": now(), "count": 1}
            old = {"involvedObject": reference, "message": note, "source": {"component": reporter}}
            await self.mirror.create("events", event | old | times)
            return
        new = {"regarding": reference, "note": note, "action": reason, "reportingController": reporter}
        micro = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        await self.mirror.create(
            "events.k8s.io", event | new | {"reportingInstance": f"{reporter}-0", "eventTime": micro}
        )
