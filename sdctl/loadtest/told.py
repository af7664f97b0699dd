"""A run's result as a few lines for a terminal; pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdctl.loadtest.sections import percent, seconds
from sdctl.loadtest.verdict import verdict


def told(summary: Mapping[str, Any], folder: Path) -> list[str]:
    """What an operator wants to know first, one fact a line."""
    latency = summary["latency_s"]
    ended = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in summary["outcomes"].items() if count)
    compared = summary["verified"] or "none: only the built-in model's pictures have references"
    lines = [
        f"Verdict      {verdict(summary)[0]}",
        f"Requests     {summary['sent']} sent: {ended or 'none'}",
        f"Verified     {compared}" + (" compared with their reference picture" if summary["verified"] else ""),
        f"Latency      p50 {seconds(latency['p50'])}, p95 {seconds(latency['p95'])}, p99 {seconds(latency['p99'])}",
        f"Good images  {_or_unknown(summary['goodput_per_s'], '{:.2f} a second')}",
        *(_felt(row) for row in summary["timeline"]["attainment"] if row["requests"]),
        *(_scaling(summary) if summary["replicas"]["max_running"] is not None else ()),
    ]
    if summary["late_starts"]:
        lines.append(f"Late         {summary['late_starts']} requests were started late by the load generator itself")
    if summary["prediction_against_fact"]:
        lines.append(f"Prediction   {summary['prediction_against_fact']}")
    lines += [f"Why          {cause['text']} {cause['hint']}" for cause in summary["causes"]]
    for row in summary["slo"]:
        value = "nothing to judge" if row["value"] is None else f"{row['value']:.4g}"
        lines.append(f"Objective    {row['objective']}: {'met' if row['met'] else 'MISSED'} ({value})")
    lines += [f"Note         {note}" for note in summary["notes"]]
    drawn = folder / "report.html"
    return [*lines, f"Report       {drawn if drawn.exists() else 'not written, see the notes'}"]


def _scaling(summary: Mapping[str, Any]) -> list[str]:
    """What was seen of the server's side."""
    heads = summary["timeline"]["headlines"]
    return [
        f"Replicas     most running {summary['replicas']['max_running']}, "
        f"nodes {_or_unknown(summary['nodes']['max'], '{}')}",
        f"Scaling      decided after {seconds(heads['burst_to_decided_s'])}, first image of a new replica after "
        f"{seconds(heads['burst_to_first_new_image_s'])}, drain time {seconds(heads['drain_s'])}",
        f"Dominant     {summary['timeline']['dominant_phase'] or 'unknown'}",
        f"Waste        {seconds(summary['waste']['idle_replica_s'])} idle replica time after the last answer",
        f"Cost         {_cost(summary['cost'])}",
    ]


def _felt(row: Mapping[str, Any]) -> str:
    within = "" if row["within_slo"] is None else f", {percent(row['within_slo'])} within the SLO"
    return f"Felt         {row['stretch']}: p50 {seconds(row['p50'])}, p95 {seconds(row['p95'])}{within}"


def _or_unknown(value: Any, shape: str) -> str:
    return "unknown" if value is None else shape.format(value)


def _cost(cost: Mapping[str, Any]) -> str:
    if cost["total_usd"] is None:
        return f"unknown: {cost['why']}"
    if not cost["total_usd"]:
        return f"nothing: {cost['why']}"
    each = cost["per_1000_images_usd"]
    per = f", ${each:.4f} per 1,000 good images" if each is not None else ""
    return f"${cost['total_usd']:.4f}{per}" + (f" ({cost['why']})" if cost["why"] else "")
