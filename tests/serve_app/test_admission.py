"""Who is admitted, who is let through first, what overload answers, and what the autoscaler sees of a burst."""

import asyncio
import math

import httpx
import pytest

from sdctl import manifest
from serve_app.admission import Admission, FairGate
from serve_app.errors import ServiceError
from tests.fakes.service_replicas import Clock
from tests.serve_app.conftest import Front, make_front

GOOD = {"prompt": "a"}


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


def test_a_wider_gate_lets_in_who_waits() -> None:
    async def body() -> None:
        gate = FairGate(1)
        inside: list[int] = []

        async def pass_through(number: int) -> None:
            async with gate.passage("ann", 1):
                inside.append(number)
                await asyncio.sleep(3600)

        tasks = [asyncio.create_task(pass_through(number)) for number in range(5)]
        for limit, expected in ((1, 1), (3, 3), (2, 3), (5, 5)):
            gate.widen(limit)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(inside) == expected
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(asyncio.wait_for(body(), 60))


@pytest.mark.parametrize(("users", "most"), [(50, 4), (50, 12), (400, 40)])
@pytest.mark.parametrize("name", [manifest.GPU, manifest.CPU])
def test_the_demand_of_a_burst_takes_the_autoscaler_to_the_maximum(name: str, users: int, most: int) -> None:
    """Ray wants ceil(requests that Serve holds / target) replicas; each look here is one that it took."""
    application = manifest.load(manifest.packaged(name)).serve_config["applications"][0]
    ingress, generator = manifest.deployments(application)
    scaling, cap = generator["autoscaling_config"], application["args"]["max_batch"]
    assert generator["max_ongoing_requests"] == 2 * cap  # one batch at work, one that waits
    assert scaling["target_ongoing_requests"] == cap
    assert ingress["max_ongoing_requests"] >= 1000
    most = min(most, math.ceil(users / cap))
    front = make_front(max_batch=cap)
    front.replicas.hang = True

    async def use(client: httpx.AsyncClient) -> None:
        burst = [asyncio.create_task(client.post("/imagine", json=GOOD)) for _ in range(users)]
        while front.replicas.count != most:
            await asyncio.sleep(0)
            wanted = math.ceil(len(front.replicas.jobs) / cap)
            front.replicas.count = min(most, wanted)
            await front.gateway.refresh()
        for task in burst:
            task.cancel()
        await asyncio.gather(*burst, return_exceptions=True)

    front.run(use)
