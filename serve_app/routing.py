"""How the ingress's handle finds a generator with room: it waits for an answer, where Serve's own router sleeps.

While more requests wait than generators have room, Serve's router looks again after up to half a second, and a request
that a generator turned away makes it let one request through per look: a busy generator then gets batches of one.
"""

import asyncio
import random
import time
from contextlib import suppress

from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

from serve_app import routers

TRUST_S = 0.5  # so long is a generator that seems full believed to be; then it is asked: others send to it too
RECHECK_S = 0.05
BACKOFF_S = 0.005  # of the router itself, which has nothing left to wait for


class RoomRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """First come, first served, to the generators that have room; the emptiest of them as far as this handle knows."""

    def initialize_state(self, **_: object) -> None:
        """Called by Serve before anything else."""
        self._freed = asyncio.Event()
        routers.add(self)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Those with room as soon as there is one; all of them, to be asked, when none has told of room for a while."""
        del pending_request  # all are alike
        until = time.monotonic() + TRUST_S
        while time.monotonic() < until:
            free: list[RunningReplica] = self.select_available_replicas(list(self.curr_replicas.values()))
            if free:
                random.shuffle(free)  # equals take turns
                return [free]
            self._freed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), RECHECK_S)
        return [candidate_replicas]

    def decrement_queue_len_cache(self, replica_id: ReplicaID) -> None:
        """Called by Serve when a request has ended: a place is free."""
        super().decrement_queue_len_cache(replica_id)
        self._freed.set()


def router_config() -> RequestRouterConfig:
    """The deployment's option that puts this router into every handle."""
    return RequestRouterConfig(
        request_router_class=RoomRouter,
        initial_backoff_s=BACKOFF_S,
        backoff_multiplier=1,
        max_backoff_s=BACKOFF_S,
    )
