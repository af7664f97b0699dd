"""Which waiting requests become the next pipeline call: pure, with requests and a clock coming in."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from serve_app.jobs import ImageJob, ModelProfile

HOLD_SHARE = 0.1  # of the last call's time: the longest wait for a batch to fill up again
HOLD_LIMIT_S = 0.1  # a call costs about as much besides its images: a longer wait pays for nothing

T = TypeVar("T")
_numbers = count()


@dataclass(frozen=True)
class BatchKey:
    """What requests must share to be one pipeline call; None where the model does not care."""

    model: str
    scheduler: str
    width: int
    height: int
    steps: int
    guided: bool
    guidance: float | None = None
    negative: bool | None = None


def key_of(job: ImageJob, profile: ModelProfile) -> BatchKey:
    """The batch key of a job under this model."""
    return BatchKey(
        model=profile.name,
        scheduler=profile.scheduler,
        width=job.width,
        height=job.height,
        steps=job.steps,
        guided=job.guidance > 1,
        guidance=None if profile.guidance_varies else job.guidance,
        negative=bool(job.negative_prompt) if profile.negative_splits else None,
    )


@dataclass(eq=False)
class Ticket(Generic[T]):
    """A waiting request; times in seconds of the scheduler's clock, cost in pixels × steps."""

    key: BatchKey
    tenant: str
    deadline: float
    content: T
    cancelled: bool = False
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def cost(self) -> int:
        """What the image is charged to its tenant and key."""
        return self.key.width * self.key.height * self.key.steps

    def alive(self, now: float) -> bool:
        """Whether somebody still waits for the image."""
        return not self.cancelled and now < self.deadline


class Caps:
    """The largest batch per size: `at_default` images at the default pixels, fewer of larger ones."""

    def __init__(self, at_default: int, default_pixels: int) -> None:
        self._at_default = at_default
        self._default_pixels = default_pixels
        self._lowered: dict[tuple[int, int], int] = {}

    def of(self, key: BatchKey) -> int:
        """How many images of this size one call may have; at least 1."""
        by_pixels = self._at_default * self._default_pixels // (key.width * key.height)
        return self._lowered.get((key.width, key.height), max(1, min(self._at_default, by_pixels)))

    def halve(self, key: BatchKey, failed: int) -> int:
        """Lower the cap of a size after a batch of `failed` images did not fit; gives the new cap."""
        self._lowered[key.width, key.height] = max(1, min(self.of(key), failed) // 2)
        return self.of(key)


A = TypeVar("A", bound=Hashable)


class Shares(Generic[A]):
    """Start-time fair queueing: who was charged least goes first; newcomers start level, not with a credit."""

    def __init__(self) -> None:
        self._charged: dict[A, float] = {}
        self._level = 0.0

    def pick(self, waiting: Iterable[A]) -> A:
        """The one of those waiting that was charged least; ties go to the first given."""
        return min(waiting, key=self.charged)

    def charged(self, who: A) -> float:
        """The account's state, at least the level at which the last one was served."""
        return max(self._charged.get(who, 0.0), self._level)

    def charge(self, who: A, cost: float) -> None:
        """Serve one: its account grows by the cost."""
        start = self.charged(who)
        self._charged[who] = start + cost

    def settle(self, waiting: Iterable[A]) -> None:
        """Raise the level to the least charged that waits, and forget accounts below it."""
        accounts = [self.charged(who) for who in waiting]
        if accounts:
            self._level = min(accounts)
        self._charged = {who: paid for who, paid in self._charged.items() if paid > self._level}


@dataclass(frozen=True)
class Refill:
    """What the next call may wait for: so many images of a key, until a time."""

    key: BatchKey | None = None
    images: int = 0
    until: float = 0.0


class Scheduler(Generic[T]):
    """Fair by tenant, then by batch key within the tenant; earliest deadline first within a key."""

    def __init__(self, cap: Callable[[BatchKey], int]) -> None:
        self._cap = cap
        self._waiting: list[Ticket[T]] = []
        self._tenants: Shares[str] = Shares()
        self._keys: dict[str, Shares[BatchKey]] = {}  # by tenant
        self._refill = Refill()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ticket: Ticket[T]) -> None:
        """Queue a request."""
        self._waiting.append(ticket)

    def drop_dead(self, now: float) -> list[Ticket[T]]:
        """Remove and give the tickets that nobody waits for any more."""
        dead = [ticket for ticket in self._waiting if not ticket.alive(now)]
        self._waiting = [ticket for ticket in self._waiting if ticket.alive(now)]
        return dead

    def finished(self, now: float, batch: Sequence[Ticket[T]], seconds: float) -> None:
        """Note a finished call: clients that send their next request on its answer may fill a batch again."""
        key = batch[0].key
        waiting = sum(ticket.key == key for ticket in self._waiting)
        most = min(self._cap(key), len(batch) + waiting)
        self._refill = Refill(key, most, now + min(HOLD_LIMIT_S, HOLD_SHARE * seconds))

    def hold(self, now: float) -> float:
        """Seconds to wait for more before `take`; 0 when a call should start now, as while another key waits."""
        refill = self._refill
        if len(self._waiting) >= refill.images or any(ticket.key != refill.key for ticket in self._waiting):
            return 0.0
        return max(0.0, refill.until - now)

    def take(self, now: float) -> list[Ticket[T]]:
        """Remove and give the next batch; empty when nothing live waits. Dead tickets stay for `drop_dead`."""
        live = [ticket for ticket in self._waiting if ticket.alive(now)]
        if not live:
            return []
        waiting: dict[str, dict[BatchKey, None]] = {}
        for ticket in live:
            waiting.setdefault(ticket.tenant, {})[ticket.key] = None
        self._settle(waiting)
        tenant = self._tenants.pick(waiting)
        key = self._keys[tenant].pick(waiting[tenant])
        batch = self._fill([ticket for ticket in live if ticket.key == key], tenant, self._cap(key))
        taken = set(map(id, batch))
        self._waiting = [ticket for ticket in self._waiting if id(ticket) not in taken]
        return batch

    def _settle(self, waiting: dict[str, dict[BatchKey, None]]) -> None:
        self._tenants.settle(waiting)
        self._keys = {tenant: self._keys.get(tenant, Shares()) for tenant in waiting}
        for tenant, keys in waiting.items():
            self._keys[tenant].settle(keys)

    def _fill(self, candidates: list[Ticket[T]], first: str, cap: int) -> list[Ticket[T]]:
        """Up to `cap` of these: tenant by tenant as their accounts say, the chosen one first."""
        queues: dict[str, list[Ticket[T]]] = {}
        for ticket in sorted(candidates, key=lambda ticket: (ticket.deadline, ticket.number), reverse=True):
            queues.setdefault(ticket.tenant, []).append(ticket)
        batch: list[Ticket[T]] = []
        tenant = first
        while queues and len(batch) < cap:
            ticket = queues[tenant].pop()
            if not queues[tenant]:
                del queues[tenant]
            self._tenants.charge(tenant, ticket.cost)
            self._keys[tenant].charge(ticket.key, ticket.cost)
            batch.append(ticket)
            if queues:
                tenant = self._tenants.pick(queues)
        return batch
