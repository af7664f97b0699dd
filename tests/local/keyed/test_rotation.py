"""Key files that change under load: no valid key is ever refused, an old one is refused in the end."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.local.cli import wait_for
from tests.local.keyed.conftest import KeyedService, key_of

pytestmark = pytest.mark.ray

KEYS = (key_of("rotating"), "second-key", "third-key")
WISH = {"prompt": "a red circle", "num_inference_steps": 1}
CLIENTS = 4
MOST_IMAGES = 40  # of all clients: below the key's limit for a minute


@dataclass
class Clients:
    """Clients that ask without a pause, each with the key that is current when it begins a request."""

    keyed: KeyedService
    turn: int = 0  # which key new requests use
    used: list[int] = field(default_factory=lambda: [0] * CLIENTS)  # which one each client uses now
    statuses: Counter[int] = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """One client; every fourth of its requests is for an image, as long as those last."""
        images = MOST_IMAGES // CLIENTS
        for count in range(1_000_000):
            if self.ended.is_set():
                return
            self.used[number] = self.turn
            with self.keyed.client(KEYS[self.used[number]]) as http:
                draws = count % 4 == 0 and count // 4 < images
                answer = http.post("/imagine", json=WISH) if draws else http.get("/v1/models")
            self.statuses[answer.status_code] += 1

    def all_use(self, turn: int) -> bool:
        """Whether nobody has a request with an older key in flight."""
        return min(self.used) >= turn


def accepted(keyed: KeyedService, key: str) -> bool:
    with keyed.client(key) as http:
        return http.get("/v1/models").status_code == 200


def rotate(clients: Clients, turn: int) -> None:
    """As `sdctl keys rotate` does it: the new key beside the old one; everybody changes; the old one goes."""
    keyed, old, new = clients.keyed, KEYS[turn - 1], KEYS[turn]
    keyed.keys.set(rotating=f"{new}\n{old}\n")
    wait_for(partial(accepted, keyed, new), "the new key was accepted")
    clients.turn = turn
    wait_for(partial(clients.all_use, turn), "every client used the new key")
    keyed.keys.set(rotating=new)
    wait_for(lambda: not accepted(keyed, old), "the old key was refused")


def test_keys_are_rotated_under_load_without_a_failed_request(keyed: KeyedService) -> None:
    clients = Clients(keyed)
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(clients.run, number) for number in range(CLIENTS)]
        try:
            for turn in range(1, len(KEYS)):
                rotate(clients, turn)
        finally:
            clients.ended.set()
        for each in running:
            each.result()
    assert set(clients.statuses) == {200}, clients.statuses
    assert clients.statuses[200] > CLIENTS
