"""One image of a pipeline's output as pixels or as the reason why there are none; pure of torch."""

from typing import Any

import numpy as np

from serve_app.encode import Pixels
from serve_app.errors import Refusal
from serve_app.jobs import ImageJob

BLOCKED = Refusal(400, "content_policy_violation", "The model's safety checker refused the image.", "prompt")
NOT_A_NUMBER = Refusal(500, "generation_failed", "The model gave numbers that are no image (overflow).")
OTHER_SIZE = Refusal(500, "generation_failed", "The pipeline gave an image of another size than asked for.")


def checked(image: Any, job: ImageJob, blocked: bool) -> Pixels | Refusal:
    """The pixels of a float image between 0 and 1: never a blanked one, nor one of another size."""
    if blocked:
        return BLOCKED
    if not np.isfinite(image).all():
        return NOT_A_NUMBER
    if image.shape != (job.height, job.width, 3):
        return OTHER_SIZE
    pixels: Pixels = (np.clip(image, 0.0, 1.0) * 255).round().astype(np.uint8)
    return pixels
