"""From nothing to the first image: `sdctl deploy --local` against `ray start` + `serve deploy` of the same application.

Run `python -m loadtests.benchmarks.startup` (about two minutes for each round on two cores); `serve run` of the import
path stands beside. It prints a table and puts it into RESULTS.md.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from loadtests.benchmarks.results import put
from sdctl import manifest
from sdctl.local import config, ports, processes
from sdctl.local.processes import Claim, Identity

ROUNDS = 3
BAR = 1.25
PATIENCE_S = 300.0
PROMPT = {"prompt": "a red star on a blue background", "seed": 1}
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
SERVE = [sys.executable, "-m", "ray.serve.scripts"]


def first_image(url: str) -> None:
    """Ask until the service gives an image."""
    deadline = time.monotonic() + PATIENCE_S
    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                if client.post("/imagine", json=PROMPT).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise SystemExit(f"{url} gave no image within {PATIENCE_S:.0f} s")


@contextmanager
def started(command: list[str], environment: Mapping[str, str], folder: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A command in a session of its own, ended with all that came of it."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        claim = Claim(folder, Identity(process.pid, processes.started(process.pid)))
        try:
            yield process
        finally:
            for _ in processes.end(claim):
                pass


def clean(folder: str) -> dict[str, str]:
    """The environment in which Ray starts here: no token, no other Ray, this package importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": folder, "PYTHONPATH": "."}


def sdctl_deploy(folder: str, phases: dict[str, list[float]]) -> float:
    """Seconds of `sdctl deploy --local` to an image; adds the phases that it reports."""
    environment = os.environ | {"XDG_STATE_HOME": folder}
    sdctl = [sys.executable, "-m", "sdctl"]
    port = ports.free(1)[0]
    words = ["deploy", "--local", "--replicas", "1", "--port", str(port), "--json"]
    start = time.monotonic()
    try:
        done = subprocess.run([*sdctl, *words], env=environment, stdout=subprocess.PIPE, check=True)
        first_image(f"http://127.0.0.1:{port}")
        taken = time.monotonic() - start
    finally:
        subprocess.run([*sdctl, "cleanup", "--local"], env=environment, capture_output=True, check=True)
    for name, seconds in json.loads(done.stdout)["details"]["phases_s"].items():
        phases.setdefault(name, []).append(seconds)
    return taken


def serve_deploy(folder: str, application: Mapping[str, Any]) -> float:
    """Seconds of `ray start` and `serve deploy` of the same application to an image."""
    gcs, dashboard, agent, client, port = ports.free(5)
    file = Path(folder, "serve.json")
    file.write_text(json.dumps({**application, "http_options": {"host": "127.0.0.1", "port": port}}), encoding="utf-8")
    environment = clean(folder)
    head = [*RAY, "start", "--head", f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={folder}"]
    head += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}", "--num-cpus=2"]
    head += ["--min-worker-port=0", "--max-worker-port=0"]
    start = time.monotonic()
    with started(head, environment, folder) as process:
        if process.wait(PATIENCE_S) != 0:
            raise SystemExit("ray start failed")
        deploy = [*SERVE, "deploy", str(file), "--address", f"http://127.0.0.1:{dashboard}"]
        subprocess.run(deploy, env=environment, capture_output=True, check=True)
        first_image(f"http://127.0.0.1:{port}")
        return time.monotonic() - start


def serve_run(folder: str, application: Mapping[str, Any]) -> float:
    """Seconds of `serve run` of the import path to an image; it knows no other port than 8000."""
    first = application["applications"][0]
    arguments = [f"{name}={value}" for name, value in first["args"].items() if value != ""]
    environment = clean(folder) | {"RAY_TMPDIR": folder}
    start = time.monotonic()
    with started([*SERVE, "run", first["import_path"], *arguments], environment, folder):
        first_image("http://127.0.0.1:8000")
        return time.monotonic() - start


def measure(rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of every way, in turn so that a busy moment hits all of them, and the phases of ours."""
    wanted = manifest.load(manifest.packaged(manifest.CPU)).serve_config
    application = config.overlay(wanted, config.Wish(0, replicas=(1, 1)), config.Machine(os.cpu_count() or 1))
    phases: dict[str, list[float]] = {}
    ways: dict[str, Callable[[str], float]] = {
        "ray start + serve deploy": lambda folder: serve_deploy(folder, application),
        "sdctl deploy --local": lambda folder: sdctl_deploy(folder, phases),
    }
    if ports.is_free(8000):
        ways["serve run"] = lambda folder: serve_run(folder, application)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp", ignore_cleanup_errors=True) as folder:
                taken[name].append(way(folder))
            print(f"round {number + 1}: {name} {taken[name][-1]:.1f} s", file=sys.stderr)
    return taken, phases


def report(taken: Mapping[str, list[float]], phases: Mapping[str, list[float]]) -> tuple[str, bool]:
    """The figures as Markdown, and whether the bar is met."""
    ratio = statistics.median(taken["sdctl deploy --local"]) / statistics.median(taken["ray start + serve deploy"])
    rows = [f"| {name} | {min(each):.1f} | {statistics.median(each):.1f} |" for name, each in taken.items()]
    parts = ", ".join(f"{name} {statistics.median(each):.1f}" for name, each in phases.items())
    verdict = "met" if ratio <= BAR else "missed"
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {len(taken['sdctl deploy --local'])} rounds in "
        f"turn, load average {os.getloadavg()[0]:.1f} at the end. Seconds from nothing to an image over HTTP.",
        "",
        "| way | best, s | median, s |",
        "|---|--:|--:|",
        *rows,
        "",
        f"- Phases of `sdctl deploy --local`, in the median: {parts}; the rest is Serve starting processes.",
        f"- {ratio:.2f} times `ray start` + `serve deploy`, at most {BAR}: {verdict}.",
    ]
    return "\n".join(lines), ratio <= BAR


def main() -> None:
    """Measure, print, keep the figures; exits with 1 when the bar is missed."""
    text, met = report(*measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
    print(text)
    put("From nothing to the first image", text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
