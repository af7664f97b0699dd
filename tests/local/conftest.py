"""One service on this machine for the whole test session, started and ended by the real commands."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from sdctl.local import ports
from tests.local.cli import DEADLINE_S, Sdctl, named, session


@dataclass(frozen=True)
class LocalService:
    """A running service: its endpoint, and `sdctl` with the state that knows it. Tests must leave it as it was."""

    url: str
    sdctl: Sdctl
    headers: dict[str, str] = field(default_factory=dict)  # the local target asks for no key

    def new_client(self) -> httpx.Client:
        """A client with the service's headers that tries nothing twice."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=DEADLINE_S, trust_env=False)

    def pid(self, title: str) -> int:
        """The number of its one process with `title` in its command line."""
        return named(session(self.sdctl.record["leader"]["pid"]), title)


@contextmanager
def deployed(state_home: Path, *words: str, headers: dict[str, str] | None = None) -> Iterator[LocalService]:
    """One replica on a free port, until the block ends; then nothing is left."""
    sdctl = Sdctl(state_home)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped test run ends its Ray too
    try:
        document = sdctl.json("deploy", "--replicas", "1", "--port", str(ports.free(1)[0]), *words)
        yield LocalService(document["endpoint"]["url"], sdctl, headers or {})
    finally:
        signal.signal(signal.SIGTERM, before)
        left = sdctl.json("cleanup")
    assert left["left"] == []


@pytest.fixture(scope="session")
def local_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """The built-in model as shipped."""
    with deployed(tmp_path_factory.mktemp("state")) as service:
        yield service
