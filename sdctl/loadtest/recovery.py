"""What users felt before, while and after it scaled, and when everything that was added had gone again; pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sdctl.loadtest.records import Record, latencies, quantile
from sdctl.loadtest.transitions import Transition

GOOD_SHARE = 0.95
# What counts as one more of its kind: events tell of pods that are long gone, so only sight of the object does.
_BORN = {"replica": (), "ray_node": ("alive",), "pod": ("created",), "nodeclaim": ("created",), "node": ("created",)}


def slo_recovered(records: Sequence[Record], burst: float, slo_s: float | None, window_s: float = 30.0) -> float | None:
    """Seconds from the burst to the first window that met the latency goal after one that did not.

    0 when no window missed it; None when no goal was set or it was not met again. A window meets it when at least 95 %
    of the requests that ended in it were good images within the goal.
    """
    ended = sorted((r.done, _within(r, slo_s or 0.0)) for r in records if r.done)
    if slo_s is None or not ended:
        return None
    missed = False
    start, last = burst, ended[-1][0]
    while start <= last:
        window = [good for done, good in ended if start <= done < start + window_s]
        if window:
            met = sum(window) >= GOOD_SHARE * len(window)
            if missed and met:
                return start - burst
            missed = missed or not met
        start += window_s / 6
    return None if missed else 0.0


def attainment(
    records: Sequence[Record], *, decided: float | None, scaled: float | None, slo_s: float | None
) -> list[dict[str, Any]]:
    """Latency and share within the goal before the scale decision, until the last new replica ran, and after it.

    A request belongs to the stretch in which it was to be sent. Without a decision there is one stretch only.
    """
    infinite = float("inf")
    first = infinite if decided is None else decided
    second = infinite if scaled is None else max(scaled, first)
    spans = [
        ("before the scale decision" if decided is not None else "the whole run", -infinite, first),
        ("while it scaled", first, second),
        ("after the last new replica ran", second, infinite),
    ]
    return [
        _stretch(name, [r for r in records if begin <= r.scheduled < end], slo_s)
        for name, begin, end in spans
        if begin < end
    ]


def _stretch(name: str, mine: Sequence[Record], slo_s: float | None) -> dict[str, Any]:
    values = latencies(mine)
    within = None if slo_s is None or not mine else sum(_within(record, slo_s) for record in mine) / len(mine)
    return {
        "stretch": name,
        "requests": len(mine),
        "good": len(values),
        "p50": quantile(values, 0.5),
        "p95": quantile(values, 0.95),
        "within_slo": within,
    }


def _within(record: Record, slo_s: float) -> bool:
    return record.outcome == "ok" and record.latency_s is not None and record.latency_s <= slo_s


def levels(transitions: Iterable[Transition], kind: str) -> tuple[int, list[tuple[float, int]]]:
    """How many of a kind there were before the run, and each later number (time, count); a state is no end of one."""
    alive: set[str] = set()
    before: set[str] = set()
    curve: list[tuple[float, int]] = []
    for change in sorted((t for t in transitions if t.kind == kind), key=lambda t: t.time):
        if change.what == "gone":
            alive.discard(change.name)
        elif change.what in _BORN[kind] or not _BORN[kind]:
            alive.add(change.name)
            if change.detail.get("baseline"):
                before.add(change.name)
        curve.append((change.time, len(alive)))
    return len(before), curve


def grew(transitions: Sequence[Transition]) -> bool:
    """Whether there was ever more of anything than before the run."""
    return any(any(count > base for _, count in curve) for base, curve in _all(transitions).values())


def drain(transitions: Sequence[Transition], records: Sequence[Record]) -> float | None:
    """Seconds from the last answer until there was no more of anything than before the run; None while there is.

    Counted, not by name: going down, Serve may end an old replica and keep a new one.
    """
    ended = max((r.done for r in records if r.done is not None), default=None)
    if ended is None or not grew(transitions):
        return None
    moments = []
    for base, curve in _all(transitions).values():
        if curve and curve[-1][1] > base:
            return None
        above = [place for place, (_, count) in enumerate(curve) if count > base]
        if above:
            moments.append(curve[above[-1] + 1][0])
    return max(0.0, max(moments) - ended)


def _all(transitions: Iterable[Transition]) -> Mapping[str, tuple[int, list[tuple[float, int]]]]:
    every = list(transitions)
    return {kind: levels(every, kind) for kind in _BORN}
