"""The running local service: what listens, what commands say, what a killed replica costs."""

import json

import grpc  # type: ignore[import-untyped]
import httpx
import pytest

from sdctl.local import ray_start, record
from sdctl.ray_api import RayApi, Replica
from tests.local.cli import DEADLINE_S, listeners, named, session
from tests.local.conftest import LocalService

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
LOOPBACK = ("127.0.0.1", "::ffff:127.0.0.1", "::1")


def generators(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> tuple[Replica, ...]:
    monkeypatch.setenv("XDG_STATE_HOME", str(service.sdctl.state_home))
    kept = record.load()
    assert kept is not None
    with RayApi(ray_start.endpoint(kept)) as ray:
        deployment = ray.serve().applications["stable-diffusion"].deployment("Generator")
    assert deployment is not None
    return tuple(replica for replica in deployment.replicas if replica.state == "RUNNING")


def test_only_loopback_listens_but_for_serve_s_own_port_and_that_wants_the_token(local_service: LocalService) -> None:
    members = session(local_service.sdctl.record["leader"]["pid"])
    assert named(members, "raylet/raylet")
    wide = {at: command for at, command in listeners(members).items() if at[0] not in LOOPBACK}
    assert all("ray::ServeReplica" in command for command in wide.values()), wide
    for _, port in wide:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=DEADLINE_S)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_dashboard_wants_the_token_that_sdctl_gives(local_service: LocalService) -> None:
    said = local_service.sdctl.json("dashboard", "--no-browser")
    url = f"{said['url']}/api/serve/applications/"
    assert httpx.get(url, trust_env=False).status_code == 401
    allowed = httpx.get(url, headers={"Authorization": f"Bearer {said['token']}"}, trust_env=False, timeout=DEADLINE_S)
    assert allowed.status_code == 200


def test_status_logs_and_forward(local_service: LocalService) -> None:
    status = local_service.sdctl.json("status")
    assert (status["target"], status["name"], status["state"]) == ("local", "stable-diffusion", "ready")
    assert status["endpoint"]["url"] == local_service.url
    assert status["replicas"] == {"target": 1, "running": 1}
    assert [node["kind"] for node in status["nodes"]] == ["head"]
    assert {"Ray", "Serve", "import", "load", "first image"} <= set(status["details"]["phases_s"])
    assert local_service.sdctl.json("forward")["serve"]["url"] == local_service.url
    lines = [
        json.loads(line) for line in local_service.sdctl("logs", "--local", "--role", "replica", "--json").splitlines()
    ]
    assert any("is ready" in line["text"] for line in lines)


def test_deploying_the_same_again_changes_nothing(local_service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    before = generators(local_service, monkeypatch)
    again = local_service.sdctl.json("deploy", "--replicas", "1")
    assert again["details"]["changes"] == ["Nothing changed."]
    assert again["endpoint"]["url"] == local_service.url
    assert generators(local_service, monkeypatch) == before


def test_other_bounds_change_the_replicas_and_keep_the_one_that_runs(
    local_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {replica.id for replica in generators(local_service, monkeypatch)}
    wider = local_service.sdctl.json("deploy", "--replicas", "1:2")
    assert wider["details"]["changes"] == ["replicas: 1 → 1:2"]
    assert before <= {replica.id for replica in generators(local_service, monkeypatch)}
    local_service.sdctl.json("deploy", "--replicas", "1")


def test_a_busy_port_is_refused_and_nothing_is_changed(local_service: LocalService) -> None:
    taken = local_service.sdctl.record["dashboard_port"]
    error = local_service.sdctl.json("deploy", "--replicas", "1", "--port", str(taken), code=1)["error"]
    assert error["code"] == "port_used"
    assert local_service.sdctl.json("status")["state"] == "ready"
