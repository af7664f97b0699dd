"""A burst on a cluster, end to end: nodes come, replicas follow, forwards break, the API server is away, all goes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bursting import ScalingRay, scaling_service
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operating import NAME, node_class, node_pool, serving
from tests.cluster.standins.platform import Platform
from tests.loads import end_load, lines, made_by

pytestmark = pytest.mark.cluster
MOST = 3
CLOUD = {"pod_created", "claim_created", "launched", "registered", "gpu_usable", "bound", "container_started"}


def start(control_plane: ControlPlane, namespace: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sdctl", "loadtest", "--target", "kubernetes", "--name", NAME]
    command += ["--namespace", namespace, "--kubeconfig", str(control_plane.kubeconfig())]
    command += ["--users", "8", "--run-time", "30m", "--grace", "120s", "--until-drained", "--price", "g5.xlarge=1.0"]
    command += ["--json", "-o", str(folder / "out")]
    environment = {key: value for key, value in os.environ.items() if key != "SDCTL_TOKEN"}
    with (folder / "stderr").open("w", encoding="utf-8") as said:  # stays with the results of a run that failed
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment | {"XDG_STATE_HOME": str(folder)}
        )


def test_a_burst_brings_nodes_and_the_report_tells_how(
    control_plane: ControlPlane, namespace: str, platform: Platform, tmp_path: Path
) -> None:
    rays: list[ScalingRay] = []

    def ray(_cluster: str) -> ScalingRay:
        rays.append(ScalingRay(platform, MOST))
        return rays[-1]

    platform.backend = ray
    platform.create(node_class())
    platform.create(node_pool())
    platform.create(scaling_service(namespace, MOST))
    platform.until(lambda: serving(platform) and len(platform.list("nodeclaims")) == 1)
    out = tmp_path / "out"

    def told(kind: str, what: str) -> set[str]:
        found = lines(out / "transitions.jsonl")
        return {line["name"] for line in found if (line["kind"], line["what"]) == (kind, what)}

    process = start(control_plane, namespace, tmp_path)
    try:
        platform.until(lambda: len(told("replica", "RUNNING")) == len(told("nodeclaim", "initialized")) == MOST)
        platform.kubelet.cut()  # the forwards break off
        platform.until(lambda: "connection_lost" in {line["outcome"] for line in lines(out / "requests.jsonl")})
        claims = {claim["metadata"]["name"] for claim in platform.list("nodeclaims")}
        control_plane.stop_apiserver()
        platform.until(lambda: "Kubernetes" in told("watcher", "lost"))
        control_plane.start_apiserver()
        platform.until(lambda: "Kubernetes" in told("watcher", "back"))
        rays[0].grown.set()
        platform.until(lambda: len(made_by(out)) == MOST, "each replica has made an image")
        head = 1
        platform.until(lambda: len(told("ray_node", "alive")) == len(told("pod", "started")) == MOST + head)
        end_load(process.pid)
        rays[0].shrink.set()
        document, _ = process.communicate(timeout=300)
    finally:
        for each in rays:
            each.grown.set()
        process.kill()
        process.communicate()
    assert process.returncode == 0, (tmp_path / "stderr").read_text(encoding="utf-8")
    summary = json.loads(document)
    assert_scaled(summary, out)
    assert told("nodeclaim", "launched") == claims
    assert_paid(summary)
    assert_foreseen(summary)
    assert_watched(summary)


def assert_scaled(summary: dict[str, Any], out: Path) -> None:
    """Every request is accounted for, and each newcomer has all its marks."""
    assert summary["sent"] == sum(summary["outcomes"].values()) == len(lines(out / "requests.jsonl"))
    assert summary["outcomes"]["ok"] > 20
    assert summary["replicas"] == {"before": 1, "max_running": MOST, "max_target": MOST}
    lanes = summary["timeline"]["lanes"]
    assert len(lanes) == MOST - 1
    for lane in lanes:
        assert CLOUD | {"decided", "ray_alive", "running", "first_image"} <= lane["marks"].keys()
        assert lane["gone"] is not None
    assert summary["timeline"]["headlines"]["drain_s"] is not None


def assert_paid(summary: dict[str, Any]) -> None:
    """Each node has its price, and the parts make the whole."""
    assert {node["instance_type"] for node in summary["cost"]["nodes"]} == {"g5.xlarge"}
    assert len(summary["cost"]["nodes"]) == MOST
    assert summary["cost"]["total_usd"] == pytest.approx(sum(node["cost_usd"] for node in summary["cost"]["nodes"]))
    assert 0 < summary["cost"]["cold_start_usd"] < summary["cost"]["total_usd"]


def assert_foreseen(summary: dict[str, Any]) -> None:
    """What was predicted, and why it went no further."""
    assert summary["prediction"]["replicas"] == MOST
    assert "worker groups" in summary["prediction"]["reason"]
    assert {cause["code"] for cause in summary["causes"]} == {"worker_limit"}


def assert_watched(summary: dict[str, Any]) -> None:
    """Tunnel, clocks, the autoscalers' own words, and the look that was lost for a while."""
    assert summary["via"] == "tunnel"
    assert summary["tunnel_latency_s"] > 0
    assert not summary["tunnel_compared"]  # nothing answers at the pods' own addresses
    assert summary["clocks"].keys() == {"service", "api_server"}
    assert all(abs(clock["seconds"]) <= clock["plus_minus"] + 1.0 for clock in summary["clocks"].values() if clock)
    wanted = [row["workers"] for row in summary["workers_wanted"]]
    assert (wanted[0], max(wanted)) == (1, MOST)
    assert max(row["waiting"] for row in summary["autoscaler"]) == MOST - 1
    notes = " ".join(summary["notes"])
    assert "lost sight of" in notes
    assert "seen again" in notes
