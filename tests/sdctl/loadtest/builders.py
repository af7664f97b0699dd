"""Records and transitions as a run makes them."""

from typing import Any

from sdctl.loadtest.records import Record
from sdctl.loadtest.transitions import Transition


def record(number: int, done: float | None, *, latency: float = 1.0, outcome: str = "ok", **more: Any) -> Record:
    """A request that ended at `done` after `latency` seconds."""
    sent = 1001.0 if done is None else done - latency
    return Record(number, "p", sent, sent, done, done, outcome, **more)


def change(kind: str, name: str, what: str, at: float, **detail: Any) -> Transition:
    """A transition whose object time is known."""
    return Transition(kind, name, what, at + 0.4, at, "test", detail)
