"""A burst on simulated GPU nodes: Ray's autoscaler goes 1 → 3 → 1, and the report says what Ray itself said."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdctl.loadtest.autoscaler import Report, parse
from sdctl.local import ports
from tests.loads import end_load, lines, made_by
from tests.local.cli import DEADLINE_S, Sdctl, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
MOST = 3
USERS = "6"  # three times what one replica is to hold at once


@dataclass
class Ray:
    """What Ray's dashboard says, each answer kept: (replicas that run, GPU nodes that live)."""

    sdctl: Sdctl
    seen: list[tuple[int, int]] = field(default_factory=list)

    def _get(self, path: str) -> Any:
        token = (self.sdctl.state_home / "sdctl" / "local.token").read_text(encoding="ascii").strip()
        url = f"http://127.0.0.1:{self.sdctl.record['dashboard_port']}{path}"
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(url, headers=headers, timeout=DEADLINE_S, trust_env=False).json()

    def report(self) -> Report | None:
        """What its autoscaler reports."""
        return parse(self._get("/api/cluster_status?format=1")["data"]["clusterStatus"])

    def look(self) -> tuple[int, int]:
        """One look."""
        applications = self._get("/api/serve/applications/")["applications"].values()
        replicas = [r for a in applications for r in a["deployments"].get("Generator", {}).get("replicas", [])]
        nodes = self._get("/api/v0/nodes?detail=1&limit=1000")["data"]["result"]["result"]
        alive = [node for node in nodes if node["state"] == "ALIVE" and node["resources_total"].get("GPU")]
        self.seen.append((sum(replica["state"] == "RUNNING" for replica in replicas), len(alive)))
        return self.seen[-1]


def level(changes: list[dict[str, Any]], kind: str, up: str) -> list[int]:
    """How many there were, after each change."""
    alive: set[str] = set()
    curve = []
    for change in sorted((each for each in changes if each["kind"] == kind), key=lambda each: each["observed"]):
        (alive.add if change["what"] == up else alive.discard)(change["name"])
        curve.append(len(alive))
    return curve


def test_the_report_says_what_ray_said(tmp_path: Path) -> None:
    sdctl = Sdctl(tmp_path / "state")
    ray, out = Ray(sdctl), tmp_path / "out"
    try:
        sdctl.json("deploy", "--gpu-nodes", f"1:{MOST}", "--port", str(ports.free(1)[0]))
        assert ray.look() == (1, 1)
        assert ray.report() is not None
        words = ["--users", USERS, "--run-time", "10m", "--grace", "120s", "--until-drained", "--slo", "p95<60s"]
        with sdctl.start("loadtest", "--local", *words, "--json", "-o", str(out)) as process:
            try:
                watch(process.poll, ray, out)
                end_load(process.pid)
                wait_for(lambda: process.poll() is not None or ray.look() == (1, 1), "it was as before")
                told, complaint = process.communicate(timeout=DEADLINE_S)
            finally:
                process.kill()
        assert process.returncode == 0, complaint
        check(json.loads(told), lines(out / "transitions.jsonl"), ray)
        assert (out / "report.html").stat().st_size < 500_000
    finally:
        assert sdctl.json("cleanup")["left"] == []


def watch(ended: Callable[[], int | None], ray: Ray, out: Path) -> None:
    """Until all replicas run on nodes of their own and each has made a picture."""

    def all_made_one() -> bool:
        assert ended() is None, "the load test ended early"
        return ray.look() == (MOST, MOST) and len(made_by(out)) == MOST

    wait_for(all_made_one, "every replica had made a picture")


def check(summary: dict[str, Any], changes: list[dict[str, Any]], ray: Ray) -> None:
    """The report against Ray's own words, and its parts against each other."""
    replicas, gpu_nodes = level(changes, "replica", "RUNNING"), level(changes, "ray_node", "alive")
    assert (replicas[0], max(replicas), replicas[-1]) == (1, max(count for count, _ in ray.seen), 1)
    head = 1
    assert max(gpu_nodes) - head == max(count for _, count in ray.seen) == MOST
    assert gpu_nodes[-1] - head == 1
    assert summary["replicas"] == {"before": 1, "max_running": MOST, "max_target": MOST}
    assert summary["nodes"] == {"max": MOST + head}

    assert summary["sent"] == sum(summary["outcomes"].values())
    assert summary["outcomes"]["ok"] == summary["sent"], summary["outcomes"]
    assert summary["verified"] == summary["outcomes"]["ok"]  # each is the picture of its own prompt and seed

    assert summary["prediction"]["replicas"] == MOST
    assert summary["prediction_against_fact"].startswith(f"predicted {MOST} replicas, came {MOST}")
    for lane in summary["timeline"]["lanes"]:
        assert {"decided", "asked", "ray_alive", "running", "first_image"} <= lane["marks"].keys()
    assert {"decide", "start", "load", "first_image"} <= {name for name, known in summary["phases"].items() if known}
    assert summary["phases"]["provision"] is None  # no machine was launched: unknown, not zero
    assert summary["timeline"]["headlines"]["drain_s"] is not None
    assert (summary["cost"]["total_usd"], summary["cost"]["nodes"]) == (0.0, [])
