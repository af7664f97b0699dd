"""A run's result as a few lines for a terminal; pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdctl.loadtest.sections import percent, seconds
from sdctl.loadtest.verdict import verdict


def told(summary: Mapping[str, Any], folder: Path) -> list[str]:
    """What an operator wants to know first, one fact a line."""
    heads, latency, waste = summary["timeline"]["headlines"], summary["latency_s"], summary["waste"]
    ended = ", ".join(f"{count} {name}" for name, count in summary["outcomes"].items() if count)
    lines = [
        f"Verdict      {verdict(summary)[0]}",
        f"Requests     {summary['sent']} sent: {ended or 'none'}",
        f"Verified     {summary['verified']} compared with their reference picture",
        f"Latency      p50 {seconds(latency['p50'])}, p95 {seconds(latency['p95'])}, p99 {seconds(latency['p99'])}",
        f"Good images  {_or_unknown(summary['goodput_per_s'], '{:.2f} a second')}",
        f"Replicas     most running {_or_unknown(summary['replicas']['max_running'], '{}')}, "
        f"nodes {_or_unknown(summary['nodes']['max'], '{}')}",
        f"Scaling      decided after {seconds(heads['burst_to_decided_s'])}, first image of a new replica after "
        f"{seconds(heads['burst_to_first_new_image_s'])}, drain time {seconds(heads['drain_s'])}",
        *(_felt(row) for row in summary["timeline"]["attainment"] if row["requests"]),
        f"Dominant     {summary['timeline']['dominant_phase'] or 'unknown'}",
        f"Waste        {seconds(waste['idle_replica_s'])} idle replica time after the last answer",
        f"Cost         {_cost(summary['cost'])}",
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
    return [*lines, f"Report       {folder / 'report.html'}"]


def _felt(row: Mapping[str, Any]) -> str:
    within = "" if row["within_slo"] is None else f", {percent(row['within_slo'])} within the SLO"
    return f"Felt         {row['stretch']}: p50 {seconds(row['p50'])}, p95 {seconds(row['p95'])}{within}"


def _or_unknown(value: Any, shape: str) -> str:
    return "unknown" if value is None else shape.format(value)


def _cost(cost: Mapping[str, Any]) -> str:
    if cost["total_usd"] is None:
        return f"unknown: {cost['why']}"
    each = cost["per_1000_images_usd"]
    per = f", ${each:.4f} per 1,000 good images" if each is not None else ""
    return f"${cost['total_usd']:.4f}{per}" + (f" ({cost['why']})" if cost["why"] else "")
