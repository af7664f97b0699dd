"""How truthful the load generator is: `python -m loadtests.benchmarks.generator`, three minutes of a quiet machine.

The baseline is the stub server's own record of the same requests; plain Locust and ApacheBench stand beside.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.benchmarks.results import put
from loadtests.job import Job, builtin_prompts
from sdctl.loadtest import plan
from sdctl.loadtest.child import Child, locustfile
from sdctl.loadtest.records import Ledger, Record, latencies, outcomes, quantile

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
COMMAND = "python -m loadtests.benchmarks.generator"


@contextmanager
def stub(latency: str, measured: list[float] | None = None) -> Iterator[str]:
    """The stub server as a process of its own; after the block `measured` holds its own record, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.json")
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.benchmarks.stub", "--latency", latency, "--record", str(record)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()
            process.wait(timeout=60)
            process.stdout.close()
        if measured is not None:
            measured += json.loads(record.read_text(encoding="utf-8"))


def send(load: plan.Plan, url: str) -> list[Record]:
    """Run one plan against the stub and give its records."""
    job = asdict(Job(prompts=tuple(builtin_prompts())))
    job = {key: value for key, value in job.items() if key not in ("stages", "arrivals", "grace_s")}
    child, ledger = Child(job, load, url, grace_s=30.0), Ledger()
    for event in child.events():
        ledger.take(event)
    child.close()
    child.discard()
    ledger.close()
    return ledger.records


def lag(records: list[Record]) -> float:
    """The 99th percentile of how late requests were started, in seconds."""
    return quantile(sorted(record.sent - record.scheduled for record in records), 0.99) or 0.0


def truth(rows: list[str]) -> bool:
    """Every quantile against the stub's own record, for latencies between 10 ms and 10 s; plain Locust's beside it."""
    own: list[float] = []
    with stub("0.01:10", own) as url:
        records = send(plan.open_loop(40.0, "poisson", 60.0, 1), url)
    plain: list[float] = []
    with stub("0.01:10", plain) as url:
        told = locust_alone(url)
    measured = latencies(records)
    held = True
    rows += ["", "| quantile | stub's own | sdctl | error | stub's own | plain Locust | error |"]
    rows.append("|---|--:|--:|--:|--:|--:|--:|")
    for share in SHARES:
        ours, theirs = quantile(measured, share) or 0.0, quantile(sorted(own), share) or 0.0
        held = held and abs(ours - theirs) <= max(0.01 * theirs, 0.002)
        beside = errors(bucketed(told, share), quantile(sorted(plain), share) or 0.0)
        rows.append(f"| p{share * 100:g} {errors(ours, theirs)} {beside} |")
    rows += ["", f"{len(records)} requests: {outcomes(records)['ok']} ok. All within 1 % or 2 ms: {held}.", ""]
    rows.append(f"Plain Locust ran {len(plain)} requests of 40 users on a stub of its own; its times lie in buckets.")
    return held


def errors(told: float, true: float) -> str:
    """Three cells: the true time, what was told, and by how much that is wrong."""
    return f"| {true:.4f} s | {told:.4f} s | {(told - true) * 1000:+.1f} ms ({(told / true - 1) * 100:+.1f} %)"


def bucketed(told: dict[float, int], share: float) -> float:
    """A percentile as Locust takes it from its table of rounded times, in seconds."""
    total, passed = sum(told.values()), 0
    for time in sorted(told, reverse=True):
        passed += told[time]
        if total - passed <= int(total * share):
            return time / 1000
    return 0.0


def locust_alone(url: str) -> dict[float, int]:
    """What plain Locust keeps of such a load: how many requests took each of its rounded times, in ms."""
    command = [sys.executable, "-m", "locust", "-f", str(locustfile()), "--headless", "-H", url]
    command += ["-u", "40", "-r", "40", "-t", "45s", "--stop-timeout", "15", "--json", "--only-summary"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    table: dict[str, int] = json.loads(done.stdout)[0]["response_times"]
    return {float(time): count for time, count in table.items()}


def in_flight(rows: list[str]) -> bool:
    """1,000 requests of 10 s each at once."""
    with stub("10") as url:
        records = send(plan.closed("constant", 1000, 500.0, 25.0), url)
    most = peak(records)
    rows.append(f"1,000 users, 10 s each: {most} in flight at once, {outcomes(records)['ok']} of {len(records)} ok.")
    return most >= 1000 and outcomes(records)["ok"] == len(records)


def peak(records: list[Record]) -> int:
    """The most requests under way at one time."""
    moments = sorted([(r.sent, 1) for r in records] + [(r.done or r.sent, -1) for r in records])
    level = most = 0
    for _, change in moments:
        level += change
        most = max(most, level)
    return most


def fast(rows: list[str]) -> bool:
    """300 requests a second at 20 ms, from one core."""
    with stub("0.02") as url:
        records = send(plan.open_loop(300.0, "constant", 20.0, 0), url)
        beside = apache_bench(url)
    late = lag(records)
    rows.append(f"300 requests/s at 20 ms: {len(records)} sent, p99 schedule lag {late * 1000:.1f} ms. {beside}")
    return late < 0.05


def apache_bench(url: str) -> str:
    """A peer beside it: ApacheBench, closed loop, where it is installed."""
    program = shutil.which("ab")
    if program is None:
        return "ApacheBench is not installed here."
    with tempfile.NamedTemporaryFile("w", suffix=".json") as body:
        body.write('{"prompt": "a red circle"}')
        body.flush()
        command = [program, "-q", "-n", "3000", "-c", "8", "-p", body.name, "-T", "application/json"]
        done = subprocess.run([*command, f"{url}/imagine"], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("Requests per second")), "no answer")
    return f"ApacheBench, 8 connections: {' '.join(line.split()[:4])}."


def memory(rows: list[str]) -> None:
    """What 100,000 records take in the parent."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = [Record(n, "p", n + 0.1, n + 0.2, n + 0.3, n + 0.4, "ok", 200, 9000, n, f"r{n}") for n in range(100_000)]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    rows.append(f"{len(kept):,} records take {grown:.0f} MiB.")


def main() -> None:
    """Run all parts and write the section of RESULTS.md; exits with 1 when a bar is missed."""
    rows: list[str] = []
    held: dict[str, Any] = {"quantiles": truth(rows), "in flight": in_flight(rows), "schedule": fast(rows)}
    memory(rows)
    rows.append(f"Bars held: {held}.")
    machine = f"`{COMMAND}`, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} at the end."
    put("Load generator", "\n".join([machine, *rows]))
    print("\n".join(rows))
    sys.exit(0 if all(held.values()) else 1)


if __name__ == "__main__":
    main()
