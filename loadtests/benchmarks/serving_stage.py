"""Where the systems of the serving benchmark run: one local Ray with the service and both baselines, and its cores."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from sdctl.local import ports, processes, ray_start, record
from sdctl.ray_api import RayApi, ServeState

PATIENCE_S = 600.0
POLL_S = 0.5
BASELINES = {"baseline": None, "mended": 1}  # max_ongoing_requests
MODEL_HOLDERS = ("Generator", "Model")
HOPS = 100


@dataclass(frozen=True)
class Cores:
    """The core of whatever holds a model, and those of all the rest; empty: nothing is pinned."""

    model: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()


def two_sides() -> Cores:
    """The first core for the model, the others for everything else; nothing is pinned where there is one only."""
    if not hasattr(os, "sched_setaffinity"):
        return Cores()
    first, *others = sorted(os.sched_getaffinity(0))
    return Cores((first,), tuple(others)) if others else Cores()


def pin(pid: int, cores: Iterable[int]) -> None:
    """Hold every thread of a process on these cores; threads that it starts later inherit that."""
    for thread in psutil.Process(pid).threads():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread.id, cores)


@dataclass(frozen=True)
class Stage:
    """The running systems: base URLs, and the process that holds each one's model."""

    urls: Mapping[str, str]
    pids: Mapping[str, int]
    cores: Cores

    def memory_mb(self, system: str) -> float:
        """Resident memory of the process with the model, in MB."""
        return float(psutil.Process(self.pids[system]).memory_info().rss / 1e6)

    def processor_s(self, system: str) -> float:
        """Processor time that the process with the model has spent; 0 when it has died."""
        try:
            times = psutil.Process(self.pids[system]).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    def health(self) -> dict[str, Any]:
        """What the service says of itself."""
        answer: dict[str, Any] = httpx.get(f"{self.urls['ours']}/healthz", trust_env=False, timeout=30).json()
        return answer

    def hop_ms(self, size: int) -> float:
        """The median of calls by handle that answer with so many bytes."""
        taken = httpx.get(
            f"{self.urls['mended']}/hop", params={"size": size, "count": HOPS}, trust_env=False, timeout=120
        )
        return float(statistics.median(taken.json()))

    def http_ms(self) -> float:
        """The median of a request that needs no handle: proxy and ingress alone."""
        taken = []
        with httpx.Client(base_url=self.urls["ours"], trust_env=False, timeout=30) as client:
            for _ in range(HOPS):
                start = time.monotonic()
                client.get("/healthz")
                taken.append((time.monotonic() - start) * 1000)
                time.sleep(0.01)
        return statistics.median(taken)


@contextmanager
def deployed(model: str, baseline: Mapping[str, Any], cores: Cores) -> Iterator[Stage]:
    """`sdctl deploy --local --replicas 1` of the service, both baselines on the same Ray; all gone after the block."""
    outer = os.environ.get("XDG_STATE_HOME")
    usual = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an ended benchmark leaves no Ray behind
    with tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_STATE_HOME"] = folder
        try:
            yield _deploy(model, baseline, cores)
        finally:
            _sdctl("cleanup", "--local", "--yes")
            signal.signal(signal.SIGTERM, usual)
            os.environ.pop("XDG_STATE_HOME") if outer is None else os.environ.update(XDG_STATE_HOME=outer)


def _sdctl(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "sdctl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"sdctl {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


def _deploy(model: str, baseline: Mapping[str, Any], cores: Cores) -> Stage:
    port = ports.free(1)[0]
    _sdctl("deploy", "--local", "--replicas", "1", "--port", str(port), "--model", model)
    kept = record.load()
    assert kept is not None
    config = json.loads(json.dumps(kept.config))
    config["applications"] += [_baseline(name, limit, baseline) for name, limit in BASELINES.items()]
    with RayApi(ray_start.endpoint(kept)) as ray:
        ray.put_serve(config)
        state = _running(ray, len(BASELINES) + 1)
    holders = {
        ("ours" if name not in BASELINES else name): replica.pid
        for name, application in state.applications.items()
        for deployment in application.deployments
        for replica in deployment.replicas
        if deployment.name in MODEL_HOLDERS and replica.pid
    }
    if cores.rest:
        for process in processes.find(kept.claim):
            pin(process.pid, cores.model if process.pid in holders.values() else cores.rest)
    base = f"http://127.0.0.1:{port}"
    return Stage({"ours": base} | {name: f"{base}/{name}" for name in BASELINES}, holders, cores)


def _baseline(name: str, limit: int | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": "loadtests.benchmarks.serving_baseline:build",
        "args": {**arguments, "max_ongoing_requests": limit},
    }


def _running(ray: RayApi, applications: int) -> ServeState:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        state = ray.serve()
        statuses = [application.status for application in state.applications.values()]
        if len(statuses) == applications and set(statuses) == {"RUNNING"}:
            return state
        failed = next((app for app in state.applications.values() if app.status == "DEPLOY_FAILED"), None)
        if failed or time.monotonic() > deadline:
            raise SystemExit(f"the systems do not run: {failed.message if failed else statuses}")
        time.sleep(POLL_S)
