"""What a snapshot of a cluster tells a load test."""

from sdctl.cluster.objects import Object
from sdctl.cluster.snapshot import Snapshot
from sdctl.cluster.watching import is_shared, moments
from sdctl.loadtest.live import Live
from tests.sdctl.loadtest.builders import change, record
from tests.sdctl.loadtest.test_timeline import BURST, baseline, cold_node


def pod(name: str, *, owner: str = "RayCluster", phase: str = "Running") -> Object:
    metadata = {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
    owners = [{"kind": owner, "uid": "u"}]
    started = {"running": {"startedAt": "2026-01-01T00:00:09Z"}}
    return {
        "metadata": {**metadata, "ownerReferences": owners},
        "spec": {"nodeName": "ip-1", "containers": [{"name": "main"}, {"name": "autoscaler"}]},
        "status": {
            "phase": phase,
            "podIP": "10.0.0.7",
            "containerStatuses": [{"name": "autoscaler", "state": started}, {"name": "main", "state": started}],
        },
    }


def test_a_node_is_shared_when_others_than_daemons_run_on_it() -> None:
    ours = {"uid-a"}
    assert not is_shared([pod("a"), pod("agent", owner="DaemonSet"), pod("old", phase="Succeeded")], ours)
    assert is_shared([pod("a"), pod("theirs", owner="ReplicaSet")], ours)


def test_the_ray_container_is_the_first_whatever_its_name() -> None:
    found = list(moments(Snapshot("ns", "sd", pods=(pod("a"),))))
    assert [what for _, _, what, _, _ in found] == ["created", "started"]
    assert {detail["ip"] for *_, detail in found} == {"10.0.0.7"}


def test_the_number_of_workers_that_the_autoscaler_wants_is_a_moment_of_its_own() -> None:
    cluster = {"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    seen = Snapshot("ns", "sd", rayclusters=({**cluster, "status": {"desiredWorkerReplicas": 3}},))
    assert [(kind, what) for kind, _, what, _, _ in moments(seen)] == [
        ("raycluster", "created"),
        ("raycluster", "wants 3"),
    ]


def test_the_screen_has_one_size_and_says_what_each_newcomer_is_at() -> None:
    live = Live(BURST, 600.0)
    live.enter("running", BURST, 600.0)
    sizes = set()
    said = []
    for each in [*baseline(), *cold_node()]:
        live.change(each)
        lines = live.lines(each.time + 1)
        sizes.add(len(lines))
        assert max(len(line) for line in lines) <= 78
        said.append("\n".join(lines))
    assert sizes == {11}
    for place, phase in ((2, "arriving"), (5, "provision"), (7, "boot"), (8, "gpu"), (10, "pull"), (14, "first image")):
        assert phase in said[place], said[place]
    live.record(record(1, BURST + 410, replica="new"), 0)
    assert "first image" not in "\n".join(live.lines(BURST + 411))
    live.change(change("pod", "worker-1", "ready", BURST + 412))
    assert "worker-1" not in live.line(BURST + 413)
