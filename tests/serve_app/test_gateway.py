"""Deadlines, lost replicas, hang-ups, overload and health, with faked replicas."""

import asyncio

import httpx
import pytest

from tests.serve_app.conftest import Front, make_front

GOOD = {"prompt": "a"}


def test_a_request_outlives_two_lost_replicas_with_the_same_seed(front: Front) -> None:
    front.replicas.losses = 2

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD)
        assert response.status_code == 200
        assert response.headers["x-seed"] == str(front.replicas.jobs[0].seed)

    front.run(use)
    first, second, third = front.replicas.jobs
    assert first == second == third


def test_a_request_that_loses_every_replica_ends_in_a_503_that_asks_to_come_back(front: Front) -> None:
    front.replicas.losses = 99

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "replica_lost")
        assert response.headers["retry-after"] == "1"

    front.run(use)
    assert len(front.replicas.jobs) == 3  # a request that kills what it meets does not get through them all


def test_past_its_deadline_a_request_is_a_504_and_its_work_is_cancelled(front: Front) -> None:
    front.replicas.hang = True

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD, headers={"x-request-timeout": "0.05"})
        assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")

    front.run(use)
    assert front.replicas.cancelled == 1
    assert front.gateway.health()[1]["in_flight"] == 0


@pytest.mark.parametrize(("header", "seconds"), [("7.5", 7.5), ("9999", 120.0), (None, 120.0)])
def test_the_replica_learns_the_time_that_is_left(front: Front, header: str | None, seconds: float) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        await client.post("/imagine", json=GOOD, headers={"x-request-timeout": header} if header else {})

    front.run(use)
    assert front.replicas.times_left == [seconds]


@pytest.mark.parametrize("header", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_that_is_none_is_a_400(front: Front, header: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD, headers={"x-request-timeout": header})
        assert response.status_code == 400

    front.run(use)


def test_a_caller_that_goes_cancels_the_work(front: Front) -> None:
    front.replicas.hang = True

    async def use(client: httpx.AsyncClient) -> None:
        task = asyncio.create_task(client.post("/imagine", json=GOOD))
        while not front.replicas.jobs:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    front.run(use)
    assert front.replicas.cancelled == 1
    assert front.gateway.health()[1]["in_flight"] == 0


def test_refused_words_refuse_the_prompt() -> None:
    front = make_front(refused_words=("Evil",))

    async def use(client: httpx.AsyncClient) -> None:
        for prompt, status in (("an EVIL cat", 400), ("a devil", 200)):
            response = await client.post("/imagine", json={"prompt": prompt})
            assert response.status_code == status
            if status == 400:
                assert response.json()["error"]["code"] == "content_policy_violation"
                assert "evil" not in response.text.lower()

    front.run(use)


def test_starting_ready_silent_and_back(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.get("/healthz")
        assert (response.status_code, response.json()) == (503, {"status": "starting"})
        response = await client.post("/imagine", json=GOOD)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "starting")
        assert response.headers["retry-after"]
        await front.gateway.refresh()
        ready = await client.get("/healthz")
        assert ready.status_code == 200
        assert ready.json()["phases_s"] == {"import": 1.5, "load": 0.5}
        assert (ready.json()["model"], ready.json()["replicas"]) == ("fake", 1)
        front.replicas.silent = True
        front.clock.now += 9
        await front.gateway.refresh()
        assert (await client.get("/healthz")).status_code == 200
        front.clock.now += 2
        assert (await client.get("/healthz")).status_code == 503
        front.replicas.silent = False
        await front.gateway.refresh()
        assert (await client.get("/healthz")).status_code == 200

    front.run(use, started=False)


def test_a_busy_replica_is_not_asked_and_counts_as_alive(front: Front) -> None:
    front.replicas.hang = True

    async def use(client: httpx.AsyncClient) -> None:
        task = asyncio.create_task(client.post("/imagine", json=GOOD))
        while not front.replicas.jobs:
            await asyncio.sleep(0)
        asked = front.replicas.descriptions
        front.clock.now += 60
        await front.gateway.refresh()
        assert (await client.get("/healthz")).status_code == 200
        assert front.replicas.descriptions == asked
        front.replicas.count = 0
        front.clock.now += 60
        await front.gateway.refresh()
        assert (await client.get("/healthz")).status_code == 503
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    front.run(use)


def test_with_no_replica_running_nothing_counts_as_demand(front: Front) -> None:
    async def use(_: httpx.AsyncClient) -> None:
        asked = front.replicas.descriptions
        front.replicas.count = 0
        await front.gateway.refresh()
        assert front.replicas.descriptions == asked

    front.run(use)
