"""The scheduler's promises, on random traffic."""

from collections import Counter
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.batching import BatchKey, Caps, Scheduler, Ticket, key_of
from serve_app.jobs import ImageJob, ModelProfile

KEYS = [
    BatchKey(model="m", scheduler="s", width=side, height=side, steps=steps, guided=True)
    for side in (64, 128, 256)
    for steps in (4, 20)
]
CAPS = Caps(4, 128 * 128)

tickets = st.builds(
    lambda tenant, key, wait: (tenant, KEYS[key], wait),
    st.sampled_from(["ann", "bob", "cleo"]),
    st.integers(0, len(KEYS) - 1),
    st.floats(0.5, 60),
)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("add"), tickets),
        st.tuples(st.just("take"), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("pass"), st.floats(0, 20)),
    ),
    max_size=80,
)
derandomized = settings(derandomize=True, deadline=None, max_examples=60)


def ticket(tenant: str, key: BatchKey, deadline: float = 1e9) -> Ticket[None]:
    return Ticket(key=key, tenant=tenant, deadline=deadline, content=None)


@derandomized
@given(moves)
def test_every_ticket_leaves_once_with_its_key_and_alive(moves: list[tuple[str, object]]) -> None:
    scheduler: Scheduler[None] = Scheduler(CAPS.of)
    now, added, gone = 0.0, [], []
    for move, value in moves:
        if move == "add":
            tenant, key, wait = cast("tuple[str, BatchKey, float]", value)
            added.append(ticket(tenant, key, now + wait))
            scheduler.add(added[-1])
        elif move == "cancel" and added:
            added[cast("int", value) % len(added)].cancelled = True
        elif move == "pass":
            now += cast("float", value)
        elif move == "take":
            batch = scheduler.take(now)
            assert len({one.key for one in batch}) <= 1
            assert not batch or len(batch) <= CAPS.of(batch[0].key)
            assert all(one.alive(now) for one in batch)
            waiting = [one for one in added if one not in gone and one not in batch and one.alive(now)]
            for one in batch:  # earliest deadline first within tenant and key
                rivals = [other for other in waiting if (other.tenant, other.key) == (one.tenant, one.key)]
                assert all(one.deadline <= other.deadline for other in rivals)
            gone += batch
    dead = scheduler.drop_dead(now)
    assert not any(one.alive(now) for one in dead)
    gone += dead
    while batch := scheduler.take(now):
        gone += batch
    assert len(scheduler) == 0
    assert Counter(map(id, gone)) == Counter(map(id, added))


@settings(derandomized, max_examples=25)
@given(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True), st.integers(1, 30))
def test_greedy_tenant_gets_no_more_than_its_share(greedy_keys: list[BatchKey], modest_backlog: int) -> None:
    scheduler: Scheduler[None] = Scheduler(CAPS.of)
    for key in greedy_keys:
        for _ in range(100):
            scheduler.add(ticket("greedy", key))
    modest_key = KEYS[0]
    for _ in range(modest_backlog):
        scheduler.add(ticket("modest", modest_key))
    largest_batch = max(CAPS.of(key) * key.width * key.height * key.steps for key in KEYS)
    charged = Counter[str]()
    waiting = modest_backlog
    while waiting:
        batch = scheduler.take(0.0)
        for one in batch:
            charged[one.tenant] += one.cost
            waiting -= one.tenant == "modest"
        if waiting:
            assert charged["greedy"] - charged["modest"] <= 2 * largest_batch


def test_no_key_starves_under_a_stream_of_another() -> None:
    scheduler: Scheduler[None] = Scheduler(CAPS.of)
    large = ticket("ann", KEYS[-1])
    for _ in range(8):
        scheduler.add(ticket("ann", KEYS[0]))
    scheduler.add(large)
    for _ in range(200):
        if large in scheduler.take(0.0):
            return
        for _ in range(4):
            scheduler.add(ticket("ann", KEYS[0]))
    raise AssertionError("the large request was never served")


def test_an_idle_tenant_earns_no_credit() -> None:
    scheduler: Scheduler[None] = Scheduler(lambda _: 1)
    for _ in range(50):
        scheduler.add(ticket("busy", KEYS[0]))
        scheduler.take(0.0)
    for _ in range(10):
        scheduler.add(ticket("busy", KEYS[0]))
        scheduler.add(ticket("late", KEYS[0]))
    served = Counter(scheduler.take(0.0)[0].tenant for _ in range(10))
    assert served["busy"] >= 4
    assert served["late"] >= 4


def after_a_call(waiting: int, seconds: float = 0.5) -> Scheduler[None]:
    """A scheduler at 10.0, when the call that so many waited for has ended; the cap of their key is 4."""
    scheduler: Scheduler[None] = Scheduler(CAPS.of)
    for _ in range(waiting):
        scheduler.add(ticket("ann", KEYS[2]))
    scheduler.finished(10.0, scheduler.take(9.0), seconds)
    return scheduler


def test_nothing_is_held_after_a_call_for_one() -> None:
    scheduler = after_a_call(1)
    scheduler.add(ticket("ann", KEYS[2]))
    assert scheduler.hold(10.0) == 0.0


def test_a_batch_is_held_until_as_many_are_back_as_were_there() -> None:
    scheduler = after_a_call(2)
    scheduler.add(ticket("ann", KEYS[2]))
    assert 0.0 < scheduler.hold(10.0) <= 0.06
    assert scheduler.hold(10.2) == 0.0
    scheduler.add(ticket("ann", KEYS[2]))
    assert scheduler.hold(10.0) == 0.0


def test_those_left_waiting_count_up_to_the_cap() -> None:
    scheduler = after_a_call(6)
    assert scheduler.hold(10.0) > 0.0
    for _ in range(2):
        scheduler.add(ticket("ann", KEYS[2]))
    assert len(scheduler) == CAPS.of(KEYS[2])
    assert scheduler.hold(10.0) == 0.0


def test_two_that_take_turns_are_brought_together() -> None:
    scheduler: Scheduler[None] = Scheduler(CAPS.of)
    scheduler.add(ticket("ann", KEYS[2]))
    batch = scheduler.take(9.0)
    scheduler.add(ticket("ann", KEYS[2]))  # comes during the first one's call
    scheduler.finished(10.0, batch, 0.5)
    assert scheduler.hold(10.0) > 0.0
    scheduler.add(ticket("ann", KEYS[2]))
    assert scheduler.hold(10.0) == 0.0
    assert len(scheduler.take(10.0)) == 2


def test_nobody_is_held_while_another_key_could_run() -> None:
    scheduler = after_a_call(4)
    scheduler.add(ticket("ann", KEYS[0]))
    assert scheduler.hold(10.0) == 0.0


def test_caps_follow_pixels_and_halve() -> None:
    caps = Caps(8, 128 * 128)
    small, default, large = KEYS[0], KEYS[2], KEYS[4]
    assert (caps.of(small), caps.of(default), caps.of(large)) == (8, 8, 2)
    assert caps.halve(default, failed=5) == 2
    assert caps.halve(default, failed=2) == 1
    assert caps.halve(default, failed=1) == 1
    assert caps.of(small) == 8


def profile(**changes: object) -> ModelProfile:
    values: dict[str, object] = {
        "name": "m",
        "revision": None,
        "family": "F",
        "scheduler": "S",
        "default_width": 64,
        "default_height": 64,
        "default_steps": 4,
        "default_guidance": 3.0,
    }
    return ModelProfile(**(values | changes))  # type: ignore[arg-type]


def job(guidance: float, negative: str | None = None) -> ImageJob:
    return ImageJob("a", negative, 64, 64, 4, guidance, seed=1)


def test_key_holds_what_the_model_cannot_vary() -> None:
    rigid, supple = profile(), profile(guidance_varies=True)
    assert key_of(job(3), rigid) != key_of(job(4), rigid)
    assert key_of(job(3), supple) == key_of(job(4), supple)
    assert key_of(job(3), supple) != key_of(job(1), supple)
    assert key_of(job(3, "blue"), supple) == key_of(job(3), supple)
    splitting = profile(guidance_varies=True, negative_splits=True)
    assert key_of(job(3, "blue"), splitting) != key_of(job(3), splitting)
