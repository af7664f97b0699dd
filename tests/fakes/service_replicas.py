"""Generator replicas without Ray: answer, hang, die, refuse as a test says."""

import asyncio
from collections.abc import Callable

from serve_app.encode import encode
from serve_app.errors import Refusal, ReplicaLost
from serve_app.jobs import Description, ImageJob, Picture
from serve_app.schemas import PromptWarning, Receipt
from tests.fakes.service_painter import PROFILE, colour


class FakeReplicas:
    """`losses` calls die first; `hang` ones never answer; `refuse` answers instead of a picture."""

    def __init__(self) -> None:
        self.jobs: list[ImageJob] = []
        self.times_left: list[float] = []
        self.cancelled = 0
        self.losses = 0
        self.hang = False
        self.crash = False
        self.refuse: Refusal | None = None
        self.silent = False  # describe gives no answer
        self.count: int | None = 1
        self.descriptions = 0

    async def generate(self, job: ImageJob, time_left_s: float) -> Picture | Refusal:
        self.jobs.append(job)
        self.times_left.append(time_left_s)
        if self.losses:
            self.losses -= 1
            raise ReplicaLost
        if self.crash:
            raise RuntimeError(f"a bug that quotes {job.prompt}")
        if self.hang:
            await self._forever()
        return self.refuse or picture(job)

    async def _forever(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def describe(self) -> Description:
        self.descriptions += 1
        if self.silent:
            raise ReplicaLost
        return Description("replica-1", PROFILE, {"import": 1.5, "load": 0.5}, "cpu", 4)

    def running(self) -> int | None:
        return self.count


class Clock:
    """Time that stands still until a test moves it; seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def picture(job: ImageJob, *, warn: Callable[[str], bool] = lambda prompt: "?" in prompt) -> Picture:
    """The picture of a job, with its receipt."""
    warnings = [PromptWarning(code="unknown_words", message="1 word", spans=[(0, 1)])] if warn(job.prompt) else []
    receipt = Receipt(
        seed=job.seed,
        width=job.width,
        height=job.height,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance,
        scheduler=PROFILE.scheduler,
        model=PROFILE.name,
        revision=PROFILE.revision,
        app_version="0.0",
        replica="replica-1",
        batch_size=2,
        timings_ms={"queue": 1.0, "generate": 20.5, "encode": 3.0},
        request_id=job.request_id,
        time="2026-01-01T00:00:00Z",
        warnings=warnings,
    )
    return Picture(encode(colour(job.prompt, job.seed, job.width, job.height), job.format), job.format, receipt)
