"""What changed on the server's side, raw: stored with the object's own time and the time we saw it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdctl.ray_api import Deployment, RayNode


@dataclass(frozen=True)
class Transition:
    """One change. `at` is the object's own time (epoch s) where it tells one; `observed` is when we saw it."""

    kind: str  # deployment, replica, ray_node, pod, nodeclaim, node, raycluster, event
    name: str
    what: str  # the mark or state reached: target, STARTING, RUNNING, alive, created, launched, gone, …
    observed: float
    at: float | None = None
    source: str = ""  # where it was read: serve, ray, kubernetes
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def time(self) -> float:
        """The object's time where known, else the time of sight."""
        return self.observed if self.at is None else self.at

    def to_json(self) -> dict[str, Any]:
        """One line of transitions.jsonl."""
        return {**vars(self), "detail": dict(self.detail)}


def from_json(document: Mapping[str, Any]) -> Transition:
    """A transition from a line of transitions.jsonl."""
    return Transition(**document)


def serve_changes(before: Deployment | None, after: Deployment, observed: float) -> list[Transition]:
    """What changed between two polls; the first poll gives the baseline (its detail says so)."""
    first = {"baseline": True} if before is None else {}
    changes: list[Transition] = []
    if before is None or before.target != after.target:
        detail = {"target": after.target or 0, "trigger": after.trigger, **first}
        changes.append(Transition("deployment", after.name, "target", observed, None, "serve", detail))
    known = {replica.id: replica for replica in before.replicas} if before else {}
    for replica in after.replicas:
        earlier = known.pop(replica.id, None)
        if earlier is None or (earlier.state, earlier.node_id) != (replica.state, replica.node_id):
            # Only the actor's start has a time of its own; for RUNNING the API gives none.
            at = replica.started if earlier is None and replica.state == "STARTING" else None
            detail = {"node": replica.node_id, "start_time": replica.started, **first}
            changes.append(Transition("replica", replica.id, replica.state, observed, at, "serve", detail))
    changes += [Transition("replica", name, "gone", observed, None, "serve") for name in known]
    return changes


def node_changes(before: Iterable[RayNode] | None, after: Iterable[RayNode], observed: float) -> list[Transition]:
    """What changed between two lists of Ray's nodes."""
    first = {"baseline": True} if before is None else {}
    known = {node.id for node in before or () if node.state == "ALIVE"}
    alive = {node.id: node for node in after if node.state == "ALIVE"}
    changes = [
        Transition(
            "ray_node", node.id, "alive", observed, node.started, "ray", {"pod": node.name, "ip": node.ip, **first}
        )
        for node in alive.values()
        if node.id not in known
    ]
    return changes + [Transition("ray_node", name, "gone", observed, None, "ray") for name in known - alive.keys()]


def counts(transitions: Iterable[Transition], kind: str, up: str, down: tuple[str, ...]) -> list[tuple[float, int]]:
    """A step curve (time, how many) of objects that are in state `up` until one of `down`.

    What was there before the run counts from the first look on, whatever its own age: that is where the curve begins.
    """
    alive: set[str] = set()
    curve: list[tuple[float, int]] = []
    mine = [(t.observed if t.detail.get("baseline") else t.time, t) for t in transitions if t.kind == kind]
    for time, change in sorted(mine, key=lambda each: each[0]):
        before = len(alive)
        if change.what == up:
            alive.add(change.name)
        elif change.what in down or kind == "replica":
            alive.discard(change.name)
        if len(alive) == before:
            continue
        if curve and curve[-1][0] == time:
            curve.pop()
        curve.append((time, len(alive)))
    return curve
