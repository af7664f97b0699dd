"""What a run says in three sentences: did it scale, was everything right, is it as it was before; pure."""

from collections.abc import Mapping
from typing import Any


def verdict(summary: Mapping[str, Any]) -> list[str]:
    """The sentences, the most important first; what could not be seen is said to be so."""
    return [_scaled(summary), _images(summary), *_after(summary)]


def _scaled(summary: Mapping[str, Any]) -> str:
    replicas, heads = summary["replicas"], summary["timeline"]["headlines"]
    most, before = replicas["max_running"], replicas.get("before")
    if most is None or before is None:
        return "Whether it scaled could not be seen."
    if not summary["timeline"]["lanes"]:
        why = next((f" {cause['text']}" for cause in summary["causes"]), "")
        return f"It did not scale: {_counted(most)} ran throughout.{why}"
    if most <= before:
        return f"New replicas were started, but never more than {_counted(most)} ran at once."
    parts = [f"It scaled from {before} to {_counted(most)}"]
    if heads["burst_to_decided_s"] is not None:
        parts.append(f"decided {heads['burst_to_decided_s']:.0f} s after the burst began")
    first = heads["burst_to_first_new_image_s"]
    parts.append("no new replica made an image" if first is None else f"first new image after {first:.0f} s")
    dominant = summary["timeline"]["dominant_phase"]
    most_of_it = f" The longest phase was {dominant.replace('_', ' ')}." if dominant else ""
    return f"{', '.join(parts)}.{most_of_it}"


def _counted(number: int) -> str:
    return f"{number} replica{'s' * (number != 1)}"


def _images(summary: Mapping[str, Any]) -> str:
    sent, good = summary["sent"], summary["outcomes"]["ok"]
    if good == sent:
        checked = summary["verified"] == sent and sent
        how = ", each compared with its reference picture" if checked else ""
        return f"{'The one request' if sent == 1 else f'All {sent} requests'} gave a good image{how}."
    ended = [
        f"{count} {name.replace('_', ' ')}" for name, count in summary["outcomes"].items() if count and name != "ok"
    ]
    return f"{good} of {sent} requests gave a good image; the others: {', '.join(ended)}."


def _after(summary: Mapping[str, Any]) -> list[str]:
    drain = summary["timeline"]["headlines"]["drain_s"]
    lines = [] if drain is None else [f"All that was added had gone {drain:.0f} s after the last answer."]
    return [*lines, "The run was interrupted."] if summary["interrupted"] else lines
