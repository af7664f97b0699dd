"""The first images of a replica: proof that it can draw, and whether a batch gives what single images give."""

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Protocol

import numpy as np

from serve_app.batching import Caps
from serve_app.config import ServiceConfig
from serve_app.encode import Pixels
from serve_app.engine import Painter
from serve_app.errors import OutOfMemory, Refusal, StartupError
from serve_app.jobs import ImageJob, ModelProfile
from serve_app.memory import SHARE, Fit, MeasuredCaps, Memory, fit
from serve_app.schemas import MIN_SIDE

logger = logging.getLogger("ray.serve")

STEPS = 2
CHECK_SIDE = 256
TOLERANCE = {"float32": 1.0}  # grey levels, the largest difference of any pixel
# Half precision rounds differently in another batch size. Measured in bfloat16 on a CPU, tiny pipelines with random
# weights and the built-in model: SD and SDXL at most 5 (batches to 8, 64 and 128 pixels, 2 and 20 steps), Flux 2 and
# the built-in model 0 (batches to 4, 2 and 6 steps); two different pictures differed by 177 and more. Real models run
# longer chains of sums, and a GPU picks other kernels: hence the distance from 5.
HALF_TOLERANCE = 24.0


class CompilingPainter(Painter, Protocol):
    """A painter whose network can be compiled."""

    def compiling(self) -> AbstractContextManager[None]:
        """What is drawn inside the block is compiled for later calls of its kind."""


class MeasurablePainter(Painter, Protocol):
    """A painter that knows whose memory its calls take."""

    def memory(self, limit: int | None) -> Memory:
        """That memory, within a limit in bytes if there is one."""


def first_image(painter: Painter) -> tuple[ImageJob, Pixels]:
    """Draw one small-effort image at the default size; raises StartupError when the model cannot."""
    job = _default(painter.profile)
    try:
        return job, _draw(painter, [job])[0]
    except OutOfMemory:
        message = f"One image of {job.width}x{job.height} pixels does not fit into memory with {painter.profile.name}."
        raise StartupError(f"{message} Take a larger GPU or a smaller model.") from None


def _default(profile: ModelProfile) -> ImageJob:
    return ImageJob(
        prompt="a red circle",
        negative_prompt=None,
        width=profile.default_width,
        height=profile.default_height,
        steps=min(STEPS, profile.default_steps),
        guidance=profile.default_guidance,
        seed=1,
    )


def compile_sizes(painter: CompilingPainter, sizes: Iterable[tuple[int, int]], batches: bool) -> None:
    """Draw what makes the compiler build code for these sizes, alone and in a batch; raises StartupError.

    The code takes any number of rows above one: one image with guidance has two, without it one.
    """
    job = _default(painter.profile)
    for width, height in tuple(sizes) or ((job.width, job.height),):
        one = replace(job, width=width, height=height)
        try:
            with painter.compiling():
                _draw(painter, [one])
                _draw(painter, [replace(one, guidance=1.0)])
                with suppress(OutOfMemory):
                    _draw(painter, [one] * 2 if batches else [one])
        except RuntimeError as error:
            words = f"torch.compile failed ({type(error).__name__}: {str(error).strip().splitlines()[0][:300]})"
            remedy = "It needs a C++ compiler: install g++, or set `compile: off`."
            raise StartupError(f"{words}. {remedy}") from error


def measured_caps(painter: MeasurablePainter, config: ServiceConfig) -> Caps:
    """The largest batch per size: as configured, lowered to what memory holds. It lowers the largest image too."""
    profile = painter.profile
    pixels = profile.default_width * profile.default_height
    limit = None if config.memory_limit_mb is None else config.memory_limit_mb * 2**20
    measured = measure(painter, painter.memory(limit))
    if measured is None:
        logger.warning("memory cannot be measured here: batches are as large as configured")
        return Caps(config.max_batch, pixels)
    fits, largest = measured.images(pixels), max(pixels, measured.most_pixels())
    logger.info("memory holds %d images of the default size at once, and one of %d pixels", fits, largest)
    painter.profile = replace(profile, max_pixels=min(profile.max_pixels, largest))
    return MeasuredCaps(config.max_batch, pixels, measured)


def measure(painter: Painter, memory: Memory) -> Fit | None:
    """What memory holds, from one and two images of the default size and one of another; None: it cannot be told."""
    job = _default(painter.profile)
    other = _another_size(job, painter.profile)
    try:
        one = memory.peak(lambda: _draw(painter, [job]))
        beside = None if other is None else (other.width * other.height, memory.peak(lambda: _draw(painter, [other])))
        budget = int(memory.free() * SHARE)
    except OSError:  # a system without Linux's counters
        return None
    pixels = job.width * job.height
    try:
        two = memory.peak(lambda: _draw(painter, [job, replace(job, seed=2)]))
    except OutOfMemory:
        two = 2 * one
    return fit(budget, one, two, beside, pixels)


def _another_size(job: ImageJob, profile: ModelProfile) -> ImageJob | None:
    """The largest of the model's sizes, as growth is what matters; a model that takes any draws half the width."""
    if profile.sizes:
        width, height = max(profile.sizes, key=lambda size: size[0] * size[1])
    else:
        width, height = job.width // 2 // profile.multiple * profile.multiple, job.height
    other = replace(job, width=width, height=height)
    return None if width < MIN_SIDE or (width, height) == (job.width, job.height) else other


def batches_truly(painter: Painter, job: ImageJob, alone: Pixels, dtype: str) -> bool:
    """Whether two different images drawn together are, each, what they are alone."""
    small = _smaller(job, painter.profile)
    other = replace(small, prompt="a small blue square on the left of a very wide yellow field", seed=2)
    singles = [alone if small == job else _draw(painter, [small])[0], _draw(painter, [other])[0]]
    try:
        together = _draw(painter, [small, other])
    except OutOfMemory:
        return False
    tolerance = TOLERANCE.get(dtype, HALF_TOLERANCE)
    return all(
        float(np.abs(one.astype(np.int16) - two.astype(np.int16)).max()) <= tolerance
        for one, two in zip(singles, together, strict=True)
    )


def _smaller(job: ImageJob, profile: ModelProfile) -> ImageJob:
    """The same at a size that costs little, where the model takes any size."""
    side = CHECK_SIDE - CHECK_SIDE % profile.multiple
    if profile.sizes or job.width * job.height <= side * side:
        return job
    return replace(job, width=side, height=side)


def _draw(painter: Painter, jobs: list[ImageJob]) -> list[Pixels]:
    pictures = []
    for outcome in painter.draw(jobs, lambda: True):
        if isinstance(outcome, Refusal):
            if outcome.code != "content_policy_violation":  # a checker that dislikes noise is no broken model
                raise StartupError(f"The model's first image failed: {outcome.message}")
            outcome = np.zeros((jobs[0].height, jobs[0].width, 3), np.uint8)
        pictures.append(outcome)
    return pictures
