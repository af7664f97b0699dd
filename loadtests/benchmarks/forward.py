"""`sdctl forward` beside `kubectl port-forward`, in one run, through the test cluster's API server.

Run `python -m loadtests.benchmarks.forward --kubelet BINARY`: `kubelet/main.go` beside this file, built, is a kubelet's
port-forward by its own code, which speaks to both. It needs `kubectl`, and `make test-cluster` before.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from loadtests.benchmarks import results
from tests.cluster.control_plane import ControlPlane, binaries, running

CONNECTIONS = (1, 8, 64)
BODIES = 128  # a round, 2 MB each
ROUNDS = 5
REQUESTS = 40
NAMESPACE, NAME, CLUSTER, POD = "bench", "sd", "sd-a", "sd-a-head"


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubelet", required=True, type=Path)
    kubelet = parser.parse_args().kubelet
    folder = binaries.find()
    if folder is None:
        sys.exit("There is no kube-apiserver: run `make test-cluster`.")
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(folder, Path(scratch)) as plane,
        printing([sys.executable, "-m", "loadtests.benchmarks.bodies", "serve"]) as (_, pod),
        printing([str(kubelet), *kubelet_arguments(plane, int(pod))]) as (_, port),
    ):
        make_objects(plane, int(port))
        text = report(*measure(plane, int(pod)))
    print(text)
    results.put("Forwarding", text)


def kubelet_arguments(plane: ControlPlane, pod: int) -> list[str]:
    return ["-pod", f"127.0.0.1:{pod}", "-cert", str(plane.certificate), "-key", str(plane.key)]


def measure(plane: ControlPlane, pod: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """Figures by way and measure, all ways in turn so that a busy moment hits all; and processor seconds per GB."""
    config = str(plane.kubeconfig())
    place = ["--kubeconfig", config, "--namespace", NAMESPACE]
    own = [sys.executable, "-m", "sdctl", "forward", "--target", "kubernetes", "--name", NAME, "--local-port", "0"]
    with (
        printing([*own, *place]) as (sdctl, said),
        printing(["kubectl", *place, "port-forward", POD, ":8000"]) as (
            kubectl,
            told,
        ),
    ):
        ports = {"direct": pod, "sdctl": int(said.rpartition(":")[2]), "kubectl": int(told.split()[2].split(":")[1])}
        processes = {"sdctl": sdctl, "kubectl": kubectl}
        figures: dict[str, dict[str, list[float]]] = {way: {} for way in ports}
        used = dict.fromkeys(processes, 0.0)
        for _ in range(ROUNDS):
            for way, port in ports.items():
                before = processor_s(processes.get(way))
                for name, figure in one_round(port).items():
                    figures[way].setdefault(name, []).append(figure)
                if way in used:
                    used[way] += processor_s(processes[way]) - before
    gigabytes = ROUNDS * len(CONNECTIONS) * BODIES * 2e6 / 1e9
    return figures, {way: seconds / gigabytes for way, seconds in used.items()}


def one_round(port: int) -> dict[str, float]:
    """MB/s by connections, and ms of a small request on a new and on a kept connection."""
    figures = {}
    for count in CONNECTIONS:
        command = [sys.executable, "-m", "loadtests.benchmarks.bodies", "read", str(port), str(count), str(BODIES)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        figures[f"MB/s, {count} connections"] = float(ran.stdout)
    figures["ms, new connection"] = median_ms(lambda: ask(http.client.HTTPConnection("127.0.0.1", port), close=True))
    kept = http.client.HTTPConnection("127.0.0.1", port)
    ask(kept)
    figures["ms, kept connection"] = median_ms(lambda: ask(kept))
    kept.close()
    return figures


def ask(connection: http.client.HTTPConnection, *, close: bool = False) -> None:
    """One small request."""
    connection.request("GET", "/small")
    connection.getresponse().read()
    if close:
        connection.close()


def median_ms(action: Callable[[], None]) -> float:
    """The median duration of an action."""
    taken = []
    for _ in range(REQUESTS):
        start = time.perf_counter()
        action()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def processor_s(process: "subprocess.Popen[str] | None") -> float:
    """Processor time of a process so far."""
    if process is None:
        return 0.0
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def printing(command: list[str]) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process that runs during the block, and the first line that it printed."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            if not (line := process.stdout.readline()):
                errors.seek(0)
                sys.exit(f"{command[0]} said nothing but: {errors.read()}")
            yield process, line.strip()
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def make_objects(plane: ControlPlane, kubelet: int) -> None:
    """A node behind that kubelet, and a RayService with one ready pod."""
    endpoint = {"kubeletEndpoint": {"Port": kubelet}}
    address = [{"type": "InternalIP", "address": "127.0.0.1"}]
    ready = [{"type": "Ready", "status": "True"}]
    container = {"name": "ray", "image": "none"}
    labels = {"ray.io/cluster": CLUSTER, "ray.io/node-type": "head"}
    head = {"rayStartParams": {}, "template": {"spec": {"containers": [container]}}}
    here, ray = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayservices"
    port = {"name": "serve", "port": 8000}
    documents: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        ("/api/v1/nodes", "node", {}, {"addresses": address, "daemonEndpoints": endpoint, "conditions": ready}),
        ("/api/v1/namespaces", NAMESPACE, {}, {}),
        (f"{here}/services", f"{NAME}-serve-svc", {"spec": {"selector": labels, "ports": [port]}}, {}),
        (
            f"{here}/pods",
            POD,
            {"spec": {"nodeName": "node", "containers": [container]}},
            {"phase": "Running", "conditions": ready},
        ),
        (
            ray,
            NAME,
            {
                "apiVersion": "ray.io/v1",
                "kind": "RayService",
                "spec": {"rayClusterConfig": {"headGroupSpec": head}},
            },
            {"activeServiceStatus": {"rayClusterName": CLUSTER}},
        ),
    ]
    for path, name, document, status in documents:
        plane.request("POST", path, {**document, "metadata": {"name": name, "labels": labels}})
        if status:
            content = "application/merge-patch+json"
            plane.request("PATCH", f"{path}/{name}/status", {"status": status}, content=content)


def report(figures: dict[str, dict[str, list[float]]], processor: dict[str, float]) -> str:
    """The figures as Markdown: medians, best rounds, and the verdict on throughput."""
    kubectl = json.loads(subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True).stdout)
    names = list(figures["direct"])
    rows = [
        f"| {name} | " + " | ".join(f"{statistics.median(figures[way][name]):.1f}" for way in figures) + " |"
        for name in names
    ]
    bars = []
    for name in names[: len(CONNECTIONS)]:
        ratio = statistics.median(figures["sdctl"][name]) / statistics.median(figures["kubectl"][name])
        bars.append(f"- {name}: {ratio:.2f} times kubectl's, at least 1: {'met' if ratio >= 1 else 'missed'}.")
    return "\n".join(
        [
            f"Python {platform.python_version()}, kubectl {kubectl['clientVersion']['gitVersion']}, "
            f"{os.cpu_count()} CPUs, {ROUNDS} rounds in turn, load average {os.getloadavg()[0]:.1f} at the end. "
            "Medians; bodies of 2 MB.",
            "",
            "| measure | " + " | ".join(figures) + " |",
            "|---|" + "--:|" * len(figures),
            *rows,
            f"| processor seconds per GB | | {processor['sdctl']:.2f} | {processor['kubectl']:.2f} |",
            "",
            *bars,
        ]
    )


if __name__ == "__main__":
    main()
