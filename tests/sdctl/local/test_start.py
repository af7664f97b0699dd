"""How Ray is started, and what Serve's state means: pure parts."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from sdctl.errors import SdctlError
from sdctl.local import checks, health, nodes, ports, ray_start, stages
from sdctl.ray_api import parse_serve
from sdctl.targets.base import Step


def test_the_environment_is_clean_and_keeps_what_a_model_needs() -> None:
    outer = {
        "PATH": "/bin",
        "HF_HOME": "/cache",
        "RAY_ADDRESS": "10.0.0.1:6379",
        "SECRET": "s",
        "PYTHONPATH": "/mine",
        "https_proxy": "http://proxy",
        "NO_PROXY": "corp",
    }
    inner = ray_start.environment(outer, "/tmp/x", Path("/state/token"))
    assert {"RAY_ADDRESS", "SECRET"}.isdisjoint(inner)
    assert (inner["PATH"], inner["HF_HOME"], inner["https_proxy"]) == ("/bin", "/cache", "http://proxy")
    assert inner["PYTHONPATH"].split(":")[1:] == ["/mine"]
    assert inner["NO_PROXY"] == "corp,127.0.0.1,localhost"
    assert (inner["RAY_AUTH_MODE"], inner["RAY_AUTH_TOKEN_PATH"]) == ("token", "/state/token")
    assert inner["TMPDIR"] == "/tmp/x/tmp"


def test_the_command_names_own_ports_and_folder() -> None:
    command = ray_start.arguments("/tmp/x", ray_start.Ports(1, 2, 3), 4)
    assert {"--port=1", "--dashboard-port=2", "--dashboard-agent-listen-port=3", "--temp-dir=/tmp/x"} <= set(command)
    assert "--dashboard-host=127.0.0.1" in command


def test_the_autoscaler_file_has_a_head_and_gpu_nodes(tmp_path: Path) -> None:
    path = nodes.write_config(str(tmp_path), (1, 3), 6400, 2)
    file = json.loads(path.read_text())
    kinds = file["available_node_types"]
    assert kinds[nodes.NODE_TYPE]["resources"]["GPU"] == 1
    assert (kinds[nodes.NODE_TYPE]["min_workers"], kinds[nodes.NODE_TYPE]["max_workers"]) == (1, 3)
    assert file["provider"]["gcs_address"] == "127.0.0.1:6400"
    assert nodes.title(nodes.HEAD_ID) == "head"
    assert nodes.title(nodes.HEAD_ID[:-1] + "2") == "gpu-2"
    assert nodes.title("ab" * 28) == ""


@pytest.mark.wire
def test_a_port_with_a_listener_is_not_free_even_if_that_shares_it() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(Exception, match=str(port)):
            ports.for_serve(port)
    assert ports.is_free(port)
    assert len(set(ports.free(3))) == 3


def serve_document(status: str, message: str = "", replicas: int = 1) -> dict[str, Any]:
    deployment = {
        "name": "Generator",
        "status": "HEALTHY" if status == "RUNNING" else "UPDATING",
        "message": message,
        "target_num_replicas": 1,
        "replicas": [{"replica_id": "r", "state": "RUNNING", "pid": 7}] * replicas,
    }
    application = {"status": status, "message": message, "deployments": {"Generator": deployment}}
    return {
        "controller_info": {"actor_id": "a"},
        "http_options": {"host": "127.0.0.1", "port": 8000},
        "proxies": {"n": {"status": "HEALTHY"}},
        "applications": {"stable-diffusion": application},
    }


def test_serve_state_is_read_into_values() -> None:
    state = parse_serve(serve_document("RUNNING"))
    assert (state.http_port, state.running, state.proxies) == (8000, True, {"n": "HEALTHY"})
    generator = state.applications["stable-diffusion"].deployment("Generator")
    assert generator is not None
    assert (generator.running, generator.target, generator.replicas[0].pid) == (1, 1, 7)
    assert health.is_running(state)
    empty = parse_serve({"applications": {}, "controller_info": {}})
    assert not empty.running
    assert not health.is_running(empty)


def test_a_failed_application_is_explained_by_its_own_error() -> None:
    message = 'Traceback\n  File "x"\nValueError: no such model\nThe replica died.'
    state = parse_serve(serve_document("DEPLOY_FAILED", message, replicas=0))
    assert health.failure(state).splitlines()[0] == "ValueError: no such model"
    assert health.failure(parse_serve(serve_document("DEPLOYING"))) == ""


def test_stages_tell_every_change_once() -> None:
    now = [0.0]
    heard: list[tuple[Step, ...]] = []
    steps = stages.Stages(clock=lambda: now[0])
    steps.report = heard.append
    with steps.stage("Ray"):
        now[0] = 2.0
        steps.set("Ray", "running")  # nothing new
    steps.set("load", "done", seconds=0.5)
    assert [(step.name, step.state, step.seconds) for step in heard[-1]] == [
        ("Ray", "done", 2.0),
        ("load", "done", 0.5),
    ]
    assert len(heard) == 3
    with pytest.raises(ZeroDivisionError), steps.stage("Serve"):
        _ = 1 / 0
    assert steps.steps[-1].state == "failed"


def test_too_little_memory_or_disk_or_a_missing_package_is_found_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "available_bytes", lambda: checks.GIB)
    monkeypatch.setattr(checks, "missing_extra", lambda: ("ray",))
    levels = {finding.what: finding for finding in checks.findings(replicas=4)}
    assert levels["memory"].level == "fail"
    assert "sdctl[serve]" in levels["Python packages"].fix
    with pytest.raises(SdctlError, match="ray missing"):
        checks.require(replicas=1, model="")
    (tmp_path / "weights.safetensors").write_bytes(b"x" * 1000)
    assert checks.replica_bytes(str(tmp_path)) == checks.REPLICA_BYTES + 2000
