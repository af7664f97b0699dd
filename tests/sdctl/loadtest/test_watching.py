"""What snapshots of a cluster and looks at Ray tell a load test."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sdctl.cluster import watching
from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import Object
from sdctl.cluster.snapshot import Snapshot
from sdctl.cluster.watching import KubernetesWatcher, is_shared, moments
from sdctl.errors import NotAllowed, SdctlError, Unreachable
from sdctl.loadtest.autoscaler import wanted
from sdctl.loadtest.live import Live
from sdctl.loadtest.transitions import Transition
from sdctl.loadtest.watch import ServeWatcher, Watch
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint
from tests.fakes.ray_dashboard import FakeRay
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


def told(changes: list[Transition]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.name, each.what) for each in changes]


@pytest.fixture
def ray() -> Iterator[FakeRay]:
    fake = FakeRay()
    fake.config = {"applications": [{"name": "sd", "deployments": [{"name": "Generator"}]}]}
    yield fake
    fake.close()


@pytest.mark.wire
def test_what_a_look_told_is_not_lost_when_the_look_fails_half_way(ray: FakeRay) -> None:
    with RayApi(Endpoint(f"http://127.0.0.1:{ray.ports[8265]}")) as api:
        watcher = ServeWatcher(api)
        assert ("replica", "generator0", "RUNNING") in told(watcher.poll(1.0))
        ray.replicas["Generator"] = 2
        nodes, api.nodes = api.nodes, failing  # type: ignore[method-assign, assignment]
        with pytest.raises(Unreachable):
            watcher.poll(2.0)
        api.nodes = nodes  # type: ignore[method-assign]
        assert told(watcher.poll(3.0)) == [("deployment", "Generator", "target"), ("replica", "generator1", "RUNNING")]


@pytest.mark.wire
def test_a_ray_that_gives_no_report_is_watched_all_the_same(ray: FakeRay) -> None:
    class Waiting(FakeRay):
        def _deployment(self, config: dict[str, Any], status: str, message: str) -> dict[str, Any]:
            return super()._deployment(config, status, message) | {"target_num_replicas": 5}

    waiting = Waiting()
    waiting.config = ray.config
    with RayApi(Endpoint(f"http://127.0.0.1:{waiting.ports[8265]}")) as api:
        watcher = ServeWatcher(api)
        assert ("deployment", "Generator", "target") in told(watcher.poll(1.0))
        assert told(watcher.poll(2.0)) == []
    waiting.close()


def failing() -> None:
    raise Unreachable("away")


@pytest.mark.parametrize("what", ["forbidden", "missing"])
def test_a_cluster_that_refuses_for_a_moment_has_lost_nothing(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    away = {"forbidden": frozenset({"list nodes"}), what: frozenset({"list nodes", "list pods"})}
    seen = [
        Snapshot("ns", "sd", pods=(pod("a"),), forbidden=frozenset({"list nodes"})),
        Snapshot("ns", "sd", forbidden=away["forbidden"], missing=away.get("missing", frozenset())),
        Snapshot("ns", "sd", pods=(pod("a"), pod("b")), forbidden=frozenset({"list nodes"})),
        Snapshot("ns", "sd", pods=(pod("b"),), forbidden=frozenset({"list nodes"})),
    ]
    monkeypatch.setattr(watching, "take", lambda *_: seen.pop(0))
    watcher = KubernetesWatcher(Cluster(None))
    assert {name for _, name, _ in told(watcher.poll(1.0))} == {"a"}
    with pytest.raises(NotAllowed, match="list pods"):
        watcher.poll(2.0)
    assert {name for _, name, _ in told(watcher.poll(3.0))} == {"b"}
    assert told(watcher.poll(4.0)) == [("pod", "a", "gone")]


def test_each_number_of_workers_is_told_also_one_that_was_wanted_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def wanting(workers: int) -> Snapshot:
        cluster = {"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"}}
        return Snapshot("ns", "sd", rayclusters=({**cluster, "status": {"desiredWorkerReplicas": workers}},))

    seen = [wanting(1), wanting(3), wanting(3), wanting(1)]
    monkeypatch.setattr(watching, "take", lambda *_: seen.pop(0))
    watcher = KubernetesWatcher(Cluster(None))
    looks = [watcher.poll(BURST + n) for n in range(4)]
    assert [each["workers"] for each in wanted([change for look in looks for change in look], BURST)] == [1, 3, 1]


class Blinking:
    """A watcher that cannot see at its second look."""

    name = "Blinking"

    def __init__(self) -> None:
        self.looks = 0
        self.enough = threading.Event()

    def poll(self, observed: float) -> list[Transition]:
        self.looks += 1
        if self.looks == 4:
            self.enough.set()
        if self.looks == 2:
            raise SdctlError("nothing to see")
        return [Transition("pod", f"look-{self.looks}", "created", observed)]


def test_losing_sight_is_told_once_and_so_is_seeing_again() -> None:
    taken: list[Transition] = []
    watcher = Blinking()
    watch = Watch([watcher], taken.append, every_s=0.0)
    watch.start()
    assert watcher.enough.wait(60)
    watch.stop()
    assert told(taken)[:4] == [
        ("pod", "look-1", "created"),
        ("watcher", "Blinking", "lost"),
        ("pod", "look-3", "created"),
        ("watcher", "Blinking", "back"),
    ]
    assert taken[1].detail["message"] == "nothing to see"
    assert sum(each.kind == "watcher" for each in taken) == 2


def test_a_replica_waits_for_its_node_and_then_loads() -> None:
    live = Live(BURST, 60.0)
    live.change(change("replica", "new", "STARTING", BURST, node=""))
    assert "new        waits for node 5 s" in "\n".join(live.lines(BURST + 5))
    live.change(change("replica", "new", "STARTING", BURST + 6, node="n1"))
    assert "new        load 1 s" in "\n".join(live.lines(BURST + 7))
