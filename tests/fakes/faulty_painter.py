"""A real pipeline's drawing that fails where a test asks for it."""

import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from serve_app.encode import Pixels
from serve_app.errors import OutOfMemory, Refusal
from serve_app.jobs import ImageJob

STALL = "stall"  # a file of this name in the temporary folder: the next call hangs, once
RAISES = "explode"  # in a prompt: its call raises
LARGE = "enormous"  # in a prompt: not more than FITS images fit into its call
FITS = 2

Draw = Callable[[Sequence[ImageJob], Callable[[], bool]], Sequence[Pixels | Refusal]]


def faulty(draw: Draw) -> Draw:
    """The same, with the faults that prompts and the file name."""

    def fail_or_draw(jobs: Sequence[ImageJob], keep_going: Callable[[], bool]) -> Sequence[Pixels | Refusal]:
        stall = Path(tempfile.gettempdir(), STALL)
        if stall.exists():
            stall.unlink()
            threading.Event().wait()
        if any(RAISES in job.prompt for job in jobs):
            raise ValueError("cannot draw that")
        if len(jobs) > FITS and any(LARGE in job.prompt for job in jobs):
            raise OutOfMemory
        return draw(jobs, keep_going)

    return fail_or_draw
