"""Waiting for the first image, against a fake Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdctl.errors import NotFound, SdctlError, TimedOut
from sdctl.local import health, lifecycle, record
from sdctl.local.processes import boot_id
from sdctl.local.record import Record
from sdctl.local.stages import Stages
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint, Selection
from sdctl.targets.local import LocalTarget
from tests.fakes.ray_dashboard import FakeRay

pytestmark = pytest.mark.wire

CONFIG = {
    "applications": [{"name": "a", "route_prefix": "/", "args": {"model": "m"}, "deployments": [{"name": "Generator"}]}]
}


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(record, "base_folder", lambda: tmp_path / "base")


@pytest.fixture
def ray() -> Iterator[FakeRay]:
    fake = FakeRay()
    with RayApi(Endpoint(f"http://127.0.0.1:{fake.ports[8265]}")) as api:
        api.put_serve(CONFIG)
    yield fake
    fake.close()


def kept(ray: FakeRay) -> Record:
    dashboard, serve = ray.ports[8265], ray.ports[8000]
    return Record("x", "/nowhere", boot_id(), config=CONFIG, dashboard_port=dashboard, serve_port=serve)


def test_it_waits_through_the_start(ray: FakeRay) -> None:
    states = iter([("DEPLOYING", "a replica starts\nValueError: first try"), ("UNHEALTHY", ""), ("RUNNING", "")])
    ray.state = lambda: next(states, ("RUNNING", ""))
    details = [steps[-1].detail for steps in health.wait_ready(kept(ray), Stages(), 600) if steps]
    assert details[0] == "Generator is starting: ValueError: first try"


def test_a_failed_application_is_an_error_with_its_reason(ray: FakeRay) -> None:
    ray.state = lambda: ("DEPLOY_FAILED", "Traceback\nValueError: no such model")
    with pytest.raises(SdctlError, match="no such model"):
        list(health.wait_ready(kept(ray), Stages(), 600))


def test_past_its_time_it_says_what_it_waited_for(ray: FakeRay) -> None:
    ray.state = lambda: ("DEPLOYING", "")
    with pytest.raises(TimedOut, match="Generator is starting"):
        list(health.wait_ready(kept(ray), Stages(), 0))


def test_a_deployment_that_another_command_removes_ends_the_wait(ray: FakeRay) -> None:
    ray.state = lambda: ("DEPLOYING", "")
    steps = health.wait_ready(kept(ray), Stages(), 600)
    next(steps)

    def gone() -> tuple[str, str]:
        raise ConnectionAbortedError

    ray.state = gone
    with pytest.raises(NotFound, match="removed"):
        list(steps)


def test_a_ray_that_answers_without_a_raylet_of_ours_is_not_ours(ray: FakeRay) -> None:
    assert not lifecycle.answers(kept(ray))


def test_status_of_a_service_that_runs_and_of_one_that_does_not(ray: FakeRay, tmp_path: Path) -> None:
    made = record.create().with_(config=CONFIG, dashboard_port=ray.ports[8265], serve_port=ray.ports[8000])
    target = LocalTarget(Selection())
    status = target.status()
    assert (status.state, status.name, status.replicas_running) == ("ready", "a", 1)
    ray.state = lambda: ("DEPLOY_FAILED", "ValueError: no such model")
    status = target.status()
    assert (status.state, status.reason) == ("failing", "ValueError: no such model")
    with target.endpoint() as service, target.dashboard() as dashboard:
        assert (service.url[-4:], dashboard.url[-4:]) == (str(made.serve_port)[-4:], str(made.dashboard_port)[-4:])
        assert dashboard.headers["Authorization"] == f"Bearer {record.token()}"
