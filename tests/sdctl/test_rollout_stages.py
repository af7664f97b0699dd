"""The stages of a rollout, told from snapshots, and when Serve runs what was asked."""

from typing import Any

import pytest

from sdctl.cluster.rollout import runs
from sdctl.cluster.rollout_stages import NAMES, Clock, settled, stages
from sdctl.cluster.snapshot import Snapshot
from sdctl.ray_api import Application, Deployment, Replica, ServeState
from sdctl.targets.base import Step

Object = dict[str, Any]


def pod(
    role: str, *, node: str = "", phase: str = "Pending", statuses: list[Object] | None = None, ready: bool = False
) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": f"sd-a-{role}", "labels": {"ray.io/cluster": "sd-a", "ray.io/node-type": role}},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "containerStatuses": statuses or [], "conditions": conditions},
    }


def service(*, generation: int = 1, seen: int = 1, pending: str = "", active: str = "", app: str = "") -> Object:
    applications = (
        {"app": {"status": app, "serveDeploymentStatuses": {"Generator": {"status": "UPDATING"}}}} if app else {}
    )
    status: Object = {"observedGeneration": seen}
    for side, cluster in (("pendingServiceStatus", pending), ("activeServiceStatus", active)):
        if cluster:
            status[side] = {"rayClusterName": cluster, "applicationStatuses": applications}
    return {"metadata": {"name": "sd", "generation": generation}, "status": status}


def running(*pods: Object, **of: Any) -> str:
    found = [
        step
        for step in stages(Snapshot("ns", "sd", service(**of), pods=pods), served=False, image=False)
        if step.state == "running"
    ]
    assert len(found) == 1
    return found[0].name


STARTED = [{"name": "ray-worker", "imageID": "x", "state": {"running": {}}}]
CREATING = [{"name": "ray-worker", "state": {"waiting": {"reason": "ContainerCreating"}}}]
HEAD = pod("head", node="n", phase="Running", statuses=STARTED, ready=True)


@pytest.mark.parametrize(
    ("stage", "pods", "of"),
    [
        ("accepted", (), {"seen": 0}),
        ("head pod", (), {"pending": "sd-a"}),
        ("head pod", (pod("head"),), {"pending": "sd-a"}),
        ("worker pod", (HEAD,), {"pending": "sd-a"}),
        ("node", (HEAD, pod("worker")), {"pending": "sd-a"}),
        ("image pull", (HEAD, pod("worker", node="n", statuses=CREATING)), {"pending": "sd-a"}),
        ("container", (HEAD, pod("worker", node="n", statuses=STARTED)), {"pending": "sd-a"}),
        (
            "Serve application",
            (HEAD, pod("worker", node="n", phase="Running", statuses=STARTED)),
            {"pending": "sd-a", "app": "DEPLOYING"},
        ),
        (
            "replica",
            (HEAD, pod("worker", node="n", phase="Running", statuses=STARTED)),
            {"pending": "sd-a", "app": "RUNNING"},
        ),
    ],
)
def test_the_stage_that_is_waited_for(stage: str, pods: tuple[Object, ...], of: Object) -> None:
    assert running(*pods, **of) == stage


def test_a_running_from_before_the_change_is_not_done() -> None:
    stale = Snapshot("ns", "sd", service(generation=2, seen=1, active="sd-a", app="RUNNING"), pods=(HEAD,))
    assert not settled(stale)
    states = {step.name: step.state for step in stages(stale, served=False, image=False)}
    assert states["Serve application"] == "running"
    assert settled(Snapshot("ns", "sd", service(generation=2, seen=2, active="sd-a", app="RUNNING")))
    assert not settled(Snapshot("ns", "sd", service(active="sd-a", pending="sd-b", app="RUNNING")))


def test_every_stage_is_done_at_the_end() -> None:
    done = stages(
        Snapshot("ns", "sd", service(active="sd-a", app="RUNNING"), pods=(HEAD, pod("worker"))), served=True, image=True
    )
    assert [step.name for step in done] == list(NAMES)
    assert {step.state for step in done} == {"done"}


def test_a_stage_lasts_from_the_end_of_the_one_before_it() -> None:
    times = Clock(100.0)
    times.timed((Step("a", "running"), Step("b", "waiting")), 101.0)
    times.timed((Step("a", "done"), Step("b", "running")), 107.0)
    first, second = times.timed((Step("a", "done"), Step("b", "done")), 130.0)
    assert (first.seconds, second.seconds) == (7.0, 23.0)


CONFIG: Object = {
    "applications": [
        {
            "name": "app",
            "args": {"model": "m"},
            "deployments": [{"name": "Generator", "autoscaling_config": {"min_replicas": 1}}],
        }
    ]
}


def serve(
    *, status: str = "RUNNING", model: str = "m", deployment: str = "HEALTHY", replica: str = "RUNNING"
) -> ServeState:
    deployed = {**CONFIG["applications"][0], "args": {"model": model}, "route_prefix": "/"}
    found = Deployment("Generator", deployment, "", 1, (Replica("r", replica),))
    return ServeState({"app": Application("app", status, "", deployed, (found,))}, running=True)


def test_serve_runs_it_only_with_our_config_running_applications_and_a_replica() -> None:
    assert runs(CONFIG, serve())
    assert not runs(CONFIG, serve(status="DEPLOYING"))
    assert not runs(CONFIG, serve(model="old"))
    assert not runs(CONFIG, serve(deployment="UPDATING"))
    assert not runs(CONFIG, serve(replica="STARTING"))
    assert not runs(CONFIG, ServeState())
