"""What watching costs: the same load with and without the watchers, in alternating runs against one local service.

Run `python -m loadtests.benchmarks.watching` on a quiet machine (about eight minutes). The load is sent by the same
generator each time; with watchers, replicas and nodes are asked for every second as `sdctl loadtest` does.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

from loadtests.benchmarks.results import put
from loadtests.job import Job, builtin_prompts
from sdctl.loadtest import plan
from sdctl.loadtest.child import Child
from sdctl.loadtest.records import Ledger, outcomes
from sdctl.loadtest.watch import ServeWatcher, Watch
from sdctl.local import ports
from sdctl.ray_api import RayApi
from sdctl.targets.base import Selection, Target
from sdctl.targets.local import LocalTarget

PAIRS, RUN_S, USERS = 6, 30.0, 4
BAR = 0.02
COMMAND = "python -m loadtests.benchmarks.watching"


@contextmanager
def service() -> Iterator[Target]:
    """A local service with one replica, of a state folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        sdctl = [sys.executable, "-m", "sdctl"]
        port = str(ports.free(1)[0])
        try:
            subprocess.run([*sdctl, "deploy", "--local", "--replicas", "1", "--port", port], check=True)
            yield LocalTarget(Selection(target="local"))
        finally:
            subprocess.run([*sdctl, "cleanup", "--local"], check=True)


@contextmanager
def watched(target: Target) -> Iterator[None]:
    """The watchers of a load test at work."""
    with target.dashboard() as endpoint, RayApi(endpoint) as api:
        watch = Watch([ServeWatcher(api)], lambda _change: None)
        watch.start()
        yield
        watch.stop()


def throughput(target: Target) -> float:
    """Good images a second of one run, from its first request to its last answer."""
    job = asdict(Job(prompts=tuple(builtin_prompts())))
    job = {key: value for key, value in job.items() if key not in ("stages", "arrivals", "grace_s")}
    ledger = Ledger()
    with target.endpoint() as endpoint:
        child = Child(job, plan.closed("constant", USERS, None, RUN_S), endpoint.url, grace_s=60.0)
        for event in child.events():
            ledger.take(event)
        child.close()
        child.discard()
    ledger.close()
    good = outcomes(ledger.records)["ok"]
    if good != len(ledger.records):
        raise SystemExit(f"only {good} of {len(ledger.records)} requests gave an image: {outcomes(ledger.records)}")
    span = max(record.done or 0.0 for record in ledger.records) - min(record.sent for record in ledger.records)
    return good / span


def alternate(without: Callable[[], float], with_: Callable[[], float]) -> list[tuple[float, float]]:
    """Pairs (without, with), the order turned in every other pair so that a drift of the machine cancels out."""
    pairs = []
    for number in range(PAIRS):
        if number % 2:
            second = with_()
            pairs.append((without(), second))
        else:
            pairs.append((without(), with_()))
    return pairs


def measure(target: Target) -> list[tuple[float, float]]:
    """The pairs of one service that is warm."""

    def run(watching: bool) -> float:
        with watched(target) if watching else nullcontext():
            return throughput(target)

    run(watching=True)  # the first run is for warmth only
    return alternate(lambda: run(watching=False), lambda: run(watching=True))


def verdict(costs: list[float]) -> str:
    """Met or missed; neither where the pairs differ too much to tell the bar from noise."""
    if len(costs) < 2 or statistics.stdev(costs) / len(costs) ** 0.5 > BAR:
        return "cannot be told, the pairs differ by more than that: run it on a quiet machine"
    return "met" if statistics.median(costs) < BAR else "missed"


def main() -> None:
    """Measure and write the section of RESULTS.md; exits with 1 unless the bar is met."""
    began = time.monotonic()
    with service() as target:
        pairs = measure(target)
    costs = [1 - with_ / without for without, with_ in pairs]
    middle = statistics.median(costs)
    rows = ["| pair | without, images/s | with, images/s | cost |", "|--:|--:|--:|--:|"]
    rows += [
        f"| {number} | {without:.3f} | {with_:.3f} | {cost * 100:+.1f} % |"
        for number, ((without, with_), cost) in enumerate(zip(pairs, costs, strict=True), start=1)
    ]
    spread = f"{min(costs) * 100:+.1f} to {max(costs) * 100:+.1f} %"
    text = [
        f"`{COMMAND}`, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} at the end, {USERS} users, "
        f"{PAIRS} pairs of {RUN_S:.0f} s each, {time.monotonic() - began:.0f} s in all.",
        "",
        *rows,
        "",
        f"Median cost of watching {middle * 100:+.1f} % ({spread}), at most {BAR * 100:.0f} %: {verdict(costs)}.",
    ]
    put("What watching costs", "\n".join(text))
    print("\n".join(text))
    sys.exit(0 if verdict(costs) == "met" else 1)


if __name__ == "__main__":
    main()
