"""What a command line asks of a load test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdctl.loadtest.plan import Plan
from sdctl.loadtest.records import Objective


@dataclass(frozen=True)
class Settings:
    """What a command line asks of a load test; times in seconds."""

    plan: Plan
    folder: Path
    prompts: Sequence[Mapping[str, Any]]
    timeout_s: float = 120.0
    grace_s: float = 30.0
    warmup_s: float = 0.0
    until_drained: bool = False
    seed: int = 0
    objectives: Sequence[Objective] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)  # the options as the report shows them
    other: Mapping[str, Any] | None = None  # the summary of a run to be set beside this one
