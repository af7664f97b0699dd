"""How far the clocks of others are from ours, from the Date headers of their answers; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from sdctl.loadtest.transitions import Transition

# Whose clock a transition's own time is of: Serve's and Ray's are of the pods, objects' of the API server's machines.
CLOCKS = {"serve": "service", "ray": "service", "kubernetes": "api_server"}


@dataclass(frozen=True)
class Look:
    """One question: our clock when it went and when its answer came, and the server's Date (epoch s).

    `behind` is how far that Date may be behind the moment of the answer: it is cut to its second, and some servers
    renew it only now and then.
    """

    sent: float
    received: float
    told: float
    behind: float = 1.0


@dataclass(frozen=True)
class Skew:
    """A clock minus ours, in seconds; the truth is within `plus_minus` of it."""

    seconds: float
    plus_minus: float

    @property
    def applied(self) -> float:
        """What to take off that clock's times: nothing where it may well be right."""
        return self.seconds if abs(self.seconds) > self.plus_minus else 0.0

    def to_json(self) -> dict[str, float]:
        """One clock of `clocks` in summary.json."""
        return {"seconds": self.seconds, "plus_minus": self.plus_minus, "applied": self.applied}


def date(header: str) -> float | None:
    """A Date header as epoch seconds; None where it is none."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None


def estimate(looks: Sequence[Look]) -> Skew | None:
    """The middle of what all looks allow: each Date was taken somewhere between question and answer, or before."""
    if not looks:
        return None
    least = max(look.told - look.received for look in looks)
    most = min(look.told + look.behind - look.sent for look in looks)
    return Skew((least + most) / 2, abs(most - least) / 2)


def corrected(transitions: Iterable[Transition], clocks: Mapping[str, float]) -> list[Transition]:
    """The transitions in our own time; `clocks` maps a clock of CLOCKS to the seconds to take off."""
    return [_corrected(change, clocks.get(CLOCKS.get(change.source, ""), 0.0)) for change in transitions]


def _corrected(change: Transition, seconds: float) -> Transition:
    if not seconds:
        return change
    detail: dict[str, Any] = dict(change.detail)
    if detail.get("start_time") is not None:
        detail["start_time"] = float(detail["start_time"]) - seconds
    return replace(change, at=None if change.at is None else change.at - seconds, detail=detail)


def taken_off(clocks: Mapping[str, Mapping[str, float] | None]) -> dict[str, float]:
    """The seconds to take off each clock, from the `clocks` of a summary."""
    return {name: float(found["applied"]) for name, found in clocks.items() if found}
