"""The stages of a deployment with their times, as the target reports them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdctl.targets.base import Step

RAY, SERVE, REPLICA = "Ray", "Serve", "replica"
PHASES = {
    "import": "import",
    "load": "load",
    "compile": "compiling",
    "first_image": "first image",
    "check_batching": "batching check",
    "profile": "memory profile",
}


def _silent(steps: tuple[Step, ...]) -> None:
    """Tell nobody."""


class Stages:
    """Stages in their order; `report` hears of every change."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.report: Callable[[tuple[Step, ...]], None] = _silent
        self._clock = clock
        self._steps: dict[str, Step] = {}
        self._began: dict[str, float] = {}

    @property
    def steps(self) -> tuple[Step, ...]:
        """All stages as they are now."""
        return tuple(self._steps.values())

    def seconds(self, name: str) -> float | None:
        """How long a stage took, or None."""
        step = self._steps.get(name)
        return step.seconds if step else None

    def set(self, name: str, state: str, detail: str = "", seconds: float | None = None) -> None:
        """Change a stage; its time runs from its first `running` unless `seconds` is given. Reports what changed."""
        began = self._began.setdefault(name, self._clock())
        step = Step(name, state, detail, self._clock() - began if seconds is None else seconds)
        before = self._steps.get(name)
        self._steps[name] = step
        if before is None or (before.state, before.detail) != (state, detail):
            self.report(self.steps)

    def drop(self, name: str) -> None:
        """Forget a stage: finer ones take its place."""
        self._steps.pop(name, None)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage that lasts as long as the block; failed when the block raises."""
        self.set(name, "running")
        try:
            yield
        except BaseException:
            self.set(name, "failed")
            raise
        self.set(name, "done")
