"""What each model option gains: `python -m loadtests.benchmarks.options`, on the GPU where there is one.

The baseline is the model without the option, drawn in turn with it in the same process. Options: `--model`, `--rounds`.
"""

import argparse
import os
import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np

from loadtests.benchmarks.results import put
from serve_app import pipeline, rehearsal
from serve_app.config import BUILTIN, ServiceConfig
from serve_app.errors import Refusal, ServiceError, StartupError
from serve_app.jobs import ImageJob
from serve_app.pipeline import DiffusersPainter

COMMAND = "python -m loadtests.benchmarks.options"
BATCHES = (1, 8)
PLAIN = {"embedding_cache_mb": 0}  # every option is measured against this
OPTIONS: dict[str, dict[str, Any]] = {
    "kept prompt embeddings": {"embedding_cache_mb": 64},
    "channels_last": {**PLAIN, "channels_last": True},
    "fuse_qkv": {**PLAIN, "fuse_qkv": True},
    "attention: math": {**PLAIN, "attention": "math"},
    "compile: regional": {**PLAIN, "compile": "regional"},
    "bfloat16": {**PLAIN, "dtype": "bfloat16"},
}


def load(model: str, options: dict[str, Any]) -> tuple[DiffusersPainter, float]:
    """A painter that is ready, and the seconds that compiling took."""
    painter = pipeline.load(ServiceConfig(model=model, auth="open", **options))
    started = time.monotonic()
    if options.get("compile"):
        rehearsal.compile_sizes(painter, (), True)
    return painter, time.monotonic() - started


def jobs(painter: DiffusersPainter, count: int) -> list[ImageJob]:
    """The same prompts in every round, so that kept embeddings are found again."""
    profile = painter.profile
    one = ImageJob(
        prompt="a red circle on a blue background",
        negative_prompt=None,
        width=profile.default_width,
        height=profile.default_height,
        steps=profile.default_steps,
        guidance=profile.default_guidance,
        seed=0,
    )
    return [replace(one, seed=number) for number in range(count)]


def seconds(painter: DiffusersPainter, count: int) -> float:
    """The time of one call."""
    asked = jobs(painter, count)
    started = time.monotonic()
    painter.draw(asked, lambda: True)
    return time.monotonic() - started


def difference(one: DiffusersPainter, two: DiffusersPainter) -> int:
    """The largest difference of any pixel, in grey levels."""
    pairs = zip(one.draw(jobs(one, 2), lambda: True), two.draw(jobs(two, 2), lambda: True), strict=True)
    return max(
        int(np.abs(np.subtract(ours, theirs, dtype=int)).max())
        for ours, theirs in pairs
        if not isinstance(ours, Refusal) and not isinstance(theirs, Refusal)
    )


def row(name: str, plain: DiffusersPainter, model: str, rounds: int) -> str:
    """One line of the table: the median of the ratios of calls that were made in turn."""
    try:
        painter, compiling = load(model, OPTIONS[name])
    except (StartupError, ServiceError) as error:
        return f"| {name} | {error} | | | |"
    cells = []
    for count in BATCHES:
        for each in (plain, painter):
            seconds(each, count)
        pairs = [(seconds(plain, count), seconds(painter, count)) for _ in range(rounds)]
        without, with_it = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(before / after for before, after in pairs)
        cells.append(f"{count / without:.2f} → {count / with_it:.2f}, ×{ratio:.2f}")
    note = f"{compiling:.0f} s" if compiling > 1 else ""
    return f"| {name} | {' | '.join(cells)} | {difference(plain, painter)} | {note} |"


def main() -> None:
    """Measure every option and write the section of RESULTS.md."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--model", default=BUILTIN)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    plain, _ = load(given.model, PLAIN)
    machine = f"`{COMMAND}`: {given.model} in {plain.dtype} on {plain.device}, {os.cpu_count()} CPUs"
    rows = [
        f"{machine}, {given.rounds} rounds in turn, load average {os.getloadavg()[0]:.1f}.",
        "Images per second without → with the option, and the median ratio; grey levels are the largest difference.",
        "",
        "| option | batch 1 | batch 8 | grey levels | compiling |",
        "|---|--:|--:|--:|--:|",
    ]
    for name in OPTIONS:
        rows.append(row(name, plain, given.model, given.rounds))
        print(rows[-1], flush=True)
    put("Model options", "\n".join(rows))


if __name__ == "__main__":
    main()
