"""From a checked request to a picture: admission, deadline, more tries after lost replicas; and health."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from serve_app.admission import Admission, FairGate, MinuteQuota
from serve_app.config import ServiceConfig
from serve_app.errors import Refusal, ReplicaLost, ServiceError, place_of
from serve_app.jobs import Description, ImageJob, ModelProfile, Picture
from serve_app.resolve import Call, check_content, resolve
from serve_app.schemas import ImageRequest

logger = logging.getLogger("ray.serve")

REFRESH_S = 1.0
ANSWER_AGE_S = 10.0  # older than this, a replica's last answer proves nothing
TRIES = 3  # outlives two lost replicas; what kills each replica that it meets must not get through them all

LATE = Refusal(504, "deadline_exceeded", "The image was not ready within the request's time.")
LOST = Refusal(503, "replica_lost", "The replicas that worked on this request died; try again.", retry_after_s=1)
STARTING = Refusal(503, "starting", "No replica has made an image yet; the service is starting.", retry_after_s=5)


class Replicas(Protocol):
    """The generator's replicas behind one handle."""

    def generate(self, job: ImageJob, time_left_s: float) -> Awaitable[Picture | Refusal]:
        """Draw on some replica; raises ReplicaLost."""

    def describe(self) -> Awaitable[Description]:
        """What one of them says of itself; raises ReplicaLost."""

    def running(self) -> int | None:
        """How many pass Serve's health check; None when Serve has not said."""


class Gateway:
    """What stands behind every route."""

    def __init__(
        self, replicas: Replicas, config: ServiceConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        self._replicas = replicas
        self._clock = clock
        self._admission = Admission(config.max_in_flight, config.tenant_limit, clock=clock)
        self._gate = FairGate(config.max_dispatched)
        self.quota = MinuteQuota(config.images_per_minute, clock=clock)
        self._description: Description | None = None
        self._running: int | None = None
        self._last_answer = float("-inf")
        self.since = int(time.time())

    @property
    def profile(self) -> ModelProfile:
        """The model's abilities; raises ServiceError (503) until a replica has told them."""
        if self._description is None:
            raise ServiceError(STARTING)
        return self._description.profile

    async def make(self, request: ImageRequest, call: Call) -> Picture:
        """The picture asked for; raises ServiceError. Cancelling it ends the work."""
        job = resolve(request, self.profile, call)
        check_content(job, self.config.refused_words)
        deadline = self._clock() + call.timeout_s
        self.quota.take(call.tenant)
        self._admission.enter(call.tenant)
        served = False
        try:
            async with asyncio.timeout(call.timeout_s):
                async with self._gate.passage(call.tenant, job.width * job.height * job.steps):
                    answer = await self._generate(job, deadline)
            if isinstance(answer, Refusal):
                raise ServiceError(answer)
            served = True
            return answer
        except TimeoutError:
            raise ServiceError(LATE) from None
        finally:
            self._admission.leave(call.tenant, served=served)

    async def _generate(self, job: ImageJob, deadline: float) -> Picture | Refusal:
        for attempt in range(TRIES):
            try:
                answer = await self._replicas.generate(job, max(0.0, deadline - self._clock()))
            except ReplicaLost:
                logger.warning("request %s lost its replica (try %d)", job.request_id, attempt + 1)
                continue
            self._last_answer = self._clock()
            return answer
        return LOST

    async def watch(self) -> None:
        """Keep the health state fresh until cancelled; one slow answer holds up nothing else."""
        while True:
            try:
                await self.refresh()
            except Exception as error:
                logger.error("health refresh failed: %s", place_of(error))
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """One look at the replicas. Busy ones are not asked: Serve's health check speaks for them."""
        self._running = self._replicas.running()
        self._gate.widen(self._places())
        if self._running and self._admission.in_flight and self._description is not None:
            self._last_answer = self._clock()
            return
        if self._running == 0 and self._description is not None:
            return  # asking would count as demand and hold replicas up that may go
        with suppress(TimeoutError, ReplicaLost):
            async with asyncio.timeout(ANSWER_AGE_S):
                self._description = await self._replicas.describe()
            self._last_answer = self._clock()
            self._running = self._replicas.running()  # Serve tells it with the first call at the latest

    def _places(self) -> int:
        """How many requests Serve may hold: twice what its replicas are to hold by the autoscaler's target.

        So the demand that the autoscaler sees can double the replicas, however many run.
        """
        return max(self.config.max_dispatched, 2 * self.config.max_batch * (self._running or 0))

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status code and body of `/healthz`, from the last refresh."""
        description = self._description
        if description is None:
            return 503, {"status": "starting"}
        alive = self._clock() - self._last_answer <= ANSWER_AGE_S
        return (200 if alive else 503), {
            "status": "ok" if alive else "unavailable",
            "model": description.profile.name,
            "revision": description.profile.revision,
            "app_version": self.config.app_version,
            "replicas": self._running,
            "in_flight": self._admission.in_flight,
            "device": description.device,
            "batching": description.profile.batches,
            "max_batch": description.max_batch,
            "phases_s": description.phases,
        }
