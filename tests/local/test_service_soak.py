"""Minutes of users, killed replicas and hang-ups: no request lost, every picture right, memory flat."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.local.cli import DEADLINE_S, kill, wait_for
from tests.local.conftest import LocalService
from tests.local.test_service import idle, pixels
from tests.local.test_service_here import client, generators

pytestmark = [pytest.mark.ray, pytest.mark.soak]

USERS = 20
ROUNDS = 2
WISHES: list[dict[str, Any]] = [
    {"prompt": f"a {colour} {shape} on a white background", "seed": number, "num_inference_steps": 6}
    for number, (colour, shape) in enumerate(
        (colour, shape) for colour in ("red", "green", "blue", "black") for shape in ("circle", "square", "star")
    )
]


def test_a_killed_replica_loses_no_request_of_twenty_users(
    local_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(local_service) as http:
        references = [pixels(http.post("/imagine", json=wish).content) for wish in WISHES]
        (victim,) = generators(local_service, monkeypatch)
        answered = threading.Semaphore(0)

        def kill_mid_way() -> None:
            for _ in range(USERS * 3):
                answered.acquire()
            assert victim.pid
            kill(victim.pid)

        def user(number: int) -> list[int]:
            with client(local_service) as mine:
                order = [(number + step) % len(WISHES) for step in range(ROUNDS * len(WISHES))]
                answers = []
                for index in order:
                    answers.append((index, mine.post("/imagine", json=WISHES[index])))
                    answered.release()
            assert all(answer.status_code == 200 for _, answer in answers), {a.status_code for _, a in answers}
            return [int(np.abs(pixels(answer.content) - references[index]).max()) for index, answer in answers]

        with ThreadPoolExecutor(USERS + 1) as pool:
            killing = pool.submit(kill_mid_way)
            worst = max(max(differences) for differences in pool.map(user, range(USERS)))
        killing.result()
        assert worst <= 1
        wait_for(lambda: idle(http), "nothing was in flight")


def test_five_hundred_hang_ups_leave_memory_flat(local_service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = WISHES[0] | {"num_inference_steps": 150, "img_size": 192}

    def hang_up(_: int) -> None:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/imagine", json=wish, timeout=httpx.Timeout(DEADLINE_S, read=0.2))

    with client(local_service) as http:
        wait_for(lambda: generators(local_service, monkeypatch), "a generator ran")
        (generator,) = generators(local_service, monkeypatch)
        process = psutil.Process(generator.pid)
        sizes = []
        for _ in range(3):
            with ThreadPoolExecutor(USERS) as pool:
                list(pool.map(hang_up, range(500 // 3)))
            wait_for(lambda: idle(http), "nothing was in flight")
            assert http.post("/imagine", json=WISHES[0], timeout=DEADLINE_S).status_code == 200
            sizes.append(process.memory_info().rss)
        assert sizes[-1] - sizes[0] < 64 * 1024 * 1024, sizes
