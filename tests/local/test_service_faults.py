"""Faults of every part under twenty users who try nothing twice: who is harmed, and that every picture is right."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.schemas import ErrorBody
from tests.fakes.faulty_painter import LARGE, RAISES
from tests.local import faults
from tests.local.cli import DEADLINE_S, kill, wait_for
from tests.local.conftest import LocalService
from tests.local.users import SEED, STEPS, WISHES, alike, references, twenty

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
ALL_SERVED = {"ok"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """The service that fails on demand."""
    with faults.faulty(tmp_path_factory.mktemp("faulty")) as faulty:
        yield faulty


@pytest.fixture(scope="module")
def alone(service: LocalService) -> list[Any]:
    """What each wish gives when nobody else asks."""
    with service.new_client() as client:
        return references(client)


def in_flight(client: httpx.Client) -> int:
    return int(client.get("/healthz").json().get("in_flight", -1))


def test_requests_that_fail_and_clients_that_go_or_stop_reading_harm_nobody_else(
    service: LocalService, alone: list[Any]
) -> None:
    other = faults.authorization(faults.TENANTS[1])
    many = {"prompt": "a red star", "n": 4, "size": "192x192", "num_inference_steps": STEPS}
    with twenty(service.new_client, alone) as crowd, service.new_client() as client, ExitStack() as deaf:
        with ThreadPoolExecutor() as pool:
            bad = pool.submit(client.post, "/imagine", json=WISHES[0] | {"prompt": f"a red circle, {RAISES}"})
            large = [pool.submit(client.post, "/imagine", json=_large(wish)) for wish in WISHES[:6]]
        for _ in range(2):
            deaf.enter_context(faults.asked_and_not_read(service, "/v1/images/generations", many, other))
        for _ in range(20):
            with faults.asked_and_not_read(service, "/v1/images/generations", many, other):
                pass  # this one goes at once
        crowd.everyone_is_served()
        crowd.ended.set()
        assert (bad.result().status_code, bad.result().json()["error"]["code"]) == (500, "generation_failed")
        assert {answer.result().status_code for answer in large} == {200}
        wait_for(lambda: in_flight(client) == 0, "nothing was in flight")
    assert set(crowd.outcomes) == ALL_SERVED, crowd.outcomes


def _large(wish: dict[str, Any]) -> dict[str, Any]:
    return wish | {"prompt": f"{wish['prompt']}, {LARGE}"}


def hang(service: LocalService) -> None:
    """A call that never ends: the replica itself sees it."""
    victim = service.pid(faults.GENERATOR)
    faults.stall_next_call(service)
    faults.wait_until_gone(victim)


def freeze(service: LocalService) -> None:
    """A process that stands still: only Serve's health check sees it."""
    victim = service.pid(faults.GENERATOR)
    os.kill(victim, signal.SIGSTOP)
    faults.wait_until_gone(victim)


def die(service: LocalService) -> None:
    """kill -9."""
    kill(service.pid(faults.GENERATOR))


def test_two_generators_lost_in_a_row_lose_no_request(service: LocalService, alone: list[Any]) -> None:
    with twenty(service.new_client, alone) as crowd:
        hang(service)
        crowd.somebody_is_served()
        die(service)  # the second loss for most of those that wait
        crowd.everyone_is_served()
    assert set(crowd.outcomes) == ALL_SERVED, crowd.outcomes


@pytest.mark.soak
def test_many_lost_generators_and_controllers_lose_no_request(service: LocalService, alone: list[Any]) -> None:
    with twenty(service.new_client, alone) as crowd:
        for round_of_faults in range(3):
            for fault in (die, freeze, hang, lambda service: kill(service.pid(faults.CONTROLLER))):
                fault(service)
                crowd.everyone_is_served()
            print(f"round {round_of_faults}: {dict(crowd.outcomes)}")
    assert set(crowd.outcomes) == ALL_SERVED, crowd.outcomes


def test_a_killed_controller_loses_no_request(service: LocalService, alone: list[Any]) -> None:
    with twenty(service.new_client, alone) as crowd:
        victim = service.pid(faults.CONTROLLER)
        kill(victim)
        crowd.everyone_is_served()
        wait_for(lambda: service.sdctl.json("status")["state"] == "ready", "the controller was back")
        assert service.pid(faults.CONTROLLER) != victim
        crowd.everyone_is_served()
    assert set(crowd.outcomes) == ALL_SERVED, crowd.outcomes


@pytest.mark.parametrize("part", [faults.INGRESS, pytest.param(faults.PROXY, marks=pytest.mark.soak)])
def test_what_dies_before_the_client_is_one_known_outcome_and_tries_recover_all(
    service: LocalService, alone: list[Any], tmp_path: Path, part: str
) -> None:
    prompts = [str(wish["prompt"]) for wish in WISHES] * 3
    words = [*prompts, f"--seed={SEED}", f"--steps={STEPS}", f"--output={tmp_path}/", "--json", "--timeout=10m"]
    environment = {"SDCTL_TOKEN": faults.key(faults.TENANTS[1])}
    with (
        twenty(service.new_client, alone) as crowd,
        service.sdctl.start("imagine", *words, "--target", service.url, environment=environment) as imagining,
    ):
        wait_for(lambda: any(tmp_path.iterdir()), "the first picture was saved")
        kill(service.pid(part))
        began = time.monotonic()
        crowd.everyone_is_served()
        print(f"{part}: every user had a picture again after {time.monotonic() - began:.1f} s")
        told, complaint = imagining.communicate(timeout=DEADLINE_S)
    assert imagining.returncode == 0, (told, complaint)
    made = json.loads(told)["images"]
    assert [image["receipt"]["prompt"] for image in made] == prompts
    assert all(alike(Path(image["path"]).read_bytes(), alone[i % len(alone)]) for i, image in enumerate(made))
    # 500: the proxy's own words for a lost ingress; 503: the new ingress has not seen a replica yet.
    assert set(crowd.outcomes) <= {"ok", "500", "503", "lost"}, crowd.outcomes
    print(f"{part}: {dict(crowd.outcomes)}")


def test_a_full_service_and_a_greedy_tenant_are_told_when_to_come_back(service: LocalService) -> None:
    greedy, *others = (faults.authorization(tenant) for tenant in faults.TENANTS)
    with service.new_client() as client:
        wait_for(lambda: in_flight(client) == 0, "nothing was in flight")
        with ExitStack() as held:
            _assert_busy(_refused(service, held, [greedy], faults.PLACES_OF_ONE), 429, "rate_limit_exceeded")
            _assert_busy(_refused(service, held, others, faults.PLACES), 503, "overloaded")
        wait_for(lambda: in_flight(client) == 0, "nothing was in flight")
        assert client.post("/imagine", json=WISHES[0], headers=greedy).status_code == 200


def _refused(service: LocalService, held: ExitStack, tenants: list[dict[str, str]], places: int) -> httpx.Response:
    """The answer when these tenants have taken all places left of so many, and one of them asks once more."""
    long = {"prompt": "a red star", "num_inference_steps": 150, "img_size": 192}
    with service.new_client() as client:
        while True:
            for number in range(places - in_flight(client)):
                tenant = tenants[number % len(tenants)]
                held.enter_context(faults.asked_and_not_read(service, "/imagine", long, tenant))
            wait_for(lambda: in_flight(client) >= places - 1, "the places were taken")  # one may be served meanwhile
            answer = client.post("/imagine", json=long, headers=tenants[0] | {"X-Request-Timeout": "1"})
            if answer.status_code != 504:
                return answer


def _assert_busy(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, ErrorBody.model_validate_json(answer.content).error.code) == (status, code)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
