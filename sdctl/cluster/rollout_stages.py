"""How far a rollout is: from a snapshot to the stages that a user watches; pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sdctl.cluster.objects import Object, at, condition, containers, event_time, is_head, is_true, message, name
from sdctl.cluster.snapshot import Snapshot
from sdctl.targets.base import Step

NAMES = (
    "accepted",
    "head pod",
    "worker pod",
    "node",
    "image pull",
    "container",
    "Ray joined",
    "Serve application",
    "replica",
    "image",
)


def target_cluster(snapshot: Snapshot) -> str:
    """The RayCluster that the rollout is about: the pending one while there is one."""
    return snapshot.pending_cluster or snapshot.active_cluster


def observed(snapshot: Snapshot) -> bool:
    """Whether KubeRay has seen the newest spec."""
    generation = at(snapshot.rayservice, "metadata", "generation")
    return generation is not None and at(snapshot.rayservice, "status", "observedGeneration") == generation


def settled(snapshot: Snapshot) -> bool:
    """Whether one cluster serves and nothing is under way, as far as KubeRay's status tells."""
    upgrading = condition(snapshot.rayservice or {}, "UpgradeInProgress").get("status") == "True"
    pending = snapshot.pending_cluster not in ("", snapshot.active_cluster)
    return observed(snapshot) and bool(snapshot.active_cluster) and not upgrading and not pending


def stages(snapshot: Snapshot, *, served: bool, image: bool) -> tuple[Step, ...]:
    """Every stage in its state now; the first that is not done is running.

    `served`: Serve itself says that it runs our configuration. `image`: a real image came back.
    """
    done = dict(zip(NAMES, _done(snapshot, served, image), strict=True))
    first = next((called for called in NAMES if not done[called][0]), "")
    steps = []
    for called, (is_done, detail) in done.items():
        state = "done" if is_done else "running" if called == first else "waiting"
        steps.append(Step(called, state, detail if state != "waiting" else ""))
    return tuple(steps)


def _done(snapshot: Snapshot, served: bool, image: bool) -> Iterator[tuple[bool, str]]:
    cluster = target_cluster(snapshot)
    pods = snapshot.pods_of(cluster)
    head = next((pod for pod in pods if is_head(pod)), None)
    workers = [pod for pod in pods if not is_head(pod)]
    applications = snapshot.applications
    running = served or (bool(applications) and all(one.get("status") == "RUNNING" for one in applications.values()))
    yield bool(cluster), f"RayCluster {cluster}" if cluster else ""
    yield (head is not None and at(head, "status", "phase") == "Running"), _called(head)
    yield bool(workers) or running, _called(workers[0]) if workers else ""
    worker = _furthest(workers)
    yield bool(at(worker, "spec", "nodeName")) or running, _node(snapshot, worker)
    yield _pulled(worker) or running, _pulling(snapshot, worker)
    yield at(worker, "status", "phase") == "Running" or running, _waiting(worker)
    yield (worker is not None and _joined(worker)) or running, ""
    yield running and observed(snapshot), _statuses(applications)
    yield served, _replicas(applications)
    yield image, ""


def _furthest(workers: list[Object]) -> Object | None:
    """The worker that is furthest: one is enough for a first image."""
    return max(workers, key=_progress, default=None)


def _progress(pod: Object) -> tuple[bool, bool, bool]:
    return is_true(pod, "Ready"), at(pod, "status", "phase") == "Running", bool(at(pod, "spec", "nodeName"))


def _joined(worker: Object) -> bool:
    """KubeRay's init container waits for the head, so a started Ray container has joined it."""
    own = at(worker, "status", "containerStatuses") or []
    return is_true(worker, "Ready") or any(at(one, "state", "running") is not None for one in own)


def _called(pod: Object | None) -> str:
    return name(pod) if pod else ""


def _node(snapshot: Snapshot, worker: Object | None) -> str:
    node = str(at(worker, "spec", "nodeName") or "")
    coming = [name(claim) for claim in snapshot.nodeclaims if not is_true(claim, "Initialized")]
    return node or (f"NodeClaim {coming[0]}" if coming else "")


def _pulled(worker: Object | None) -> bool:
    return any(
        status.get("imageID") or at(status, "state", "running") is not None for status in containers(worker or {})
    )


def _pulling(snapshot: Snapshot, worker: Object | None) -> str:
    about = [event for event in snapshot.events if at(event, "involvedObject", "name") == _called(worker)]
    pulls = [event for event in about if event.get("reason") in ("Pulling", "Pulled")]
    return message(max(pulls, key=event_time))[:100] if pulls else ""


def _waiting(worker: Object | None) -> str:
    for status in containers(worker or {}):
        if why := at(status, "state", "waiting", "reason"):
            return str(why)
    return ""


def _statuses(applications: dict[str, Object]) -> str:
    return ", ".join(f"{called} {one.get('status')}" for called, one in applications.items())


def _replicas(applications: dict[str, Object]) -> str:
    found = [
        f"{called} {one.get('status')}"
        for application in applications.values()
        for called, one in (application.get("serveDeploymentStatuses") or {}).items()
    ]
    return ", ".join(found)


@dataclass
class Clock:
    """Times for stages: each runs from the end of the one before it to its own end."""

    started: float
    _ended: dict[str, float] = field(default_factory=dict)

    def timed(self, steps: tuple[Step, ...], now: float) -> tuple[Step, ...]:
        """The steps with their seconds; a stage that is done keeps its time."""
        begin, result = self.started, []
        for step in steps:
            if step.state == "done":
                end = self._ended.setdefault(step.name, now)
                result.append(replace(step, seconds=max(0.0, end - begin)))
                begin = max(begin, end)
            else:
                self._ended.pop(step.name, None)
                result.append(replace(step, seconds=now - begin if step.state == "running" else None))
        return tuple(result)
