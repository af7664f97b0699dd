"""Deadlines, lost replicas, hang-ups, overload and health, with faked replicas."""

import asyncio

import httpx
import pytest

from serve_app.admission import Admission, FairGate
from serve_app.errors import ServiceError
from tests.fakes.service_replicas import Clock
from tests.serve_app.conftest import Front, make_front

GOOD = {"prompt": "a"}


def test_a_lost_replica_is_tried_once_more_with_the_same_seed(front: Front) -> None:
    front.replicas.losses = 1

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD)
        assert response.status_code == 200
        assert response.headers["x-seed"] == str(front.replicas.jobs[0].seed)

    front.run(use)
    first, second = front.replicas.jobs
    assert first == second


def test_two_lost_replicas_end_in_a_503_that_asks_to_come_back(front: Front) -> None:
    front.replicas.losses = 2

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "replica_lost")
        assert response.headers["retry-after"] == "1"

    front.run(use)


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


def test_overload_is_a_503_and_a_greedy_tenant_gets_429() -> None:
    for front, status in ((make_front(max_in_flight=2), 503), (make_front(max_in_flight_per_tenant=2), 429)):
        front.replicas.hang = True

        async def use(client: httpx.AsyncClient, front: Front = front, status: int = status) -> None:
            tasks = [asyncio.create_task(client.post("/imagine", json=GOOD)) for _ in range(2)]
            while len(front.replicas.jobs) < 2:
                await asyncio.sleep(0)
            response = await client.post("/imagine", json=GOOD)
            assert response.status_code == status
            assert int(response.headers["retry-after"]) >= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        front.run(use)


def test_images_per_minute_are_counted_by_tenant_and_told() -> None:
    front = make_front(images_per_minute=2)

    async def use(client: httpx.AsyncClient) -> None:
        left = []
        for _ in range(2):
            response = await client.post("/imagine", json=GOOD)
            left.append(response.headers["x-ratelimit-remaining-requests"])
            front.clock.now += 10
        assert left == ["1", "0"]
        refused = await client.post("/imagine", json=GOOD)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert (refused.headers["retry-after"], refused.headers["x-ratelimit-reset-requests"]) == ("40", "40s")
        front.clock.now += 40
        assert (await client.post("/imagine", json=GOOD)).status_code == 200

    front.run(use)


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


def test_retry_after_follows_the_measured_rate() -> None:
    clock = Clock()
    admission = Admission(1000, 1000, clock=clock)
    for _ in range(60):
        admission.enter("ann")
    assert admission.retry_after_s(60) == 5
    for _ in range(30):
        clock.now += 0.5
        admission.leave("ann", served=True)
    assert admission.in_flight == 30
    assert admission.retry_after_s(200) == 10  # two a second, a tenth of 200 ahead
    clock.now += 3600
    assert admission.retry_after_s(200) == 5
    full = Admission(1, 1, clock=clock)
    full.enter("ann")
    with pytest.raises(ServiceError):
        full.enter("bob")


def test_the_gate_alternates_between_tenants_and_survives_cancellation() -> None:
    order: list[str] = []

    async def body() -> None:
        gate = FairGate(1)
        leave = asyncio.Event()

        async def pass_through(tenant: str) -> None:
            async with gate.passage(tenant, 1):
                order.append(tenant)
                await leave.wait()

        tasks = [asyncio.create_task(pass_through("greedy")) for _ in range(6)]
        await asyncio.sleep(0)
        doomed = tasks.pop()
        modest = asyncio.create_task(pass_through("modest"))
        await asyncio.sleep(0)
        doomed.cancel()
        leave.set()
        await asyncio.gather(*tasks, modest, doomed, return_exceptions=True)

    asyncio.run(asyncio.wait_for(body(), 60))
    assert sorted(order) == ["greedy"] * 5 + ["modest"]
    assert order.index("modest") <= 2


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
