"""From raw transitions and records to lanes, phases and headlines; pure, time only from the data.

A missing mark makes a phase unknown (None), never zero. Phases can be skipped (a warm node has no claim) and marks can
come in another order than the usual one: server clocks tick in whole seconds, so a negative length of up to two seconds
is shown as zero and flagged, a longer one makes the phase unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sdctl.loadtest.records import Record, same
from sdctl.loadtest.recovery import attainment, drain, slo_recovered
from sdctl.loadtest.transitions import Transition

SKEW_S = 2.0

# Phase: where it begins (the latest of these that is known) and ends (the first of these that is known).
PHASES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("decide", ("burst",), ("decided",)),
    ("provision", ("pod_created", "claim_created", "decided"), ("launched",)),
    ("boot", ("launched",), ("registered",)),
    ("gpu", ("registered",), ("gpu_usable",)),
    ("pull", ("bound",), ("pulled",)),
    ("start", ("bound", "pulled", "decided"), ("ray_alive", "container_started")),
    ("load", ("asked", "ray_alive", "container_started"), ("running",)),
    ("first_image", ("running",), ("first_image",)),
)


@dataclass(frozen=True)
class Mark:
    """A moment of a lane (epoch s) and where it was read."""

    time: float
    source: str


@dataclass(frozen=True)
class Phase:
    """One phase of a lane; `seconds` None means unknown; `flag` says when a clock had to be mended."""

    name: str
    seconds: float | None
    begin: float | None = None
    end: float | None = None
    source: str = ""
    flag: str = ""


@dataclass(frozen=True)
class Lane:
    """One new replica: its marks, its phases, and its first image against its later ones."""

    name: str
    node: str
    marks: Mapping[str, Mark]
    phases: tuple[Phase, ...]
    gone: float | None = None
    claim: str = ""  # the NodeClaim of its machine, where there is one
    first_request_penalty_s: float | None = None


@dataclass(frozen=True)
class Timeline:
    """All lanes and the headline figures in seconds; None is unknown."""

    burst: float
    lanes: tuple[Lane, ...]
    headlines: Mapping[str, float | None] = field(default_factory=dict)
    dominant_phase: str = ""
    attainment: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """The `timeline` of summary.json."""
        return {
            "burst": self.burst,
            "headlines": dict(self.headlines),
            "dominant_phase": self.dominant_phase or None,
            "attainment": [dict(stretch) for stretch in self.attainment],
            "lanes": [
                {
                    "replica": lane.name,
                    "node": lane.node,
                    "nodeclaim": lane.claim or None,
                    "marks": {name: vars(mark) for name, mark in lane.marks.items()},
                    "phases": [vars(phase) for phase in lane.phases],
                    "gone": lane.gone,
                    "first_request_penalty_s": lane.first_request_penalty_s,
                }
                for lane in self.lanes
            ],
        }


def build(
    transitions: Sequence[Transition], records: Sequence[Record], *, burst: float, slo_s: float | None = None
) -> Timeline:
    """Derive the timeline of one run; `burst` is when its first request was sent (epoch s), `slo_s` a latency goal."""
    ordered = sorted(transitions, key=lambda change: change.time)
    decisions = _decisions(ordered)
    replicas = [t for t in ordered if t.kind == "replica" and t.what != "gone"]
    old = {t.name for t in replicas if t.detail.get("baseline")}
    names = [t.name for t in replicas if t.name not in old]
    lanes = tuple(
        _lane(name, number, ordered, records, burst, decisions) for number, name in enumerate(dict.fromkeys(names))
    )
    felt = attainment(records, decided=_decided(lanes), scaled=_scaled(lanes), slo_s=slo_s)
    return Timeline(burst, lanes, _headlines(ordered, records, lanes, burst, slo_s), dominant(lanes), felt)


def _decided(lanes: Iterable[Lane]) -> float | None:
    return min((lane.marks["decided"].time for lane in lanes if "decided" in lane.marks), default=None)


def _scaled(lanes: Iterable[Lane]) -> float | None:
    """When the last new replica ran."""
    return max((lane.marks["running"].time for lane in lanes if "running" in lane.marks), default=None)


def _decisions(ordered: Iterable[Transition]) -> list[float]:
    """When the target rose to one more, once for each replica of the rise."""
    target: int | None = None
    rises: list[float] = []
    for change in ordered:
        if change.kind == "deployment" and change.what == "target":
            value = int(change.detail["target"])
            if target is not None and value > target:
                rises += [change.time] * (value - target)
            target = value
    return rises


def _lane(
    name: str,
    number: int,
    ordered: Sequence[Transition],
    records: Sequence[Record],
    burst: float,
    decisions: Sequence[float],
) -> Lane:
    marks = {"burst": Mark(burst, "generator")}
    own = [t for t in ordered if t.kind == "replica" and t.name == name]
    asked = next((t.detail.get("start_time") for t in own if t.detail.get("start_time")), None)
    if asked is not None:
        marks["asked"] = Mark(float(asked), "serve")
    # The target may rise in several steps: a replica belongs to the rise of its rank, else to the last one before it.
    before = [moment for moment in decisions if asked is None or moment <= float(asked) + SKEW_S]
    if decisions and (number < len(decisions) or before):
        marks["decided"] = Mark(decisions[number] if number < len(decisions) else before[-1], "serve")
    node = next((str(t.detail["node"]) for t in reversed(own) if t.detail.get("node")), "")
    claim, below = _node_marks(node, ordered)
    marks |= below
    running = next((t for t in own if t.what == "RUNNING"), None)
    if running:
        marks["running"] = Mark(running.time, running.source)
    mine = sorted((r for r in records if r.outcome == "ok" and same(r.replica, name)), key=lambda r: r.done or 0.0)
    if mine and mine[0].done is not None:
        marks["first_image"] = Mark(mine[0].done, "generator")
    gone = next((t.time for t in reversed(own) if t.what == "gone"), None)
    return Lane(name, node, marks, tuple(_phases(marks)), gone, claim, _penalty(mine))


def _node_marks(node: str, ordered: Sequence[Transition]) -> tuple[str, dict[str, Mark]]:
    """The claim and the marks of the pod, claim and node below a replica, joined through the Ray node's detail."""
    marks: dict[str, Mark] = {}
    pod = _pod(ordered, node)
    machine = _linked(ordered, "pod", pod, "node")
    claim = next((t.name for t in ordered if t.kind == "nodeclaim" and machine and t.detail.get("node") == machine), "")
    related = {("ray_node", node), ("pod", pod), ("node", machine), ("nodeclaim", claim)}
    names = {
        ("ray_node", "alive"): "ray_alive",
        ("pod", "created"): "pod_created",
        ("pod", "bound"): "bound",
        ("pod", "pulled"): "pulled",
        ("pod", "started"): "container_started",
        ("nodeclaim", "created"): "claim_created",
        ("nodeclaim", "launched"): "launched",
        ("nodeclaim", "registered"): "registered",
        ("nodeclaim", "initialized"): "gpu_usable",
        ("node", "gpu"): "gpu_usable",
        ("node", "ready"): "node_ready",
    }
    for change in ordered:
        mark = names.get((change.kind, change.what))
        if mark and (change.kind, change.name) in related and mark not in marks and not change.detail.get("baseline"):
            marks[mark] = Mark(change.time, change.source)
    return claim, marks


def _pod(ordered: Sequence[Transition], node: str) -> str:
    """The pod of a Ray node: by its name where Ray has it from the pod, else by the address that both have."""
    called, address = _linked(ordered, "ray_node", node, "pod"), _linked(ordered, "ray_node", node, "ip")
    pods = [t for t in ordered if t.kind == "pod"]
    return next((t.name for t in pods if t.name == called), "") or next(
        (t.name for t in reversed(pods) if address and t.detail.get("ip") == address), ""
    )


def _linked(ordered: Sequence[Transition], kind: str, name: str, key: str) -> str:
    """What the last word about an object says that it belongs to."""
    found = (t.detail[key] for t in reversed(ordered) if t.kind == kind and t.name == name and t.detail.get(key))
    return str(next(found, ""))


def _phases(marks: Mapping[str, Mark]) -> Iterable[Phase]:
    for name, begins, ends in PHASES:
        known = [marks[mark] for mark in begins if mark in marks]
        end = next((marks[mark] for mark in ends if mark in marks), None)
        if not known or end is None:
            yield Phase(name, None)
            continue
        begin = max(known, key=lambda mark: mark.time)
        seconds = end.time - begin.time
        if seconds >= 0:
            yield Phase(name, seconds, begin.time, end.time, end.source)
        elif seconds >= -SKEW_S:
            yield Phase(name, 0.0, end.time, end.time, end.source, "clock skew")
        else:
            yield Phase(name, None, flag="out of order")


def _penalty(mine: Sequence[Record]) -> float | None:
    """How much longer the replica's first image took than its later ones (median), in seconds."""
    times = [record.latency_s for record in mine if record.latency_s is not None]
    return times[0] - median(times[1:]) if len(times) >= 3 else None


def dominant(lanes: Iterable[Lane]) -> str:
    """The phase with the largest median over the lanes; empty when nothing is known."""
    sums: dict[str, list[float]] = {}
    for lane in lanes:
        for phase in lane.phases:
            if phase.seconds is not None:
                sums.setdefault(phase.name, []).append(phase.seconds)
    return max(sums, key=lambda name: median(sums[name])) if sums else ""


def _headlines(
    ordered: Sequence[Transition],
    records: Sequence[Record],
    lanes: Sequence[Lane],
    burst: float,
    slo_s: float | None,
) -> dict[str, float | None]:
    decided, scaled = _decided(lanes), _scaled(lanes)
    first = min((lane.marks["first_image"].time for lane in lanes if "first_image" in lane.marks), default=None)
    return {
        "burst_to_decided_s": None if decided is None else max(0.0, decided - burst),
        "burst_to_last_replica_running_s": None if scaled is None else max(0.0, scaled - burst),
        "burst_to_first_new_image_s": None if first is None else max(0.0, first - burst),
        "burst_to_slo_recovered_s": slo_recovered(records, burst, slo_s),
        "drain_s": drain(ordered, records),
    }
