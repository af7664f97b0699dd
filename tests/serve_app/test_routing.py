"""The handle's router: who has room is chosen at once, and a freed place wakes who waits."""

import asyncio
import warnings
from dataclasses import dataclass, field

import pytest

from serve_app import routers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own
    from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID

    from serve_app import routing
    from serve_app.routing import RoomRouter

pytestmark = pytest.mark.ray

DEPLOYMENT = DeploymentID("Generator", "stable-diffusion")
LIMIT = 4
DEADLINE_S = 60


@dataclass(frozen=True)
class Replica:
    """What a router reads of a replica."""

    replica_id: ReplicaID
    max_ongoing_requests: int = LIMIT
    node_id: str = "node"
    availability_zone: str = "zone"
    multiplexed_model_ids: frozenset[str] = field(default_factory=frozenset)


def replica(name: str) -> Replica:
    return Replica(ReplicaID(name, DEPLOYMENT))


def router(*replicas: Replica) -> RoomRouter:
    """A router that knows these replicas and what it has sent them."""
    made = RoomRouter(DEPLOYMENT, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True)
    made.initialize_state()
    made.update_replicas(list(replicas))
    return made


def at_its_limit(full: Replica) -> RoomRouter:
    """A router that knows one replica, and that it is full."""
    made = router(full)
    made.on_new_queue_len_info(full.replica_id, LIMIT)
    return made


def test_only_replicas_with_room_are_chosen() -> None:
    async def run() -> None:
        full, free = replica("full"), replica("free")
        made = router(full, free)
        made.on_new_queue_len_info(full.replica_id, LIMIT)
        made.on_new_queue_len_info(free.replica_id, LIMIT - 1)
        assert await made.choose_replicas([full, free]) == [[free]]

    asyncio.run(run())


def test_a_freed_place_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    for wait in ("TRUST_S", "RECHECK_S"):
        monkeypatch.setattr(routing, wait, 3600.0)  # nothing else ends it

    async def run() -> None:
        full = replica("full")
        made = at_its_limit(full)
        waiting = asyncio.ensure_future(made.choose_replicas([full]))
        await asyncio.sleep(0)
        assert not waiting.done()
        made.decrement_queue_len_cache(full.replica_id)
        assert await asyncio.wait_for(waiting, DEADLINE_S) == [[full]]
        assert len(made.select_available_replicas([full])) == 1

    asyncio.run(run())


def test_what_seems_full_for_long_is_given_to_be_asked() -> None:
    async def run() -> None:
        full = replica("full")
        made = at_its_limit(full)
        assert await asyncio.wait_for(made.choose_replicas([full]), DEADLINE_S) == [[full]]
        assert made.select_available_replicas([full]) == []

    asyncio.run(run())


def test_a_replica_that_starts_meanwhile_is_chosen() -> None:
    async def run() -> None:
        full, new = replica("full"), replica("new")
        made = at_its_limit(full)
        waiting = asyncio.ensure_future(made.choose_replicas([full]))
        await asyncio.sleep(0)
        made.update_replicas([full, new])
        assert await asyncio.wait_for(waiting, DEADLINE_S) == [[new]]

    asyncio.run(run())


def test_running_replicas_are_counted_from_what_serve_tells() -> None:
    async def run() -> None:
        made = router(replica("one"), replica("two"), replica("three"))
        routers.add(made)
        assert routers.replicas() == len(made.curr_replicas) == 3
        made.update_replicas([])
        assert made.curr_replicas == {}

    asyncio.run(run())
