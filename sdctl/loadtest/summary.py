"""The figures of one run, all computed from its records and transitions; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sdctl.loadtest import autoscaler, cost, records, timeline
from sdctl.loadtest.causes import why_not_further
from sdctl.loadtest.clocks import Skew, corrected
from sdctl.loadtest.prediction import Prediction, Scaling, compare
from sdctl.loadtest.records import Objective, Record
from sdctl.loadtest.transitions import Transition, counts

GONE = ("gone", "STOPPING")


@dataclass(frozen=True)
class Run:
    """Everything that was recorded about one run; times in epoch seconds."""

    records: Sequence[Record]
    warmup: Sequence[Record]
    transitions: Sequence[Transition]
    started: float
    load_ended: float  # the generator's end: no request is sent after it
    ended: float  # the watch's end
    plan: str
    mode: str
    target: str
    via: str = ""
    prediction: Prediction | None = None
    scaling: Scaling | None = None
    objectives: Sequence[Objective] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    clocks: Mapping[str, Skew | None] = field(default_factory=dict)  # those of clocks.CLOCKS that were asked
    tunnel_latency_s: float | None = None
    tunnel_compared: bool = False  # with the pod's own address; else it is a whole round trip
    interrupted: bool = False


CLOSED_SHOWS = (
    "Closed loop: each user waits for an image before asking for the next, so a slow service is asked less often. It "
    "shows how the service scales with users; it cannot show the wait of people who arrive whatever the service does."
)
OPEN_SHOWS = (
    "Open loop: requests start at their times whatever the service does, and latency counts from that time. It shows "
    "what arriving people wait; it cannot hold a number of users constant."
)


def summarise(run: Run) -> dict[str, Any]:
    """The document summary.json; unknown figures are null, never 0."""
    run = replace(run, transitions=corrected(run.transitions, {n: s.applied for n, s in run.clocks.items() if s}))
    way = records.outside(run.records)
    good = [record for record in run.records if record.outcome == "ok"]
    burst = min((record.sent for record in run.records), default=run.started)
    span = max((record.done for record in run.records if record.done is not None), default=run.load_ended) - burst
    goal = next((o.limit for o in run.objectives if o.measure.startswith("p")), None)
    lines = timeline.build(run.transitions, run.records, burst=burst, slo_s=goal)
    running = counts(run.transitions, "replica", "RUNNING", GONE)
    most = max((count for _, count in running), default=None)
    predicted = run.prediction
    return {
        "target": run.target,
        "mode": run.mode,
        "shows": OPEN_SHOWS if run.mode == "open" else CLOSED_SHOWS,
        "plan": run.plan,
        "started": run.started,
        "seconds": span,
        "interrupted": run.interrupted,
        "via": run.via,
        "tunnel_latency_s": run.tunnel_latency_s,
        "tunnel_compared": run.tunnel_compared,
        "outside_service_s": {f"p{share * 100:g}": records.quantile(way, share) for share in (0.5, 0.95)},
        "clocks": {name: skew.to_json() if skew else None for name, skew in run.clocks.items()},
        **_requests(run, len(good), span),
        "latency_goal_s": goal,
        "replicas": {
            "before": running[0][1] if running else None,
            "max_running": most,
            "max_target": _max_target(run.transitions),
        },
        "nodes": {"max": max((n for _, n in counts(run.transitions, "ray_node", "alive", GONE)), default=None)},
        "autoscaler": autoscaler.said(run.transitions, burst),
        "workers_wanted": autoscaler.wanted(run.transitions, burst),
        "phases": _phases(lines),
        "timeline": lines.to_json(),
        "waste": _waste(run, running),
        "cost": _cost(run, lines, len(good)).to_json() if run.target != "local" else _no_cost(),
        "prediction": None if predicted is None else predicted.to_json(),
        "prediction_against_fact": None if predicted is None else _against_fact(predicted, lines, most),
        "causes": [] if predicted is None or most is None else _causes(run, predicted, most),
        "notes": list(run.notes),
        "settings": dict(run.settings),
    }


def _requests(run: Run, good: int, span: float) -> dict[str, Any]:
    """What became of the requests; times and rates over `span` seconds."""
    counted = records.outcomes(run.records)
    if sum(counted.values()) != len(run.records):
        raise AssertionError("a request vanished from the account")
    return {
        "sent": len(run.records),
        "warmup": len(run.warmup),
        "outcomes": counted,
        "verified": sum(record.verified for record in run.records),
        "late_starts": records.late(run.records) if run.mode == "open" else None,
        "latency_s": records.latency_summary(run.records),
        "goodput_per_s": good / span if span > 0 else None,
        "slo": _objectives(run.objectives, run.records, span),
    }


def _against_fact(predicted: Prediction, lines: timeline.Timeline, most: int | None) -> Any:
    return compare(
        predicted,
        replicas=most,
        decided_after_s=lines.headlines["burst_to_decided_s"],
        running_after_s=lines.headlines["burst_to_last_replica_running_s"],
    )


def _causes(run: Run, predicted: Prediction, most: int) -> list[dict[str, Any]]:
    causes = why_not_further(run.scaling, predicted, run.transitions, run.records, max_running=most)
    return [cause.to_json() for cause in causes]


def _objectives(objectives: Sequence[Objective], every: Sequence[Record], seconds: float) -> list[dict[str, Any]]:
    rows = []
    for objective in objectives:
        met, value = objective.judge(every, seconds)
        rows.append({"objective": objective.text, "met": met, "value": value})
    return rows


def _max_target(transitions: Sequence[Transition]) -> int | None:
    targets = [int(t.detail["target"]) for t in transitions if t.kind == "deployment" and t.what == "target"]
    return max(targets, default=None)


def _phases(lines: timeline.Timeline) -> dict[str, dict[str, float | int] | None]:
    """Each phase over all new replicas: how many knew it, least, median and most seconds; null where none did."""
    table: dict[str, dict[str, float | int] | None] = {}
    for name, _, _ in timeline.PHASES:
        values = sorted(
            p.seconds for lane in lines.lanes for p in lane.phases if p.name == name and p.seconds is not None
        )
        middle = records.quantile(values, 0.5)
        table[name] = (
            None if middle is None else {"known": len(values), "min": values[0], "median": middle, "max": values[-1]}
        )
    return table


def _waste(run: Run, running: Sequence[tuple[float, int]]) -> dict[str, float | None]:
    """Replica and node seconds after the last answer, over what ran before the burst."""
    after = max((r.done for r in run.records if r.done is not None), default=run.load_ended)
    return {
        "idle_replica_s": surplus(running, after, run.ended),
        "idle_node_s": surplus(counts(run.transitions, "ray_node", "alive", GONE), after, run.ended),
    }


def surplus(curve: Sequence[tuple[float, int]], begin: float, end: float) -> float | None:
    """The area of a step curve above its first level between two times, in seconds; None of an empty curve."""
    if not curve:
        return None
    base = curve[0][1]
    area = 0.0
    for (time, count), following in zip(curve, [*(t for t, _ in curve[1:]), end], strict=True):
        area += max(0, count - base) * max(0.0, min(following, end) - max(time, begin))
    return area


def _cost(run: Run, lines: timeline.Timeline, good: int) -> cost.Cost:
    nodes = cost.node_times(run.transitions, run.prices, begin=run.started, end=run.ended)
    # Nodes from before the run are warm; a new one is cold until the first image of a replica on it.
    first = {t.name: run.started for t in run.transitions if t.kind == "nodeclaim" and t.detail.get("baseline")}
    for lane in lines.lanes:
        mark = lane.marks.get("first_image")
        if mark and lane.claim:
            first[lane.claim] = min(mark.time, first.get(lane.claim, mark.time))
    last = max((r.done for r in run.records if r.outcome == "ok" and r.done is not None), default=None)
    return cost.total(nodes, good, first_images=first, last_image=last)


def _no_cost() -> dict[str, Any]:
    return cost.Cost(0.0, 0.0, 0.0, 0.0, (), "this machine costs nothing").to_json()
