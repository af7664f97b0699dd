"""The service on a GPU beside its limit and its baseline: `python -m loadtests.benchmarks.serving_gpu`.

SD 2.1's and SDXL's architectures with random weights, 512 and 1024 pixels, 20 steps with guidance. Needs a GPU of 48 GB
and more (four copies of a model), no network; `--tiny` runs the whole of it on a CPU with likenesses that mean nothing.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from loadtests.benchmarks import serving_limit, serving_load, serving_models, serving_stage
from loadtests.benchmarks.results import put
from loadtests.benchmarks.serving_limit import Limit
from loadtests.benchmarks.serving_load import Crowd, Job
from loadtests.benchmarks.serving_models import Architecture
from loadtests.benchmarks.serving_report import Figures, of_calls, of_records
from loadtests.benchmarks.serving_stage import Cores, Stage
from loadtests.benchmarks.serving_wishes import crowd, wishes

COMMAND = "python -m loadtests.benchmarks.serving_gpu"
SECTION = "Serving on a GPU"
GUIDANCE = 7.5
BASELINE_GAIN, PEAK_SHARE = 2.5, 0.45  # aims: at 512 pixels, and at 1024
BROKEN = "broke off"


@dataclass(frozen=True)
class Plan:
    """What is measured, and on what."""

    tiny: bool
    device: str
    dtype: str
    steps: int
    batches: tuple[int, ...]
    users: tuple[int, ...]
    seconds: float


def plan(*, tiny: bool) -> Plan:
    """On a GPU, or the small likeness of it on a CPU."""
    if tiny:
        return Plan(tiny, "cpu", "float32", 2, (1, 2), (1, 4), 1.0)
    return Plan(tiny, "cuda", "float16", 20, (1, 2, 4, 8, 16), (1, 16, 64), 30.0)


@dataclass(frozen=True)
class Work:
    """What one image of this size is, and how fast the device multiplies matrices; TFLOP and TFLOP/s."""

    image: float
    peak: float

    def row(self, what: str, figures: Figures) -> str:
        """A line of the table."""
        done = figures.rate * self.image
        return (
            f"| {what} | {figures.rate:.3g} | {figures.latency(0.5):.3g} | {figures.batch:.1f} | {done:.3g} "
            f"| {done / self.peak:.1%} | {figures.wrong + figures.missing} |"
        )


def limits(limit: Limit, asked: list[dict[str, Any]], wanted: Plan) -> Iterable[tuple[int, Figures | str]]:
    """The bare pipeline at every batch, or why there are no figures, as when it does not fit."""
    for batch in wanted.batches:
        try:
            answer = limit.order(do="throughput", wishes=asked, batch=batch, seconds=wanted.seconds, images=0)
        except RuntimeError as error:
            yield batch, str(error)
            return
        yield batch, of_calls(answer["seconds"], batch, answer["processor_s"])


def users(stage: Stage, system: str, kind: Crowd, wanted: Plan) -> Figures:
    """One cell of a service; no pictures are compared, as half precision differs from batch to batch."""
    asked = replace(kind, wishes=tuple(replace(wish, picture="") for wish in kind.wishes))
    return of_records(serving_load.run(Job(stage.urls[system], (asked,), wanted.seconds, 2 * kind.users)))


def one_size(architecture: Architecture, side: int, wanted: Plan, limit: Limit, stage: Stage) -> list[str]:
    """The table of one architecture and size."""
    asked = wishes(str(side), [(side, wanted.steps)])
    first = next(iter(asked.values()))
    work = Work(limit.order(do="work", wish=first)["tflop"], limit.order(do="peak")["tflops"])
    lines = [
        f"### {architecture.name}, {side} px",
        "",
        f"{work.image:.3g} TFLOP an image, {work.peak:.3g} TFLOP/s in the largest matrix product.",
        "",
        "| | images/s | p50 s | mean batch | TFLOP/s | of the peak | wrong or missing |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for batch, figures in limits(limit, list(asked.values()), wanted):
        name = f"bare pipeline, batch {batch}"
        lines.append(work.row(name, figures) if isinstance(figures, Figures) else f"| {name} | {figures} | | | | | |")
    ratios = []
    for count in wanted.users:
        found = {system: users(stage, system, crowd(system, "all", asked, count), wanted) for system in stage.urls}
        lines += [work.row(f"{system}, {count} users", figures) for system, figures in found.items()]
        if found["mended"].rate:
            ratios.append(f"{count} users {found['ours'].rate / found['mended'].rate:.2f}")
    aim = f"{BASELINE_GAIN} at 512, and {PEAK_SHARE:.0%} of the peak at 1024"
    return [
        *lines,
        "",
        f"Ours by the baseline that is given one request at a time: {', '.join(ratios)}; aim {aim}.",
        "",
    ]


def one_architecture(architecture: Architecture, wanted: Plan, folder: Path) -> list[str]:
    """Build it, and measure all three systems at every size."""
    serving_models.save(architecture, folder, wanted.device, wanted.dtype)
    baseline = {"model": str(folder), "device": wanted.device, "dtype": wanted.dtype, "guidance": GUIDANCE}
    lines: list[str] = []
    with (
        serving_limit.started(str(folder), device=wanted.device, dtype=wanted.dtype, guidance=GUIDANCE) as limit,
        serving_stage.deployed(str(folder), baseline | {"steps": wanted.steps}, Cores()) as stage,
    ):
        for side in architecture.sides:
            try:
                lines += one_size(architecture, side, wanted, limit, stage)
            except Exception as error:
                lines += [f"{architecture.name}, {side} px {BROKEN}: {type(error).__name__}: {error}.", ""]
    return lines


def main() -> None:
    """Measure, print, keep the figures; exits with 2 where there is no GPU, with 1 when something broke off."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure the service on this machine's GPU.")
    parser.add_argument("--tiny", action="store_true", help="tiny likenesses on the CPU: does the script run?")
    wanted = plan(tiny=parser.parse_args().tiny)
    if wanted.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here: nothing is measured (`--tiny` tries the script on the CPU).", file=sys.stderr)
        sys.exit(2)
    name = "CPU, tiny likenesses: no figures" if wanted.tiny else torch.cuda.get_device_name()
    lines = [f"`{COMMAND}`, torch {torch.__version__}, {name}, {wanted.dtype}, {wanted.steps} steps with guidance.", ""]
    for architecture in serving_models.architectures(tiny=wanted.tiny):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            lines += one_architecture(architecture, wanted, Path(folder))
        if not wanted.tiny:
            put(SECTION, "\n".join(lines))
    print("\n".join(lines))
    sys.exit(1 if any(BROKEN in line for line in lines) else 0)


if __name__ == "__main__":
    main()
