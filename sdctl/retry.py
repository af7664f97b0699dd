"""When to try again, and after how long."""

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sdctl.errors import SdctlError

T = TypeVar("T")


class Again(Exception):
    """A failure that a repetition may mend; `error` is what it means once there is no time left to try."""

    def __init__(
        self,
        error: SdctlError,
        *,
        reason: str,
        after_s: float | None = None,
        connected: bool = True,
        most: int | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.reason = reason  # continues "the service …"
        self.after_s = after_s  # what the service asked for (Retry-After)
        self.connected = connected  # the service was there
        self.most = most  # failures of such kinds at most, whatever the time


@dataclass(frozen=True)
class Policy:
    """Seconds between tries: doubling from `first_s` to `longest_s`, with jitter so that clients do not march in step.

    A service that was never reached is given up after `patience_s`.
    """

    first_s: float = 0.5
    longest_s: float = 8.0
    patience_s: float = 10.0

    def wait_s(self, attempt: int, again: Again) -> float:
        """Seconds to wait after the failed try number `attempt` (from 0)."""
        jitter = random.uniform(0.5, 1.0)  # noqa: S311
        if again.after_s is not None:
            return again.after_s + jitter * self.first_s
        return jitter * min(self.longest_s, self.first_s * float(2 ** min(attempt, 16)))


@dataclass(frozen=True)
class Clock:
    """Time as the retries see it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def _silent(reason: str, wait_s: float) -> None:
    """Tell nobody."""


def retry(
    attempt: Callable[[float], T],
    *,
    timeout_s: float,
    policy: Policy = Policy(),
    clock: Clock = Clock(),
    notify: Callable[[str, float], None] = _silent,
) -> T:
    """Give the result of `attempt(seconds left)`, called until it does not raise Again or no time is left.

    `notify(reason, wait_s)` hears of each wait. Raises the last failure's `error`.
    """
    start = clock.now()
    deadline, patience_end = start + timeout_s, start + policy.patience_s
    reached, counted = False, 0
    for number in itertools.count():
        try:
            return attempt(deadline - clock.now())
        except Again as again:
            reached = reached or again.connected
            counted += again.most is not None
            wait_s = policy.wait_s(number, again)
            end = deadline if reached else min(deadline, patience_end)
            if clock.now() + wait_s >= end or (again.most is not None and counted >= again.most):
                raise again.error from None
            notify(again.reason, wait_s)
            clock.sleep(wait_s)
    raise AssertionError("unreachable")
