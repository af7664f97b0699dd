"""Minutes of load on the service as shipped: 500 clients that hang up, and a burst that takes every replica."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from sdctl.local import ports
from tests.local import faults
from tests.local.cli import DEADLINE_S, Sdctl, wait_for
from tests.local.conftest import LocalService
from tests.local.test_service import idle
from tests.local.users import USERS, WISHES, references, twenty

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(3600)]

HANG_UPS = 500
GROWTH_BYTES = 64 * 2**20
BURST = "50"


def test_five_hundred_hang_ups_beside_twenty_users_leave_memory_flat(local_service: LocalService) -> None:
    long = WISHES[0] | {"num_inference_steps": 150, "img_size": 192}
    parts = [psutil.Process(local_service.pid(part)) for part in (faults.GENERATOR, faults.INGRESS, faults.PROXY)]

    def hang_up(_: int) -> None:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/imagine", json=long, timeout=httpx.Timeout(DEADLINE_S, read=0.2))

    with local_service.new_client() as client:
        alone = references(client)
        sizes = []
        with twenty(local_service.new_client, alone) as crowd, ThreadPoolExecutor(USERS) as pool:
            for _ in range(5):
                list(pool.map(hang_up, range(HANG_UPS // 5)))
                crowd.everyone_is_served()
                sizes.append([process.memory_info().rss for process in parts])
        wait_for(lambda: idle(client), "nothing was in flight")
    print("MiB of generator, ingress and proxy:", [[size // 2**20 for size in each] for each in sizes])
    assert set(crowd.outcomes) == {"ok"}, crowd.outcomes
    assert all(last - first < GROWTH_BYTES for first, last in zip(sizes[0], sizes[-1], strict=True)), sizes


def test_a_burst_as_shipped_takes_every_replica(tmp_path: Path) -> None:
    sdctl = Sdctl(tmp_path / "state")
    try:
        sdctl.json("deploy", "--port", str(ports.free(1)[0]))
        most = psutil.cpu_count() or 1  # the packaged manifest allows three; one for each processor comes
        words = ["--users", BURST, "--run-time", "2m", "--grace", "120s", "-o", str(tmp_path / "out")]
        summary = sdctl.json("loadtest", *words)
        print(json.dumps({name: summary[name] for name in ("outcomes", "verified", "replicas", "latency_s")}))
        assert summary["replicas"]["max_running"] == min(3, most)
        assert summary["outcomes"]["ok"] == summary["sent"], summary["outcomes"]
        assert summary["verified"] == summary["sent"] > int(BURST)
    finally:
        assert sdctl.json("cleanup")["left"] == []
