"""The report's parts below the charts: lanes, figures, causes, costs, and how it was run."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sdctl.loadtest import comparison, records
from sdctl.loadtest.charts import Band, histogram, lanes
from sdctl.loadtest.records import Record

SERVING = 8  # its colour: after those of the phases
COSTS = (
    ("the run", "total_usd"),
    ("per 1,000 good images", "per_1000_images_usd"),
    ("steady work", "steady_usd"),
    ("cold start", "cold_start_usd"),
    ("tail", "tail_usd"),
)


def seconds(value: Any) -> str:
    """A time for people; unknown stays unknown."""
    return "unknown" if value is None else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def number(value: Any, unit: str = "") -> str:
    """A figure for people; unknown stays unknown."""
    return "unknown" if value is None else f"{value:.3g}{unit}"


def money(value: Any) -> str:
    """An amount in USD for people; unknown stays unknown."""
    return "unknown" if value is None else f"${value:.4f}" if value else "nothing"


def wide(chart: str) -> str:
    """A chart that a phone scrolls sideways, so that its text stays readable."""
    return f'<div class=wide tabindex=0 role=group aria-label="Chart, scrolls sideways">{chart}</div>'


def known(lane: Mapping[str, Any]) -> list[Band]:
    """The phases of a lane whose times are known."""
    phases = enumerate(lane["phases"])
    return [
        Band(p["name"].replace("_", " "), p["begin"], p["end"], place) for place, p in phases if p["begin"] is not None
    ]


def _serving(lane: Mapping[str, Any], end: float) -> list[Band]:
    """From a lane's first image (else from when it ran) until it was gone or nobody looked any more."""
    begin = next((lane["marks"][mark]["time"] for mark in ("first_image", "running") if mark in lane["marks"]), None)
    until = min(end, lane["gone"] or end)
    return [] if begin is None or until <= begin else [Band("serving", begin, until, SERVING)]


def lanes_part(summary: Mapping[str, Any], begin: float, end: float) -> str:
    """The new replicas' phases, as bars and as a table."""
    rows = summary["timeline"]["lanes"]
    if not rows:
        seen = summary["replicas"]["max_running"] is not None
        text = "No new replica was started in this run." if seen else "Replicas could not be watched in this run."
        return f"<h2>New replicas</h2><p>{text}</p>"
    drawn = [(lane["replica"][-8:], [*known(lane), *_serving(lane, end)]) for lane in rows]
    names = [phase["name"].replace("_", " ") for phase in rows[0]["phases"]]
    head = ["replica", "node", *names, "first image's penalty"]
    body = [
        [lane["replica"], lane["nodeclaim"] or lane["node"][-12:] or "unknown"]
        + [seconds(p["seconds"]) + (f" ({p['flag']})" if p["flag"] else "") for p in lane["phases"]]
        + [seconds(lane["first_request_penalty_s"])]
        for lane in rows
    ]
    chart = wide(lanes(drawn, "Phases of each new replica", begin=begin, end=end))
    return f"<h2>New replicas</h2>{chart}{table(head, body, 'The phases as a table')}"


def attainment_part(summary: Mapping[str, Any]) -> str:
    """What users felt before, while and after it scaled."""
    goal = summary["latency_goal_s"]
    head = ["requests sent", "good images", "p50", "p95"]
    rows = [
        [str(row["stretch"]), f"{row['good']} of {row['requests']}", seconds(row["p50"]), seconds(row["p95"])]
        for row in summary["timeline"]["attainment"]
    ]
    if goal is not None:
        head.append(f"within {goal:g} s")
        rows = [
            [*cells, percent(row["within_slo"])]
            for cells, row in zip(rows, summary["timeline"]["attainment"], strict=True)
        ]
    return f"<h2>Before, while and after it scaled</h2>{table(head, rows)}"


def percent(value: Any) -> str:
    """A share for people; unknown stays unknown."""
    return "unknown" if value is None else f"{value * 100:.1f} %"


def beside_part(summary: Mapping[str, Any], other: Mapping[str, Any] | None) -> str:
    """Another run beside this one, phase by phase."""
    if other is None:
        return ""
    rows = [comparison.texts(row) for row in comparison.rows(summary, other)]
    title = f"<h2>Beside another run</h2><p>{escape(str(other['plan']))}</p>"
    return title + table(["", "this run", "other run", "other / this"], rows)


def latency_part(summary: Mapping[str, Any], every: Sequence[Record]) -> str:
    """The distribution and the exact quantiles."""
    rows = [[name, seconds(value)] for name, value in summary["latency_s"].items()]
    marks = [(name, summary["latency_s"][name]) for name in ("p50", "p95") if summary["latency_s"][name] is not None]
    chart = wide(histogram(records.latencies(every), marks))
    return f"<h2>Latency of good images</h2>{chart}{table(['quantile', 'latency'], rows, 'The quantiles as a table')}"


def outcomes_part(summary: Mapping[str, Any]) -> str:
    """How the requests ended, and how none did."""
    ended = {name.replace("_", " "): count for name, count in summary["outcomes"].items()}
    rows = [[name, str(count)] for name, count in ended.items() if count]
    rows += [["sent", str(summary["sent"])], ["compared with their reference picture", str(summary["verified"])]]
    none = ", ".join(name for name, count in ended.items() if not count)
    never = f"<p class=dim>None: {escape(none)}.</p>" if none else ""
    return f"<h2>Outcomes</h2>{table(['outcome', 'requests'], rows)}{never}"


def scaling_part(summary: Mapping[str, Any]) -> str:
    """Prediction against fact, what held it back, what was idle."""
    lines = []
    if summary["prediction"]:
        lines.append(f"<p>Predicted: {escape(summary['prediction']['reason'])}.</p>")
        lines.append(f"<p>Against fact: {escape(summary['prediction_against_fact'] or '')}.</p>")
    for cause in summary["causes"]:
        lines.append(f"<p><b>{escape(cause['text'])}</b> {escape(cause['hint'])}</p>")
    lines.append(_wanted(summary))
    lines.append(_autoscaler(summary))
    waste = summary["waste"]
    lines.append(
        f"<p>After the last answer: {seconds(waste['idle_replica_s'])} of idle replica time, "
        f"{seconds(waste['idle_node_s'])} of idle node time.</p>"
    )
    return "<h2>Scaling, predicted and real</h2>" + "".join(lines)


def _wanted(summary: Mapping[str, Any]) -> str:
    """How many workers each RayCluster was to have, one after the other."""
    numbers: dict[str, list[str]] = {}
    for row in summary.get("workers_wanted", ()):
        known = numbers.setdefault(row["cluster"], [])
        known.append(f"{row['workers']} after {row['after_s']:.1f} s" if known else str(row["workers"]))
    return "".join(
        f"<p>Workers wanted of RayCluster {escape(name)}: {escape(' → '.join(each))}.</p>"
        for name, each in numbers.items()
    )


def _autoscaler(summary: Mapping[str, Any]) -> str:
    """What Ray's autoscaler reported: demand without room, nodes on their way, launches that failed."""
    rows = [
        [
            f"{row['after_s']:.1f} s",
            "; ".join(row["demand"]) or "none",
            "; ".join(row["pending"]) or "none",
            "; ".join(row["failures"]) or "none",
        ]
        for row in summary.get("autoscaler", ())
    ]
    if rows:
        head = ["after the burst began", "demand that waits", "nodes pending", "recent failures"]
        return table(head, rows, "What Ray's autoscaler reported")
    seen = summary["nodes"]["max"] is not None
    return "<p class=dim>Ray's autoscaler reported no waiting demand and no pending node.</p>" if seen else ""


def cost_part(summary: Mapping[str, Any]) -> str:
    """The run's cost, split into steady work, cold start and tail, and by node."""
    costs = summary["cost"]
    split = [[name, f"{costs[key]:.4f}"] for name, key in COSTS if costs[key] is not None]
    if costs["total_usd"]:
        lines = table(["", "USD"], split) + (f"<p class=dim>{escape(costs['why'])}.</p>" if costs["why"] else "")
    else:
        lines = f"<p>{money(costs['total_usd']).capitalize()}: {escape(costs['why'])}.</p>"
    rows = [
        [n["name"], n["instance_type"], n["capacity_type"], seconds(n["end"] - n["begin"]), number(n["cost_usd"], "")]
        for n in costs["nodes"]
    ]
    nodes = table(["node", "type", "capacity", "paid time", "USD"], rows) if rows else ""
    dated = ""
    if rows:
        listed = f"list prices of {costs['prices']['region']}, {costs['prices']['as_of']}"
        dated = f"<p class=dim>Prices: those of --price, else {listed}.</p>"
    return f"<h2>Cost</h2>{lines}{nodes}{dated}"


def how_part(summary: Mapping[str, Any]) -> str:
    """The settings, the clocks and the way to the service."""
    rows = [[str(key), str(value)] for key, value in summary["settings"].items()]
    rows += [
        [f"clock of the {name.replace('_', ' ')}", _clock(skew)] for name, skew in summary.get("clocks", {}).items()
    ]
    rows.append(["reached via", summary["via"] or "directly"])
    if summary["via"] == "tunnel":
        how = (
            "against a pod's own address"
            if summary.get("tunnel_compared")
            else "at most: a whole round trip of /healthz"
        )
        rows.append([f"added by the tunnel ({how})", milliseconds(summary["tunnel_latency_s"])])
    outside = summary.get("outside_service_s", {})
    told = " / ".join(milliseconds(outside.get(name)) for name in ("p50", "p95"))
    rows.append(["of an image's latency outside the service: way, proxy, transfer (p50 / p95)", told])
    return (
        f"<h2>How it was run</h2><p>{escape(summary['shows'])}</p>{table(['setting', 'value'], rows, 'The settings')}"
    )


def _clock(skew: Mapping[str, float] | None) -> str:
    """What is known of a clock, and what was done about it."""
    if skew is None:
        return "unknown"
    done = "its times were corrected" if skew["applied"] else "no correction needed"
    return f"{skew['seconds']:+.2f} s against this machine's, ± {skew['plus_minus']:.2f} s: {done}"


def milliseconds(value: Any) -> str:
    """A short time for people; unknown stays unknown."""
    return "unknown" if value is None else f"{value * 1000:.1f} ms"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], behind: str = "") -> str:
    """A table; with `behind`, folded away under that line."""
    top = "".join(f"<th scope=col>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    drawn = f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    return f"<details><summary>{escape(behind)}</summary>{drawn}</details>" if behind else drawn


def _cell(text: str) -> str:
    """A cell; a short one, such as a time with its unit, stays on one line."""
    return f"<td{' class=short' if len(text) <= 12 else ''}>{escape(text)}</td>"
