"""What a target offers whose service is reached through a forward: where to listen, and a forward that is open."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sdctl.targets.base import Endpoint

LOOPBACK = "127.0.0.1"


def _silent(message: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Listen:
    """Where a forward listens, whom it tells what happens, and how long it tries (seconds)."""

    address: str = LOOPBACK
    port: int = 0  # 0: a free one
    or_free: bool = False  # take a free one when `port` is in use
    notify: Callable[[str], None] = _silent  # called from any thread
    ready_s: float = 30.0  # until the other end has answered once
    patience_s: float = 60.0  # for one connection, while pods are replaced
    token: str = field(default="", repr=False)  # the service's key, where the user gave one


@dataclass(frozen=True)
class Forward:
    """An open forward that has been seen to work; `check` raises what has made it impossible since."""

    endpoint: Endpoint
    check: Callable[[], None]


@runtime_checkable
class Forwards(Protocol):
    """A target that can forward `serve` and `dashboard` to chosen ports."""

    def forward(self, what: str, listen: Listen) -> AbstractContextManager[Forward]:
        """Open inside the block; raises NotFound, NotAllowed, Unreachable, InvalidRequest (port in use)."""
