"""Two runs beside each other, phase by phase; pure."""

from collections.abc import Mapping
from typing import Any

Row = tuple[str, float | None, float | None]


def rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Row]:
    """The figures that two summaries share: name, first, second; None where a run does not know it."""
    table: list[Row] = [("good images", one["outcomes"]["ok"], other["outcomes"]["ok"])]
    table.append(("sent", one["sent"], other["sent"]))
    table += [
        (f"latency {name}, s", one["latency_s"][name], other["latency_s"][name]) for name in ("p50", "p95", "p99")
    ]
    table.append(("good images a second", one["goodput_per_s"], other["goodput_per_s"]))
    table.append(("most replicas", one["replicas"]["max_running"], other["replicas"]["max_running"]))
    heads, others = one["timeline"]["headlines"], other["timeline"]["headlines"]
    table += [(name.removesuffix("_s").replace("_", " ") + ", s", heads[name], others.get(name)) for name in heads]
    for name, phase in one["phases"].items():
        second = other["phases"].get(name)
        table.append((f"phase {name}, median s", _median(phase), _median(second)))
    table.append(("cost, USD", one["cost"]["total_usd"], other["cost"]["total_usd"]))
    return table


def _median(phase: Mapping[str, float] | None) -> float | None:
    return None if phase is None else phase["median"]


def texts(row: Row) -> tuple[str, str, str, str]:
    """A row for people: name, both values, and how the second relates to the first."""
    name, first, second = row
    change = f"{second / first:.2f} x" if first and second is not None else ""
    return name, _text(first), _text(second), change


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
