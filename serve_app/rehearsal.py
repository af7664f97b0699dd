"""The first images of a replica: proof that it can draw, and whether a batch gives what single images give."""

from dataclasses import replace

import numpy as np

from serve_app.encode import Pixels
from serve_app.engine import Painter
from serve_app.errors import OutOfMemory, Refusal, StartupError
from serve_app.jobs import ImageJob, ModelProfile

STEPS = 2
CHECK_SIDE = 256
TOLERANCE = {"float32": 1.0}  # grey levels, the largest difference of any pixel
HALF_TOLERANCE = 24.0  # half precision rounds differently in another batch size; a mix-up is far above this


def first_image(painter: Painter) -> tuple[ImageJob, Pixels]:
    """Draw one small-effort image at the default size; raises StartupError when the model cannot."""
    profile = painter.profile
    job = ImageJob(
        prompt="a red circle",
        negative_prompt=None,
        width=profile.default_width,
        height=profile.default_height,
        steps=min(STEPS, profile.default_steps),
        guidance=profile.default_guidance,
        seed=1,
    )
    try:
        return job, _draw(painter, [job])[0]
    except OutOfMemory:
        message = f"One image of {job.width}x{job.height} pixels does not fit into memory with {profile.name}."
        raise StartupError(f"{message} Take a larger GPU or a smaller model.") from None


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
