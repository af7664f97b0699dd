"""Crashes, kills and neighbours: what is left, who survives, and that clean-up leaves nothing."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sdctl.local import ports, processes
from sdctl.local.processes import Claim, Identity
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint
from tests.local.cli import DEADLINE_S, Sdctl, kill, listeners, named, session, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Neighbour:
    """Somebody else's Ray and Serve, on the default ports where those are free."""

    claim: Claim
    serve_port: int
    dashboard: Endpoint

    def members(self) -> set[int]:
        """Its processes that stay; idle workers come and go."""
        staying = ("gcs_server", "/raylet/raylet", "dashboard.py", "ray::ServeController", "ray::ProxyActor")
        return {
            process.pid for process in processes.find(self.claim) if any(name in process.command for name in staying)
        }


@pytest.fixture
def sdctl(tmp_path: Path) -> Iterator[Sdctl]:
    """sdctl with a state home of its own; whatever a failed test left is removed."""
    own = Sdctl(tmp_path)
    yield own
    own.json("cleanup")


@pytest.fixture
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbour]:
    folder = Path("/tmp") / f"ray-{tmp_path_factory.mktemp('n').parent.name[-6:]}"  # sockets need a short path
    gcs, dashboard, serve = (port if ports.is_free(port) else ports.free(1)[0] for port in (6379, 8265, 8000))
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--temp-dir={folder}"),
        f"--port={gcs}",
    ]
    command += [f"--dashboard-port={dashboard}", "--num-cpus=1", "--object-store-memory=100000000", "--no-monitor"]
    folder.mkdir()
    with subprocess.Popen(
        command,
        env={"PATH": "/usr/bin:/bin", "RAY_AUTH_MODE": "disabled", "TMPDIR": str(folder), "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        claim = Claim(str(folder), Identity(process.pid, processes.started(process.pid)))
        try:
            assert process.wait(DEADLINE_S) == 0
            endpoint = Endpoint(f"http://127.0.0.1:{dashboard}")
            with RayApi(endpoint) as ray:
                ray.put_serve({"applications": [], "http_options": {"host": "127.0.0.1", "port": serve}})
            yield Neighbour(claim, serve, endpoint)
        finally:
            for _ in processes.end(claim):
                pass
            subprocess.run(["rm", "-rf", str(folder)], check=True)


def assert_clean(sdctl: Sdctl, leader: int, folder: str, used_ports: set[int]) -> None:
    """No process, no port, no file."""
    assert session(leader) == {}
    assert not Path(folder).exists()
    assert {path.name for path in (sdctl.state_home / "sdctl").iterdir()} <= {"last-target.json", "local.lock"}
    assert all(ports.is_free(port) for port in used_ports)
    assert sdctl.json("cleanup")["removed"] == []
    assert sdctl.json("status", code=3)["state"] == "absent"


def test_beside_a_neighbour_through_kills_until_nothing_is_left(sdctl: Sdctl, neighbour: Neighbour) -> None:
    """One story in few starts of Ray, because each costs tens of seconds on a small machine."""
    neighbours = neighbour.members()
    assert len(neighbours) >= 5

    with sdctl.start("deploy", "--local") as deploying:  # Ctrl-C at the beginning
        wait_for(lambda: sdctl.record.get("leader"), "Ray began to start")
        begun = sdctl.record
        deploying.send_signal(signal.SIGINT)
        deploying.communicate(timeout=DEADLINE_S)
    # A shell shows 130 for both: Python ends itself by the signal where it interrupted the making of a dataclass.
    assert deploying.returncode in (130, -signal.SIGINT)
    sdctl.json("cleanup")
    assert_clean(sdctl, begun["leader"]["pid"], begun["folder"], {begun["dashboard_port"]})

    with sdctl.start("deploy", "--local") as deploying:  # killed half-way
        wait_for(lambda: sdctl.record.get("leader") and len(session(sdctl.record["leader"]["pid"])) > 2, "Ray started")
        half = sdctl.record
        kill(deploying.pid)
    assert sdctl.json("status")["state"] == "failing"
    assert {each["kind"] for each in sdctl.json("cleanup")["removed"]} == {"process", "folder", "record"}
    assert_clean(sdctl, half["leader"]["pid"], half["folder"], {half["dashboard_port"]})

    document = sdctl.json("deploy", "--replicas", "1")
    assert document["state"] == "ready"
    first_url = document["endpoint"]["url"]
    assert f":{neighbour.serve_port}" not in first_url
    moved = sdctl.json("deploy", "--replicas", "1", "--port", str(ports.free(1)[0]))
    assert moved["endpoint"]["url"] != first_url
    assert any("Serve restarts" in change for change in moved["details"]["changes"])
    wish = {"prompt": "a green circle"}
    answer = httpx.post(f"{moved['endpoint']['url']}/imagine", json=wish, timeout=DEADLINE_S, trust_env=False)
    assert answer.status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{first_url}/healthz", trust_env=False)

    kept = sdctl.record
    leader = kept["leader"]["pid"]
    members = session(leader)
    assert {port for _, port in listeners(members)} >= {kept["dashboard_port"], kept["serve_port"]}
    kill(named(members, "ray::ServeController"))
    kill(named(members, "ray::ServeReplica:stable-diffusion:Generator"))
    kill(named(members, "raylet/raylet"))
    wait_for(lambda: sdctl.json("status")["state"] != "ready", "the loss of the raylet showed")
    removed = sdctl.json("cleanup")["removed"]
    assert {each["kind"] for each in removed} == {"process", "folder", "record"}
    assert_clean(sdctl, leader, kept["folder"], {kept["dashboard_port"], kept["serve_port"]})

    assert neighbours <= neighbour.members()
    with RayApi(neighbour.dashboard) as ray:
        assert ray.serve().http_port == neighbour.serve_port


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path) -> None:
    """A Python without Ray: the packages are hidden from the one that runs sdctl."""
    hidden = (
        "import sys, importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'ray' else f(n, *a)"
    )
    code = f"{hidden}; from sdctl.cli import run; sys.exit(run(['deploy', '--local', '--json']))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=Sdctl(tmp_path).environment, capture_output=True, text=True, check=False
    )
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (1, "lacks")
    assert "ray" in error["message"]
    assert "pip install 'sdctl[serve]'" in error["hint"]
