"""Runs one pipeline call at a time in a thread, batched by key, and encodes beside it; no Ray, no torch."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from serve_app.batching import Caps, Scheduler, Ticket, key_of
from serve_app.encode import Pixels, encode
from serve_app.errors import OutOfMemory, Refusal, Stopped, place_of
from serve_app.jobs import ImageJob, ModelProfile, Picture
from serve_app.schemas import PromptWarning, Receipt

logger = logging.getLogger("ray.serve")

EXPIRED = Refusal(504, "deadline_exceeded", "The image was not ready within the request's time.")
TOO_LARGE = Refusal(500, "out_of_memory", "One image of this size does not fit into the replica's memory.")
BROKEN = Refusal(500, "generation_failed", "The pipeline failed on this request; the service's log has the cause.")


class Painter(Protocol):
    """A loaded model. `draw` blocks; rows of one call have one batch key."""

    profile: ModelProfile

    def draw(self, jobs: Sequence[ImageJob], keep_going: Callable[[], bool]) -> Sequence[Pixels | Refusal]:
        """A picture or a refusal per job; raises OutOfMemory, or Stopped once keep_going says no."""

    def warnings(self, job: ImageJob) -> list[PromptWarning]:
        """What the model will not take from the request."""


Answer = Picture | Refusal


@dataclass(eq=False)
class Row:
    """What a ticket carries: the job, who waits for it, and when it came (seconds of the engine's clock)."""

    job: ImageJob
    answer: asyncio.Future[Answer]
    arrived: float
    warnings: list[PromptWarning] = field(default_factory=list)


@dataclass(frozen=True)
class Origin:
    """What the receipts of this replica say besides the image's own parameters."""

    replica: str
    app_version: str
    observe: Callable[[str, float], None]  # a measurement's name and value


class Engine:
    """The queue, the one worker and the encoders of a replica."""

    def __init__(
        self, painter: Painter, caps: Caps, origin: Origin, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._painter = painter
        self._caps = caps
        self._origin = origin
        self._clock = clock
        self._scheduler: Scheduler[Row] = Scheduler(self._cap)
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._encoding: set[asyncio.Task[None]] = set()
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._encoders = ThreadPoolExecutor(2, thread_name_prefix="encode")
        self._last_progress: float | None = None  # the clock at the running call's last step; None between calls

    def _cap(self, key: object) -> int:
        return self._caps.of(key) if self._painter.profile.batches else 1  # type: ignore[arg-type]

    def silent_s(self) -> float:
        """Seconds since the running call's last step; 0 between calls."""
        return 0.0 if self._last_progress is None else self._clock() - self._last_progress

    async def submit(self, job: ImageJob, time_left_s: float) -> Answer:
        """Draw and encode one image; a cancelled caller's row is dropped, and its call too when nobody is left."""
        loop = asyncio.get_running_loop()
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        now = self._clock()
        row = Row(job, loop.create_future(), now, self._painter.warnings(job))
        key = key_of(job, self._painter.profile)
        ticket = Ticket(key=key, tenant=job.tenant, deadline=now + time_left_s, content=row)
        self._scheduler.add(ticket)
        self._wake.set()
        try:
            return await row.answer
        finally:
            ticket.cancelled = True
            self._wake.set()

    async def close(self) -> None:
        """Stop the worker and its threads; waits for the call that runs."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._model_thread.shutdown(cancel_futures=True)
        self._encoders.shutdown()

    async def _work(self) -> None:
        while True:
            for ticket in self._scheduler.drop_dead(self._clock()):
                _settle(ticket.content, EXPIRED)
            hold = self._scheduler.hold(self._clock()) if len(self._scheduler) else 0.0
            batch = [] if hold else self._scheduler.take(self._clock())
            if batch:
                await self._run(batch)
                continue
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), hold or None)

    async def _run(self, batch: list[Ticket[Row]]) -> None:
        """One call, and what follows when it fails."""
        started = self._clock()
        try:
            drawn = await self._draw(batch)
        except Stopped:
            for ticket in batch:
                _settle(ticket.content, EXPIRED)
            return
        except OutOfMemory:
            self._after_out_of_memory(batch)
            return
        except Exception as error:
            logger.error("a pipeline call of %d failed: %s", len(batch), place_of(error))
            await self._one_by_one(batch)
            return
        if len(drawn) != len(batch):
            logger.error("the pipeline gave %d images for %d requests", len(drawn), len(batch))
            await self._one_by_one(batch)
            return
        seconds = self._clock() - started
        self._scheduler.finished(self._clock(), batch, seconds)
        self._origin.observe("batch_size", len(batch))
        self._origin.observe("generate_ms", seconds * 1000)
        for ticket, outcome in zip(batch, drawn, strict=True):
            self._deliver(ticket, outcome, len(batch), (started, seconds))

    async def _draw(self, batch: list[Ticket[Row]]) -> Sequence[Pixels | Refusal]:
        jobs = [ticket.content.job for ticket in batch]

        def keep_going() -> bool:
            now = self._last_progress = self._clock()
            return any(ticket.alive(now) for ticket in batch)

        self._last_progress = self._clock()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._model_thread, self._painter.draw, jobs, keep_going
            )
        finally:
            self._last_progress = None

    def _after_out_of_memory(self, batch: list[Ticket[Row]]) -> None:
        if len(batch) == 1:
            _settle(batch[0].content, TOO_LARGE)
            return
        cap = self._caps.halve(batch[0].key, len(batch))
        logger.warning("out of memory at a batch of %d: at most %d of this size from now on", len(batch), cap)
        for ticket in batch:
            self._scheduler.add(ticket)

    async def _one_by_one(self, batch: list[Ticket[Row]]) -> None:
        """After a failed call: one bad request must not fail its neighbours."""
        if len(batch) == 1:
            _settle(batch[0].content, BROKEN)
            return
        for ticket in batch:
            if ticket.alive(self._clock()):
                await self._run([ticket])

    def _deliver(self, ticket: Ticket[Row], outcome: Pixels | Refusal, size: int, call: tuple[float, float]) -> None:
        row = ticket.content
        if isinstance(outcome, Refusal) or ticket.cancelled:
            _settle(row, outcome if isinstance(outcome, Refusal) else EXPIRED)
            return
        task = asyncio.get_running_loop().create_task(self._encode(row, outcome, size, call))
        self._encoding.add(task)
        task.add_done_callback(self._encoding.discard)

    async def _encode(self, row: Row, pixels: Pixels, size: int, call: tuple[float, float]) -> None:
        started, seconds = call
        before = self._clock()
        loop = asyncio.get_running_loop()
        try:
            data = await loop.run_in_executor(self._encoders, encode, pixels, row.job.format)
        except Exception as error:
            logger.error("encoding failed: %s", place_of(error))
            _settle(row, BROKEN)
            return
        timings = {
            "queue": (started - row.arrived) * 1000,
            "generate": seconds * 1000,
            "encode": (self._clock() - before) * 1000,
        }
        for name in ("queue", "encode"):
            self._origin.observe(f"{name}_ms", timings[name])
        _settle(row, Picture(data, row.job.format, self._receipt(row, size, timings)))

    def _receipt(self, row: Row, size: int, timings: dict[str, float]) -> Receipt:
        job, profile = row.job, self._painter.profile
        return Receipt(
            seed=job.seed,
            width=job.width,
            height=job.height,
            num_inference_steps=job.steps,
            guidance_scale=job.guidance,
            scheduler=profile.scheduler,
            model=profile.name,
            revision=profile.revision,
            app_version=self._origin.app_version,
            replica=self._origin.replica,
            batch_size=size,
            timings_ms={name: round(value, 1) for name, value in timings.items()},
            request_id=job.request_id,
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            warnings=row.warnings,
        )


def _settle(row: Row, answer: Answer) -> None:
    if not row.answer.done():
        row.answer.set_result(answer)
