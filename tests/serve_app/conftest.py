"""The service's HTTP application with faked replicas behind it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve_app.api import make_api
from serve_app.config import ServiceConfig
from serve_app.gateway import Gateway
from serve_app.keys import KeyRing
from serve_app.service import Service
from tests.fakes.service_replicas import Clock, FakeReplicas

Use = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


@dataclass
class Front:
    """An ingress replica without Serve: real routes and gateway, faked replicas."""

    replicas: FakeReplicas
    clock: Clock
    gateway: Gateway
    keys: KeyRing | None = None
    answered: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def api(self) -> FastAPI:
        """The application that `run` calls."""
        return make_api(Service(self.gateway, self.keys, lambda code, tenant: self.answered.append((code, tenant))))

    def run(self, use: Use, *, started: bool = True) -> None:
        """Call `use` with a client; the replicas have been looked at once unless told otherwise."""

        async def body() -> None:
            if started:
                await self.gateway.refresh()
            transport = httpx.ASGITransport(self.api, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", trust_env=False) as client:
                await use(client)

        asyncio.run(asyncio.wait_for(body(), 60))


@pytest.fixture
def front() -> Front:
    """Open to everyone, default limits."""
    return make_front()


def make_front(key_folder: Path | None = None, **config: Any) -> Front:
    """A front with these arguments of the application."""
    replicas, clock = FakeReplicas(), Clock()
    keys = KeyRing(str(key_folder), clock=clock) if key_folder else None
    gateway = Gateway(replicas, ServiceConfig(auth="open", **config), clock=clock)
    return Front(replicas, clock, gateway, keys)
