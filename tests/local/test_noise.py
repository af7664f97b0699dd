"""Noise at the socket of the real service: good requests are answered throughout, and no process dies."""

import resource
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.local import noise
from tests.local.cli import command_of, session, wait_for
from tests.local.conftest import LocalService

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

PARTS = (
    *("raylet/raylet", "ray::ServeController", "ray::ProxyActor"),
    *(f"ray::ServeReplica:stable-diffusion:{name}" for name in ("Ingress", "Generator")),
)
SENDERS = 4


@dataclass
class GoodUser:
    """Somebody who asks for pictures without a pause."""

    service: LocalService
    statuses: Counter[int] = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until told to stop; every request on a connection of its own."""
        while not self.ended.is_set():
            with self.service.new_client() as http:
                answer = http.post("/imagine", content=noise.GOOD, headers={"content-type": "application/json"})
            self.statuses[answer.status_code] += 1

    def see_some(self, count: int = 3) -> None:
        """Wait until so many more were answered."""
        before = self.statuses.total()
        wait_for(lambda: self.statuses.total() >= before + count, "good requests were answered")


@contextmanager
def good_user(service: LocalService) -> Iterator[GoodUser]:
    """One good user during the block, all of whose requests gave a picture; and who ran before still runs."""
    wait_for(lambda: all(len(pids) == 1 for pids in living(service)), "one process was there for each part")
    before = living(service)
    user = GoodUser(service)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(user.run)
        try:
            user.see_some()
            yield user
            user.see_some()
        finally:
            user.ended.set()
        running.result()
    assert set(user.statuses) == {200}, user.statuses
    with service.new_client() as http:
        wait_for(lambda: http.get("/healthz").json().get("in_flight") == 0, "nothing was in flight")
    assert living(service) == before


def living(service: LocalService) -> list[set[int]]:
    """The processes of each part of the service."""
    members = session(service.sdctl.record["leader"]["pid"])
    commands = {pid: command_of(process) for pid, process in members.items()}
    return [{pid for pid, command in commands.items() if part in command} for part in PARTS]


def make_noise(service: LocalService, count: int) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(partial(noise.send, service.url), range(count)))


def idle_limit(wanted: int) -> int:
    """As many connections as this process and the proxy, which has the same limit, can hold beside their files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, soft // 3)


def stay(service: LocalService, user: GoodUser, count: int) -> None:
    with noise.idle_connections(service.url, idle_limit(count)):
        user.see_some()


def test_noise_and_thousands_of_idle_connections_stop_nobody(local_service: LocalService) -> None:
    with good_user(local_service) as user:
        make_noise(local_service, 400)
        user.see_some()
        stay(local_service, user, 2000)


@pytest.mark.soak
def test_much_noise(local_service: LocalService) -> None:
    with good_user(local_service) as user:
        for _ in range(3):
            make_noise(local_service, 3000)
            stay(local_service, user, 5000)
