"""The engine around a model that is faked: batches, deaths, failures, memory."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serve_app import rehearsal
from serve_app.batching import Caps
from serve_app.engine import Engine, Origin
from serve_app.errors import Refusal, StartupError
from serve_app.jobs import ImageJob, Picture
from tests.fakes.service_painter import PROFILE, FakePainter, colour
from tests.fakes.service_replicas import Clock

Answer = Picture | Refusal


def job(prompt: str = "a", seed: int = 1, **changes: Any) -> ImageJob:
    return replace(ImageJob(prompt, None, 64, 64, 3, 3.0, seed, request_id="id", tenant="ann"), **changes)


def with_engine(
    painter: FakePainter,
    use: Callable[[Engine], Coroutine[Any, Any, None]],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[tuple[str, float]]:
    measured: list[tuple[str, float]] = []

    async def body() -> None:
        origin = Origin("replica-1", "0.0", lambda name, value: measured.append((name, value)))
        engine = Engine(painter, Caps(4, 64 * 64), origin, clock=clock)
        try:
            await use(engine)
        finally:
            painter.release.set()
            await engine.close()

    asyncio.run(asyncio.wait_for(body(), 60))
    return measured


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def queued_behind(engine: Engine, painter: FakePainter, jobs: list[ImageJob]) -> list[Awaitable[Answer]]:
    """Start one call and queue the jobs behind it, so that they can form batches; the call still holds."""
    painter.release.clear()
    first = asyncio.create_task(engine.submit(job("first"), 60))
    await until(painter.started.is_set)
    tasks = [first, *(asyncio.create_task(engine.submit(one, 60)) for one in jobs)]
    await asyncio.sleep(0)
    return list(tasks)


def pixels(answer: Answer) -> Any:
    assert isinstance(answer, Picture)
    return np.asarray(Image.open(io.BytesIO(answer.data)))


def test_waiting_requests_share_a_call_and_everyone_gets_their_own_picture() -> None:
    painter = FakePainter()
    jobs = [job(f"prompt {n}", seed=n, guidance=1.5 + n) for n in range(4)]

    async def use(engine: Engine) -> None:
        answers = await asyncio.gather(*await released(engine, painter, jobs))
        for one, answer in zip(jobs, answers[1:], strict=True):
            assert (pixels(answer) == colour(one.prompt, one.seed)).all()
            assert isinstance(answer, Picture)
            assert (answer.receipt.batch_size, answer.receipt.seed) == (4, one.seed)
            assert answer.receipt.replica == "replica-1"
            assert set(answer.receipt.timings_ms) == {"queue", "generate", "encode"}

    measured = with_engine(painter, use)
    assert [len(call) for call in painter.calls] == [1, 4]
    assert all(name.startswith("model") for name in painter.threads)
    assert [value for name, value in measured if name == "batch_size"] == [1, 4]


async def released(engine: Engine, painter: FakePainter, jobs: list[ImageJob]) -> list[Awaitable[Answer]]:
    tasks = await queued_behind(engine, painter, jobs)
    painter.release.set()
    return tasks


def test_different_keys_never_share_a_call() -> None:
    painter = FakePainter()
    jobs = [job(width=128), job(), job(steps=2), job(guidance=1.0)]

    async def use(engine: Engine) -> None:
        await asyncio.gather(*await released(engine, painter, jobs))

    with_engine(painter, use)
    assert [len(call) for call in painter.calls] == [1] * 5


def test_a_model_whose_images_change_in_a_batch_runs_one_by_one() -> None:
    painter = FakePainter(replace(PROFILE, batches=False))

    async def use(engine: Engine) -> None:
        await asyncio.gather(*await released(engine, painter, [job(seed=n) for n in range(3)]))

    with_engine(painter, use)
    assert [len(call) for call in painter.calls] == [1] * 4


def test_cancelled_rows_are_dropped_and_a_call_without_waiters_stops_at_the_next_step() -> None:
    painter = FakePainter()

    async def use(engine: Engine) -> None:
        first, second, third = await queued_behind(engine, painter, [job("second"), job("third")])
        for task in (first, second):
            assert isinstance(task, asyncio.Task)
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        painter.release.set()
        assert (pixels(await third) == colour("third", 1)).all()

    with_engine(painter, use)
    assert [[one.prompt for one in call] for call in painter.calls] == [["first"], ["third"]]
    assert painter.steps_done == 3  # the third's own; none of the cancelled call's


def test_an_expired_request_is_answered_and_costs_no_call() -> None:
    painter = FakePainter()

    async def use(engine: Engine) -> None:
        (first,) = await queued_behind(engine, painter, [])
        late = asyncio.create_task(engine.submit(job("late"), 0.0))
        await asyncio.sleep(0)
        painter.release.set()
        answer = await late
        assert isinstance(answer, Refusal)
        assert answer.status == 504
        await first

    with_engine(painter, use)
    assert [call[0].prompt for call in painter.calls] == ["first"]


def test_a_request_that_fails_fails_alone() -> None:
    painter = FakePainter()
    jobs = [job("one"), job("explode"), job("forbidden"), job("two")]

    async def use(engine: Engine) -> None:
        _, one, broken, refused, two = await asyncio.gather(*await released(engine, painter, jobs))
        assert (pixels(one) == colour("one", 1)).all()
        assert (pixels(two) == colour("two", 1)).all()
        assert isinstance(broken, Refusal)
        assert (broken.status, broken.code) == (500, "generation_failed")
        assert "explode" not in broken.message
        assert isinstance(refused, Refusal)
        assert refused.code == "content_policy_violation"

    with_engine(painter, use)


def test_out_of_memory_halves_the_cap_and_tries_again() -> None:
    painter = FakePainter(fits=1)
    jobs = [job(f"p{n}") for n in range(4)]

    async def use(engine: Engine) -> None:
        answers = await asyncio.gather(*await released(engine, painter, jobs))
        for one, answer in zip(jobs, answers[1:], strict=True):
            assert (pixels(answer) == colour(one.prompt, one.seed)).all()

    with_engine(painter, use)
    assert [len(call) for call in painter.calls] == [1, 4, 2, 1, 1, 1, 1]


def test_one_image_that_does_not_fit_is_an_error() -> None:
    painter = FakePainter(fits=0)

    async def use(engine: Engine) -> None:
        answer = await engine.submit(job(), 60)
        assert isinstance(answer, Refusal)
        assert (answer.status, answer.code) == (500, "out_of_memory")

    with_engine(painter, use)


@pytest.mark.parametrize(("name", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_formats_and_warnings(name: str, magic: bytes) -> None:
    async def use(engine: Engine) -> None:
        answer = await engine.submit(job("what?", format=name), 60)
        assert isinstance(answer, Picture)
        assert answer.data.startswith(magic)
        assert answer.media_type == f"image/{name}"
        assert [warning.code for warning in answer.receipt.warnings] == ["unknown_words"]

    with_engine(FakePainter(), use)


def test_a_call_that_makes_no_step_is_noticed() -> None:
    painter, clock = FakePainter(), Clock()

    async def use(engine: Engine) -> None:
        assert engine.silent_s() == 0.0
        (first,) = await queued_behind(engine, painter, [])
        clock.now += 30
        assert engine.silent_s() == 30.0
        painter.release.set()
        await first
        clock.now += 30
        await until(lambda: engine.silent_s() == 0.0)

    with_engine(painter, use, clock=clock)


def test_the_rehearsal_says_what_does_not_fit() -> None:
    with pytest.raises(StartupError, match="does not fit"):
        rehearsal.first_image(FakePainter(fits=0))
    painter = FakePainter(replace(PROFILE, default_width=512, default_height=512), fits=1)
    first, alone = rehearsal.first_image(painter)
    assert not rehearsal.batches_truly(painter, first, alone, "float32")
    assert [call[0].width for call in painter.calls] == [512, 256, 256, 256]
    roomy = FakePainter()
    assert rehearsal.batches_truly(roomy, *rehearsal.first_image(roomy), "float32")
