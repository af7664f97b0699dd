"""One service on this machine for the whole test session, started and ended by the real commands."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sdctl.local import ports
from tests.local.cli import Sdctl


@dataclass(frozen=True)
class LocalService:
    """A running service: its endpoint, and `sdctl` with the state that knows it. Tests must leave it as it was."""

    url: str
    sdctl: Sdctl
    headers: dict[str, str] = field(default_factory=dict)  # the local target asks for no key


@pytest.fixture(scope="session")
def local_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """The built-in model on a free port, one replica."""
    sdctl = Sdctl(tmp_path_factory.mktemp("state"))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped test run ends its Ray too
    try:
        document = sdctl.json("deploy", "--replicas", "1", "--port", str(ports.free(1)[0]))
        yield LocalService(document["endpoint"]["url"], sdctl)
    finally:
        signal.signal(signal.SIGTERM, before)
        left = sdctl.json("cleanup")
    assert left["left"] == []
