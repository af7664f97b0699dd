"""What watching costs: one steady load on a local service, watched in every other window of a few seconds.

Run `python -m loadtests.benchmarks.watching` (about eight minutes). The load keeps all processors busy, so what
watching takes of them is taken from the images: that share is the cost. It is told with its confidence interval, which
stays narrow on a busy machine too; the images themselves are counted beside it.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import mean, stdev

import psutil

from loadtests.benchmarks.results import put
from loadtests.job import Job, builtin_prompts
from sdctl.loadtest import plan
from sdctl.loadtest.child import Child
from sdctl.loadtest.records import Ledger, Record, outcomes
from sdctl.loadtest.watch import ServeWatcher, Watch
from sdctl.local import ports, record
from sdctl.ray_api import RayApi
from sdctl.targets.base import Selection, Target
from sdctl.targets.local import LocalTarget

PAIRS, WINDOW_S, WARM_S, USERS = 26, 8.0, 10.0, 4
BAR = 0.02
T_95 = 2.06  # Student's t for 25 degrees of freedom
COMMAND = "python -m loadtests.benchmarks.watching"


@dataclass(frozen=True)
class Window:
    """A stretch of the load (epoch s), watched or not, and the processor seconds of all that is no model replica."""

    watched: bool
    begin: float
    end: float
    processor_s: float

    @property
    def share(self) -> float:
        """The part of all processors that it took."""
        return self.processor_s / (self.end - self.begin) / (os.cpu_count() or 1)


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
def load(target: Target, seconds: float) -> Iterator[list[Record]]:
    """A closed loop of a few users for the block; afterwards the list holds its records."""
    job = asdict(Job(prompts=tuple(builtin_prompts())))
    job = {key: value for key, value in job.items() if key not in ("stages", "arrivals", "grace_s")}
    records: list[Record] = []
    ledger = Ledger()
    with target.endpoint() as endpoint:
        child = Child(job, plan.closed("constant", USERS, None, seconds), endpoint.url, grace_s=60.0)
        reader = threading.Thread(target=lambda: [ledger.take(event) for event in child.events()])
        reader.start()
        try:
            yield records
            child.stop()
            reader.join(timeout=120)
        finally:
            child.kill()
            child.close()
            child.discard()
    ledger.close()
    good = outcomes(ledger.records)["ok"]
    if good != len(ledger.records):
        raise SystemExit(f"only {good} of {len(ledger.records)} requests gave an image: {outcomes(ledger.records)}")
    records += ledger.records


def processor_s() -> float:
    """Processor seconds so far of this process, which watches, and of Ray's, without those that make the images."""
    kept = record.load()
    if kept is None or kept.leader is None:
        raise SystemExit("there is no local service")
    spent = time.process_time()
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == kept.leader.pid and "Generator" not in " ".join(process.cmdline()):
                used = process.cpu_times()
                spent += used.user + used.system
        except (psutil.Error, OSError):
            continue
    return spent


def measure(target: Target) -> tuple[list[Window], list[Record]]:
    """All windows of one load; in turn watched second and watched first, so that a drift of the machine cancels out."""
    windows: list[Window] = []
    order = [number % 4 in (1, 2) for number in range(2 * PAIRS)]
    with target.dashboard() as endpoint, RayApi(endpoint) as api, load(target, 3600.0) as records:
        time.sleep(WARM_S)
        for watched in order:
            watch = Watch([ServeWatcher(api)] if watched else [], lambda _change: None)
            before, begin = processor_s(), time.time()
            watch.start()
            time.sleep(WINDOW_S)
            watch.stop()
            windows.append(Window(watched, begin, time.time(), processor_s() - before))
    return windows, records


def images_per_s(window: Window, records: Sequence[Record]) -> float:
    """Images made in a window; one that was under way at its edge counts by its part."""
    made = 0.0
    for each in records:
        done = each.done or each.sent
        inside = min(done, window.end) - max(each.sent, window.begin)
        made += max(0.0, inside) / max(done - each.sent, 1e-6)
    return made / (window.end - window.begin)


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """The mean and half of its 95 % confidence interval."""
    return mean(differences), T_95 * stdev(differences) / len(differences) ** 0.5


def pairs(windows: Sequence[Window]) -> Iterator[tuple[Window, Window]]:
    """(not watched, watched) of each pair of neighbours."""
    for one, other in zip(windows[::2], windows[1::2], strict=True):
        yield (other, one) if one.watched else (one, other)


def verdict(middle: float, half: float) -> str:
    """Met or missed; neither where the interval holds the bar."""
    if middle + half < BAR:
        return "met"
    return "missed" if middle - half > BAR else "cannot be told, the interval holds the bar"


def main() -> None:
    """Measure and write the section of RESULTS.md; exits with 1 unless the bar is met."""
    began = time.monotonic()
    with service() as target:
        windows, records = measure(target)
    cost, cost_half = interval([watched.share - alone.share for alone, watched in pairs(windows)])
    rates = [(images_per_s(alone, records), images_per_s(watched, records)) for alone, watched in pairs(windows)]
    lost, lost_half = interval([1 - watched / alone for alone, watched in rates])
    alone_s, watched_s = (mean(w.share for w in windows if w.watched is kind) for kind in (False, True))
    text = [
        f"`{COMMAND}`, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} at the end, {USERS} users, "
        f"{PAIRS} pairs of {WINDOW_S:.0f} s in turn within one load, {time.monotonic() - began:.0f} s in all.",
        "",
        "| measure | without | with | cost, 95 % interval |",
        "|---|--:|--:|--:|",
        f"| processors, all but the model's | {alone_s * 100:.2f} % | {watched_s * 100:.2f} % "
        f"| {cost * 100:+.2f} ± {cost_half * 100:.2f} % of the machine |",
        f"| images/s | {mean(a for a, _ in rates):.3f} | {mean(w for _, w in rates):.3f} "
        f"| {lost * 100:+.2f} ± {lost_half * 100:.2f} % |",
        "",
        "The load keeps all processors busy: what watching takes of them is what the images lose.",
        f"- Watching takes {cost * 100:.2f} % of them, at most {BAR * 100:.0f} %: {verdict(cost, cost_half)}.",
    ]
    put("What watching costs", "\n".join(text))
    print("\n".join(text))
    sys.exit(0 if verdict(cost, cost_half) == "met" else 1)


if __name__ == "__main__":
    main()
