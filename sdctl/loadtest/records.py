"""What became of every request: one record each, counted, and exact figures from the records."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdctl.errors import InvalidRequest, SdctlError

OUTCOMES = (
    "ok",
    "wrong",
    "mismatch",
    "http_error",
    "refused_busy",
    "timed_out",
    "connection_lost",
    "unfinished",
)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
LATE_S = 0.05  # an open-loop request that starts later than this after its time is counted as late


@dataclass(frozen=True)
class Record:
    """One request. Times are epoch seconds; None where that moment never came."""

    id: int
    prompt_id: str
    scheduled: float
    sent: float
    first_byte: float | None
    done: float | None
    outcome: str
    status: int | None = None
    bytes: int = 0
    seed: int | None = None
    replica: str = ""
    request_id: str = ""
    batch_size: int | None = None
    timing: str = ""
    verified: bool = False
    error: str = ""

    @property
    def latency_s(self) -> float | None:
        """From scheduled to done: what a user waits, hidden by no slow server."""
        return None if self.done is None else self.done - self.scheduled

    def to_json(self) -> dict[str, Any]:
        """One line of requests.jsonl."""
        return {"latency_s": self.latency_s, **vars(self)}


class Ledger:
    """Takes the child's events and keeps each request exactly once."""

    def __init__(self) -> None:
        self._open: dict[int, dict[str, Any]] = {}
        self.records: list[Record] = []
        self.started: float | None = None

    def take(self, event: Mapping[str, Any]) -> Record | None:
        """Book one event of the child; gives the record when a request has ended."""
        kind = event.get("event")
        if kind == "started":
            self.started = float(event["time"])
        elif kind == "sent":
            self._open[int(event["id"])] = dict(event)
        elif kind == "done":
            self._open.pop(int(event["id"]), None)
            record = from_event(event)
            self.records.append(record)
            return record
        return None

    @property
    def in_flight(self) -> int:
        """Requests sent and not ended."""
        return len(self._open)

    @property
    def sent(self) -> int:
        """All requests sent so far."""
        return len(self._open) + len(self.records)

    def close(self) -> list[Record]:
        """Book what the child never ended (it was killed, or its pipe was lost) as unfinished; gives those."""
        left = [from_event({**event, "outcome": "unfinished"}) for event in self._open.values()]
        self.records += left
        self._open.clear()
        return left


def from_event(event: Mapping[str, Any]) -> Record:
    """A record from the child's JSON or from a line of requests.jsonl; an unknown outcome is a bug, not data."""
    outcome = str(event["outcome"])
    if outcome not in OUTCOMES:
        raise SdctlError(f"The load generator gave an unknown outcome {outcome!r}.")
    known = {key: event[key] for key in Record.__dataclass_fields__ if key in event}
    known["done"] = event.get("done") if outcome != "unfinished" else None
    return Record(**{"first_byte": None, **known})


def outcomes(records: Iterable[Record]) -> dict[str, int]:
    """How many requests ended each way, every outcome named."""
    counted = Counter(record.outcome for record in records)
    return {name: counted.get(name, 0) for name in OUTCOMES}


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The exact quantile of sorted values by linear interpolation; None of none."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def latencies(records: Iterable[Record]) -> list[float]:
    """Sorted latencies in seconds of the good images."""
    return sorted(r.latency_s for r in records if r.outcome == "ok" and r.latency_s is not None)


def latency_summary(records: Iterable[Record]) -> dict[str, float | None]:
    """Exact quantiles, mean and extremes of the good images' latency, in seconds."""
    values = latencies(records)
    table: dict[str, float | None] = {f"p{share * 100:g}": quantile(values, share) for share in QUANTILES}
    table |= {
        "min": values[0] if values else None,
        "mean": sum(values) / len(values) if values else None,
        "max": values[-1] if values else None,
    }
    return table


def outside(records: Iterable[Record]) -> list[float]:
    """Sorted seconds of good requests that the service's own Server-Timing does not account for: the way, the proxy."""
    found = []
    for record in records:
        own = [float(each) for each in re.findall(r"dur=([\d.]+)", record.timing)]
        if record.outcome == "ok" and record.done is not None and own:
            found.append(max(0.0, record.done - record.sent - sum(own) / 1000))
    return sorted(found)


def same(said: str, replica: str) -> bool:
    """Whether an answer's X-Replica is this replica: Serve's full id ends in the unique part that answers carry."""
    return bool(said) and (said == replica or replica.endswith(said) or said.endswith(replica))


def late(records: Iterable[Record]) -> int:
    """Open-loop requests that the generator itself started too late."""
    return sum(record.sent - record.scheduled > LATE_S for record in records)


@dataclass(frozen=True)
class Objective:
    """One objective, such as `p95<10s`, `errors<1%` or `goodput>2/s`."""

    text: str
    measure: str  # p50 … p99.9, errors, goodput
    below: bool
    limit: float  # seconds, share, or images per second

    def judge(self, records: Sequence[Record], seconds: float) -> tuple[bool, float | None]:
        """Whether it is met, and the value; no value (nothing succeeded) is not met."""
        value = self._value(records, seconds)
        met = value is not None and (value < self.limit if self.below else value > self.limit)
        return met, value

    def _value(self, records: Sequence[Record], seconds: float) -> float | None:
        if self.measure == "errors":
            return sum(r.outcome != "ok" for r in records) / len(records) if records else None
        if self.measure == "goodput":
            return sum(r.outcome == "ok" for r in records) / seconds if seconds > 0 else None
        return quantile(latencies(records), float(self.measure[1:]) / 100)


def objective(text: str) -> Objective:
    """Read one --slo; raises InvalidRequest with an example when it cannot be read."""
    compact = text.replace(" ", "").lower()
    for sign in "<>":
        measure, found, limit = compact.partition(sign)
        if found:
            try:
                return _objective(text, measure, sign, limit)
            except (ValueError, KeyError):
                break
    raise InvalidRequest(
        f"--slo {text} is no objective.", hint="Use --slo 'p95<10s', --slo 'errors<1%' or --slo 'goodput>2/s'."
    )


def _objective(text: str, measure: str, sign: str, limit: str) -> Objective:
    if measure == "errors" and sign == "<":
        value = float(limit[:-1]) / 100 if limit.endswith("%") else float(limit)
    elif measure == "goodput" and sign == ">":
        number, _, unit = limit.partition("/")
        value = float(number) / {"": 1.0, "s": 1.0, "m": 60.0}[unit]
    elif measure.startswith("p") and sign == "<" and 0 < float(measure[1:]) <= 100:
        value = float(limit[:-2]) / 1000 if limit.endswith("ms") else float(limit.removesuffix("s"))
    else:
        raise ValueError(text)
    if not 0 <= value < 1e9:
        raise ValueError(text)
    return Objective(text, measure, sign == "<", value)
