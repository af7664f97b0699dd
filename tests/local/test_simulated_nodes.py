"""Ray's own autoscaler on one machine: simulated GPU nodes come with the load and go after it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdctl.local import ports
from tests.local.cli import DEADLINE_S, Sdctl, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(3600)]
CLIENTS = 4


def gpu_nodes(status: dict[str, Any]) -> list[str]:
    return [node["name"] for node in status["nodes"] if node["gpus"]]


def test_nodes_and_replicas_follow_the_load_up_and_down(tmp_path: Path) -> None:
    sdctl = Sdctl(tmp_path)
    wish = {"prompt": "a red circle on a blue background"}
    try:
        words = ("--gpu-nodes", "1:2", "--port", str(ports.free(1)[0]))
        document = sdctl.json("deploy", *words)
        assert gpu_nodes(document) == ["gpu-1"]
        loaded = [True]

        def draw() -> set[int]:
            codes = set()
            with httpx.Client(base_url=document["endpoint"]["url"], timeout=DEADLINE_S, trust_env=False) as client:
                while loaded[0]:
                    codes.add(client.post("/imagine", json=wish).status_code)
            return codes

        with ThreadPoolExecutor(CLIENTS) as pool:
            users = [pool.submit(draw) for _ in range(CLIENTS)]
            wait_for(lambda: sdctl.json("status")["replicas"]["running"] == 2, "a second replica ran")
            assert len(gpu_nodes(sdctl.json("status"))) == 2
            loaded[0] = False
            assert set().union(*(user.result(DEADLINE_S) for user in users)) == {200}
        wait_for(lambda: len(gpu_nodes(sdctl.json("status"))) == 1, "the second node had gone")
        assert sdctl.json("status")["replicas"] == {"target": 1, "running": 1}
    finally:
        assert sdctl.json("cleanup")["left"] == []
