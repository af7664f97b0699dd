"""The report's charts on one time axis, and the same figures as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdctl.loadtest import records, sections
from sdctl.loadtest.charts import Panel, Points, Series, column
from sdctl.loadtest.records import Record
from sdctl.loadtest.summary import GONE
from sdctl.loadtest.transitions import Transition, counts

MAX_DOTS = 1500
MOMENTS = 24  # rows of the table


def over_time_part(
    summary: Mapping[str, Any], every: Sequence[Record], transitions: Sequence[Transition], span: tuple[float, float]
) -> str:
    """The charts with the phases of the first new replica behind them, and a table of the same curves."""
    drawn = panels(summary, every, transitions, span)
    rows = summary["timeline"]["lanes"]
    bands = sections.known(rows[0]) if rows else []
    chart = sections.wide(column(drawn, bands, begin=span[0], end=span[1]))
    return f"<h2>Over time</h2>{chart}{_table(drawn, span)}"


def _table(drawn: Sequence[Panel], span: tuple[float, float]) -> str:
    curves = [series for panel in drawn for series in panel.series if series.kind != "dots" and series.points]
    names = ["seconds", *("median latency, s" if series.name == "median" else series.name for series in curves)]
    moments = [span[0] + (span[1] - span[0]) * place / (MOMENTS - 1) for place in range(MOMENTS)]
    rows = [[f"{now - span[0]:.0f}", *(_text(at(series.points, now)) for series in curves)] for now in moments]
    return sections.table(names, rows, "The curves as a table")


def at(points: Points, now: float) -> float | None:
    """The value of a step curve at a moment; None before its first point."""
    return next((value for time, value in reversed(points) if time <= now), None)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def panels(
    summary: Mapping[str, Any], every: Sequence[Record], transitions: Sequence[Transition], span: tuple[float, float]
) -> list[Panel]:
    """The charts: latency, requests in flight, replicas and nodes; `span` is the run's begin and end (epoch s)."""
    done = [r for r in every if r.done is not None and r.latency_s is not None]
    step = max(1, len(done) // MAX_DOTS)
    good = [(r.done or 0.0, r.latency_s or 0.0) for r in done[::step] if r.outcome == "ok"]
    bad = [(r.done or 0.0, r.latency_s or 0.0) for r in done if r.outcome != "ok"][:MAX_DOTS]
    goal = summary.get("latency_goal_s")
    targets = [
        (t.time, float(t.detail["target"])) for t in transitions if t.kind == "deployment" and t.what == "target"
    ]
    replicas = [(t, float(n)) for t, n in counts(transitions, "replica", "RUNNING", GONE)]
    nodes = [(t, float(n)) for t, n in counts(transitions, "ray_node", "alive", GONE)]
    claims = [(t, float(n)) for t, n in counts(transitions, "nodeclaim", "launched", GONE)]
    curves = [Series("good", good, "dots", "a"), Series("other", bad, "dots", "bad")]
    curves.append(Series("median", rolling(every, 0.5), "line", "c"))
    return [
        Panel("Latency", "s", curves, goal),
        Panel("In flight", "requests", [Series("mean in flight", in_flight(every, *span), "step", "a")], whole=True),
        Panel(
            "Replicas",
            "count",
            [Series("target", targets, "step", "b"), Series("running", replicas, "step", "a")],
            whole=True,
        ),
        Panel(
            "Nodes",
            "count",
            [Series("Ray nodes", nodes, "step", "a"), Series("NodeClaims", claims, "step", "b")],
            whole=True,
        ),
    ]


def in_flight(every: Sequence[Record], begin: float, end: float, bins: int = 150) -> list[tuple[float, float]]:
    """How many requests were under way, as the mean of even stretches of the run: their sum of seconds in each."""
    width = (end - begin) / bins
    totals = [0.0] * bins
    for record in every:
        done = end if record.done is None else record.done
        for place in range(max(0, int((record.sent - begin) / width)), min(bins - 1, int((done - begin) / width)) + 1):
            left = begin + place * width
            totals[place] += max(0.0, min(done, left + width) - max(record.sent, left))
    return [(begin + place * width, total / width) for place, total in enumerate(totals)]


def rolling(every: Sequence[Record], share: float, windows: int = 60) -> list[tuple[float, float]]:
    """A quantile of the good images' latency in even windows of the run; a window without an image has no point."""
    good = sorted((r.done, r.latency_s) for r in every if r.outcome == "ok" and r.done and r.latency_s is not None)
    if not good:
        return []
    begin, width = good[0][0], max(0.1, (good[-1][0] - good[0][0]) / windows)
    groups: dict[int, list[float]] = {}
    for done, latency in good:
        groups.setdefault(int((done - begin) / width), []).append(latency)
    curve = [(begin + (n + 0.5) * width, records.quantile(sorted(group), share)) for n, group in sorted(groups.items())]
    return [(time, value) for time, value in curve if value is not None]
