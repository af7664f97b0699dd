"""What is known of a target before a run: the nodes that it may have, and how long a replica took to start."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sdctl import state
from sdctl.errors import SdctlError
from sdctl.targets.base import Target

FILE = "loadtest.json"


@dataclass(frozen=True)
class Group:
    """A kind of node: at most so many, each with so many GPUs."""

    most: int
    gpus: float


def groups(target: Target) -> list[Group]:
    """The worker groups of a service, or the simulated nodes of this machine; empty where they cannot be known."""
    if target.name == "local":
        from sdctl.local import record

        kept = record.load()
        return [Group(kept.gpu_nodes[1], 1.0)] if kept and kept.gpu_nodes else []
    if target.name == "kubernetes":
        from sdctl.cluster.watching import cluster_of, worker_groups

        with contextlib.suppress(SdctlError):
            return [Group(most, gpus) for most, gpus in worker_groups(cluster_of(target))]
    return []


def worker_limit(found: Sequence[Group], gpus_per_replica: float) -> int | None:
    """How many replicas the groups have room for; None where replicas take no GPU or nothing is known."""
    if not found or gpus_per_replica <= 0:
        return None
    return sum(group.most * int(group.gpus / gpus_per_replica) for group in found)


def known_start_s(target: Target) -> float | None:
    """Seconds from the scale decision to a running replica in the last run against this service; None without one."""
    kept = state.read(FILE).get(_key(target))
    return float(kept) if isinstance(kept, (int, float)) else None


def remember(target: Target, timeline: Mapping[str, Any]) -> None:
    """Keep this run's time from decision to running for the next run's prediction; a full disk costs only that."""
    starts = [
        lane["marks"]["running"]["time"] - lane["marks"]["decided"]["time"]
        for lane in timeline["lanes"]
        if {"running", "decided"} <= lane["marks"].keys()
    ]
    if starts:
        with contextlib.suppress(OSError):
            state.write(FILE, {**state.read(FILE), _key(target): max(0.0, median(starts))})


def _key(target: Target) -> str:
    if target.name != "kubernetes":
        return target.name
    from sdctl.cluster.watching import cluster_of

    cluster = cluster_of(target)
    return f"{cluster.host}/{cluster.namespace}/{cluster.name}"
