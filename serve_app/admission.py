"""Who may have a request in flight, who is sent to a replica next, and when a refused client should come back."""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from serve_app.batching import Shares
from serve_app.errors import Refusal, ServiceError

RATE_WINDOW_S = 60.0
MINUTE_S = 60.0
LONGEST_RETRY_S = 60
SHARE_TO_WAIT_FOR = 0.1  # a refused client returns when about this part of the queue is done


class Admission:
    """Counts requests in flight; the measured rate of finished ones gives Retry-After."""

    def __init__(self, limit: int, tenant_limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._tenant_limit = tenant_limit
        self._clock = clock
        self._in_flight: Counter[str] = Counter()
        self._finished: deque[float] = deque(maxlen=1000)

    @property
    def in_flight(self) -> int:
        """Requests admitted and not answered."""
        return self._in_flight.total()

    def enter(self, tenant: str) -> None:
        """Admit one request; raises ServiceError 503 when the service is full, 429 when the tenant is."""
        if self.in_flight >= self._limit:
            raise self._busy(503, "overloaded", "The service is busy.", self.in_flight)
        if self._in_flight[tenant] >= self._tenant_limit:
            message = f"This key has {self._tenant_limit} requests in flight already."
            raise self._busy(429, "rate_limit_exceeded", message, self._in_flight[tenant])
        self._in_flight[tenant] += 1

    def leave(self, tenant: str, *, served: bool) -> None:
        """Note that a request ended, with an image or without one."""
        self._in_flight[tenant] -= 1
        if not self._in_flight[tenant]:
            del self._in_flight[tenant]
        if served:
            self._finished.append(self._clock())

    def retry_after_s(self, ahead: int) -> int:
        """Whole seconds until about a tenth of the requests ahead are done, by the last minute's rate."""
        now = self._clock()
        recent = [moment for moment in self._finished if now - moment <= RATE_WINDOW_S]
        if not recent:
            return 5
        rate = len(recent) / max(1.0, now - recent[0])
        return min(LONGEST_RETRY_S, max(1, math.ceil(SHARE_TO_WAIT_FOR * ahead / rate)))

    def _busy(self, status: int, code: str, message: str, ahead: int) -> ServiceError:
        return ServiceError(Refusal(status, code, message, retry_after_s=self.retry_after_s(ahead)))


class MinuteQuota:
    """How many images each tenant may start in any minute; no limit where that is None."""

    def __init__(self, limit: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._started: dict[str, deque[float]] = {}

    def take(self, tenant: str) -> None:
        """Use one up; raises ServiceError 429 when none is left."""
        if self._limit is None:
            return
        recent = self._recent(tenant)
        if len(recent) >= self._limit:
            wait = math.ceil(recent[0] + MINUTE_S - self._clock())
            message = f"This key may start {self._limit} images a minute."
            raise ServiceError(Refusal(429, "rate_limit_exceeded", message, retry_after_s=max(1, wait)))
        recent.append(self._clock())

    def headers(self, tenant: str) -> dict[str, str]:
        """The state of the quota, in the headers that OpenAI sends."""
        if self._limit is None:
            return {}
        recent = self._recent(tenant)
        reset = recent[0] + MINUTE_S - self._clock() if recent else 0.0
        return {
            "x-ratelimit-limit-requests": str(self._limit),
            "x-ratelimit-remaining-requests": str(self._limit - len(recent)),
            "x-ratelimit-reset-requests": f"{max(0, math.ceil(reset))}s",
        }

    def _recent(self, tenant: str) -> deque[float]:
        recent = self._started.setdefault(tenant, deque())
        while recent and recent[0] + MINUTE_S <= self._clock():
            recent.popleft()
        return recent


class FairGate:
    """Lets `limit` requests through at a time; a freed place goes to the tenant that was charged least."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._shares: Shares[str] = Shares()
        self._waiting: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}

    def widen(self, limit: int) -> None:
        """Set the number of places; those inside stay."""
        self._limit = limit
        self._let_in()

    @asynccontextmanager
    async def passage(self, tenant: str, cost: int) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside the block."""
        if self._inside < self._limit:
            self._inside += 1
            self._shares.charge(tenant, cost)
        else:
            await self._wait(tenant, cost)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, tenant: str, cost: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append((turn, cost))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came together with the cancellation
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        """Give one place back, to the next that still waits."""
        self._inside -= 1
        self._shares.settle(self._waiting)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._inside < self._limit:
            tenant = self._shares.pick(self._waiting)
            turn, cost = self._waiting[tenant].popleft()
            if not self._waiting[tenant]:
                del self._waiting[tenant]
            if not turn.done():
                self._inside += 1
                self._shares.charge(tenant, cost)
                turn.set_result(None)
