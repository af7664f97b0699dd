"""A model without torch: paints a flat colour that tells prompt and seed, and fails on demand."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from serve_app.encode import Pixels
from serve_app.errors import OutOfMemory, Refusal, Stopped
from serve_app.jobs import ImageJob, ModelProfile
from serve_app.schemas import PromptWarning

PROFILE = ModelProfile(
    name="fake",
    revision="r1",
    family="FakePipeline",
    scheduler="FakeScheduler",
    default_width=64,
    default_height=64,
    default_steps=3,
    default_guidance=3.0,
    guidance_varies=True,
)


class FakePainter:
    """`hold` stops each call before its first step until `release` is set; `calls` are the batches so far."""

    def __init__(self, profile: ModelProfile = PROFILE, *, fits: int = 100) -> None:
        self.profile = profile
        self.fits = fits  # larger batches are out of memory
        self.calls: list[list[ImageJob]] = []
        self.steps_done = 0
        self.started = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self.threads: set[str] = set()

    def warnings(self, job: ImageJob) -> list[PromptWarning]:
        return [PromptWarning(code="unknown_words", message="?", spans=[(0, 1)])] if "?" in job.prompt else []

    def draw(self, jobs: Sequence[ImageJob], keep_going: Callable[[], bool]) -> Sequence[Pixels | Refusal]:
        self.calls.append(list(jobs))
        self.threads.add(threading.current_thread().name)
        self.started.set()
        if len(jobs) > self.fits:
            raise OutOfMemory
        assert self.release.wait(60)
        for _ in range(jobs[0].steps):
            if not keep_going():
                raise Stopped
            self.steps_done += 1
        if any("explode" in job.prompt for job in jobs):
            raise ValueError("cannot paint that")
        return [self.picture(job) for job in jobs]

    def picture(self, job: ImageJob) -> Pixels | Refusal:
        """What the job gives, alone or in company."""
        if "forbidden" in job.prompt:
            return Refusal(400, "content_policy_violation", "refused", "prompt")
        return colour(job.prompt, job.seed, job.width, job.height)


def colour(prompt: str, seed: int, width: int = 64, height: int = 64) -> Pixels:
    """The flat image of a prompt and a seed."""
    return np.full((height, width, 3), (sum(prompt.encode()) + 7 * seed) % 256, np.uint8)
