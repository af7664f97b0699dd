"""The service beside the bare pipeline and beside the baseline: `python -m loadtests.benchmarks.serving`.

One run, one machine, one model, one thread each; about 40 minutes of a quiet machine (`--seconds 5` for a quick look).
Whatever holds a model has the first core, all else the others. RESULTS.md is renewed after each group of cells; a run
of a part (`--groups`, `--users`) has a section of its own there.
"""

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from loadtests.benchmarks import serving_limit, serving_load, serving_stage
from loadtests.benchmarks.results import put
from loadtests.benchmarks.serving_limit import Limit
from loadtests.benchmarks.serving_load import Crowd, Job, Record
from loadtests.benchmarks.serving_report import Cell, Figures, bars, markdown, merged, of_calls, of_records
from loadtests.benchmarks.serving_stage import Stage
from loadtests.benchmarks.serving_wishes import ALL, GUIDANCE, STEPS, crowd
from serve_app.models.prompts import SHAPES_FOLDER

COMMAND = "python -m loadtests.benchmarks.serving"
SECTION = "Serving"
PART = "Serving, a part measured again"
BATCHES = (1, 2, 4, 8, 16)
USERS = (16, 64, 1, 4)
ROUNDS = 4  # in which a limit and ours are measured in turn, as a machine's speed changes within a minute
MINIMUM = 100  # images a cell


@dataclass
class Run:
    """One run of the benchmark, and what it has measured."""

    stage: Stage
    limit: Limit
    references: str
    seconds: float
    users: tuple[int, ...] = USERS
    table: dict[Cell, Figures] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def minimum(self) -> int:
        """Images that a cell must have, in a run of full length."""
        return MINIMUM if self.seconds >= 60 else 0

    def records(self, system: str, crowds: tuple[Crowd, ...], images: int, seconds: float) -> list[Record]:
        """What one run of the load client saw; its failure is a note, and the rest goes on."""
        url = self.stage.urls[system]
        try:
            return serving_load.run(Job(url, crowds, seconds, images, self.references, self.stage.cores.rest))
        except Exception as error:
            self.note(f"{system}, {', '.join(each.name for each in crowds)}: {error}")
            return []

    def measure(self, system: str, crowds: tuple[Crowd, ...], images: int, seconds: float | None = None) -> None:
        """One cell with a crowd a row of the table."""
        before = self.stage.processor_s(system)
        records = self.records(system, crowds, images, seconds or self.seconds)
        spent = (self.stage.processor_s(system) - before) if len(crowds) == 1 else 0.0
        for each in crowds:
            mine = [record for record in records if record.crowd == each.name]
            self.keep(Cell(system, each.name, each.users), of_records(mine, spent))

    def in_turn(self, load: str, users: int, batch: int) -> None:
        """Ours with so many users, and the bare pipeline at a batch, in turn."""
        bare, ours = [], []
        each, images = self.seconds / ROUNDS, self.minimum // ROUNDS
        for _ in range(ROUNDS):
            bare.append(self.bare(load, batch, each, images))
            before = self.stage.processor_s("ours")
            records = self.records("ours", (crowd("ours", load, ALL[load], users),), images, each)
            ours.append(of_records(records, self.stage.processor_s("ours") - before))
        self.keep(Cell("limit", load, batch, beside=users), merged(bare))
        self.keep(Cell("ours", load, users), merged(ours))

    def cell(self, system: str, load: str, users: int) -> None:
        """One cell of one kind of users."""
        images = 0 if system == "baseline" else self.minimum  # the unmended one may never give so many
        self.measure(system, (crowd(system, load, ALL[load], users),), images)

    def bare(self, load: str, batch: int, seconds: float, images: int = 0) -> Figures:
        """The bare pipeline at a batch."""
        answer = self.limit.order(
            do="throughput", wishes=list(ALL[load].values()), batch=batch, seconds=seconds, images=images
        )
        return of_calls(answer["seconds"], batch, answer["processor_s"])

    def keep(self, cell: Cell, figures: Figures) -> None:
        """Put figures into the table, and say so."""
        self.table[cell] = figures
        if figures.reasons:
            self.note(f"{cell.system}, {cell.load}, {cell.users} users: {', '.join(figures.reasons[:5])}")
        print(
            f"{time.strftime('%H:%M:%S')} {cell.system}, {cell.load}, {cell.users}: {figures.rate:.2f} images/s, "
            f"p50 {figures.latency(0.5):.2f} s, {figures.ok} ok, {figures.wrong} wrong, {figures.missing} missing",
            file=sys.stderr,
        )

    def note(self, text: str) -> None:
        """Keep a remark for the report."""
        self.notes.append(text)
        print(text, file=sys.stderr)


def one_size(run: Run, load: str) -> None:
    """The limit and ours in turn, and the mended baseline right after them."""
    sweep = {batch: run.bare(load, batch, min(8.0, run.seconds / 4)) for batch in BATCHES}
    rates = ", ".join(f"{batch}: {figures.rate:.2f}" for batch, figures in sweep.items())
    run.note(f"{load}, the bare pipeline's images/s by batch: {rates}")
    best = max(sweep, key=lambda each: sweep[each].rate)
    for users in run.users:
        run.in_turn(load, users, 1 if users == 1 else best)
        run.cell("mended", load, users)


def unmended(run: Run) -> None:
    """The baseline as it is."""
    for users in sorted(run.users):
        run.cell("baseline", "128 px", users)
    run.cell("baseline", "192 px", 16)


def mixed(run: Run) -> None:
    """Sizes and steps all mixed."""
    for system in ("ours", "mended"):
        run.cell(system, "mixed", 16)


def fairness(run: Run) -> None:
    """One user of small images, without and with four of large ones beside."""
    run.measure("ours", (crowd("ours", "small alone", ALL["128 px"], 1),), run.minimum)
    crowds = (
        crowd("ours", "small beside large", ALL["128 px"], 1),
        crowd("ours", "large beside small", ALL["large"], 4),
    )
    run.measure("ours", crowds, run.minimum, run.seconds * 1.5)


def overheads(run: Run) -> None:
    """What a request and a replica cost besides the model."""
    one = run.table.get(Cell("ours", "128 px", 1))
    if one and one.timings_ms:
        timings = one.timings_ms
        run.note(
            f"One user, medians in ms: in the queue {timings['queue']:.1f}, pipeline {timings['generate']:.1f}, "
            f"encoding {timings['encode']:.1f}, all the rest (client, proxy, ingress, handle) {timings['beside']:.1f}"
        )
    run.note(
        f"A call by handle {run.stage.hop_ms(0):.1f} ms, with 40 kB back {run.stage.hop_ms(40_000):.1f} ms; a request "
        f"without one (/healthz) {run.stage.http_ms():.1f} ms"
    )
    memory = ", ".join(f"{system} {run.stage.memory_mb(system):.0f} MB" for system in run.stage.pids)
    phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in run.stage.health()["phases_s"].items())
    run.note(f"Resident memory of the process with the model: {memory}. Its start: {phases}")


def the_rest(run: Run, images: int) -> None:
    """So many images of ours as are still missing from the wished number."""
    ours = sum(figures.ok for cell, figures in run.table.items() if cell.system == "ours")
    if ours < images:
        run.measure("ours", (crowd("ours", "the rest", ALL["128 px"], 64),), images - ours)


GROUPS = {
    "128": lambda run: one_size(run, "128 px"),
    "192": lambda run: one_size(run, "192 px"),
    "mixed": mixed,
    "fairness": fairness,
    "unmended": unmended,
    "overheads": overheads,
}


def report(run: Run, words: str) -> str:
    """The section of RESULTS.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "diffusers"))
    pinned = "models on the first core, the rest on the others" if run.stage.cores.rest else "nothing pinned"
    head = (
        f"`{COMMAND} {words}`".replace(" `", "`") + f", Python {platform.python_version()}, {versions}, "
        f"{os.cpu_count()} CPUs ({pinned}), load average {os.getloadavg()[0]:.1f} at the end. Cells of "
        f"{run.seconds:g} s and more. One replica, one thread, builtin:shapes at {STEPS} steps unless mixed."
    )
    return "\n".join([head, "", *markdown(run.table), "", *(f"- {note}." for note in run.notes)])


def expected_minutes(seconds: float, images: int, groups: Iterable[str]) -> float:
    """About how long a run takes on the machine for which it was written."""
    cells = {"128": 13, "192": 15, "mixed": 2.3, "fairness": 2.7, "unmended": 5, "overheads": 0.2}
    measured = sum(cells[group] for group in groups) * seconds * 1.05
    return (180 + measured + max(0.0, images - 45 * seconds) / 8) / 60


def arguments() -> argparse.Namespace:
    """The options of a run."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure the service beside its limit and its baseline.")
    parser.add_argument("--seconds", type=float, default=60.0, help="least length of a cell")
    parser.add_argument("--images", type=int, default=5000, help="pictures of the service to compare in all")
    parser.add_argument("--users", default=",".join(map(str, USERS)), help="of the sizes' cells, by commas")
    parser.add_argument("--groups", default=",".join(GROUPS), help="of the cells, by commas")
    return parser.parse_args()


def main() -> None:
    """Measure, print, keep the figures; exits with 1 when a bar is missed."""
    asked = arguments()
    groups = [group for group in asked.groups.split(",") if group in GROUPS]
    users = tuple(count for count in USERS if str(count) in asked.users.split(","))
    section = SECTION if (len(groups), users) == (len(GROUPS), USERS) else PART
    words = shlex.join(sys.argv[1:])
    print(f"about {expected_minutes(asked.seconds, asked.images, groups):.0f} minutes", file=sys.stderr)
    cores = serving_stage.two_sides()
    baseline = {"model": str(SHAPES_FOLDER), "steps": STEPS, "guidance": GUIDANCE}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving_limit.started(str(SHAPES_FOLDER), guidance=GUIDANCE) as limit,
        serving_stage.deployed("builtin:shapes", baseline, cores) as stage,
    ):
        if cores.rest:
            serving_stage.pin(limit.pid, cores.model)
            serving_stage.pin(os.getpid(), cores.rest)
        references = str(Path(folder, "references.npz"))
        limit.order(
            do="pictures", wishes={name: wish for load in ALL.values() for name, wish in load.items()}, file=references
        )
        run = Run(stage, limit, references, asked.seconds, users)
        for group in groups:
            try:
                GROUPS[group](run)
            except Exception as error:
                run.note(f"{group} broke off: {type(error).__name__}: {error}")
            put(section, report(run, words))
        the_rest(run, asked.images)
        text = report(run, words)
    print(text)
    put(section, text)
    sys.exit(0 if all(bar.met for bar in bars(run.table)) else 1)


if __name__ == "__main__":
    main()
