"""Ray behind a RayCluster's head pod: started with the pod, given the Serve configuration, asked how it does."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import yaml

from tests.cluster.standins.mirror import Object

PATH = "/api/serve/applications/"


class Backend(Protocol):
    """A Ray with Serve on this machine."""

    @property
    def ports(self) -> Mapping[int, int]:
        """The head pod's port (8265, 8000) → a port of 127.0.0.1."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What opens its dashboard."""

    def close(self) -> None:
        """End it."""


Maker = Callable[[str], Backend]  # takes the RayCluster's name


@dataclass
class Serve:
    """One cluster's Ray. `applications` is what its dashboard said last, before the newest configuration went in."""

    cluster: str
    backend: Backend | None = None
    config: str = ""  # what it shall serve
    applications: dict[str, Any] = field(default_factory=dict)
    reachable: bool = True
    _sent: str = ""

    async def run(self, maker: Maker, step_s: Callable[[], float]) -> None:
        """Start the backend, then keep its configuration and `applications` up to date until cancelled."""
        starting = asyncio.ensure_future(asyncio.to_thread(maker, self.cluster))
        try:
            self.backend = await asyncio.shield(starting)
            url = f"http://127.0.0.1:{self.backend.ports[8265]}{PATH}"
            async with aiohttp.ClientSession(headers=dict(self.backend.headers)) as session:
                while True:
                    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                        await self._exchange(session, url)
                    await asyncio.sleep(step_s())
        finally:
            backend = await starting  # also where its pod has gone meanwhile
            await asyncio.to_thread(backend.close)

    async def _exchange(self, session: aiohttp.ClientSession, url: str) -> None:
        if not self.reachable:
            return
        async with session.get(url) as answer:
            if answer.status == 200:
                self.applications = (await answer.json())["applications"]
        if self.config and self.config != self._sent:
            config = self.config
            async with session.put(url, json=yaml.safe_load(config)) as answer:
                if answer.status == 200:
                    self._sent = config

    def statuses(self) -> Object:
        """`applicationStatuses` of a RayService."""
        return {
            name: told(application)
            | {"serveDeploymentStatuses": {key: told(item) for key, item in application.get("deployments", {}).items()}}
            for name, application in self.applications.items()
        }

    def running(self) -> bool:
        """Whether there are applications, and all run."""
        return bool(self.applications) and all(item["status"] == "RUNNING" for item in self.applications.values())


def told(item: Object) -> Object:
    """Status and message of an application or a deployment."""
    message = item.get("message")
    return {"status": item["status"]} | ({"message": message} if message else {})
