"""Twenty people who ask for pictures until told to stop, and compare each with its reference."""

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.local.cli import DEADLINE_S, wait_for

USERS = 20
SEED, STEPS = 5, 2
PAUSE_S = 0.2  # after an answer without a picture
WISHES: list[dict[str, Any]] = [
    {"prompt": f"a {colour} {shape} on a white background", "seed": SEED, "num_inference_steps": STEPS}
    for colour in ("red", "green", "blue", "black")
    for shape in ("circle", "square", "star")
]

NewClient = Callable[[], httpx.Client]


def pixels(data: bytes) -> Any:
    """An encoded picture as whole numbers."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def alike(data: bytes, reference: Any) -> bool:
    """Whether an encoded picture is the reference, within one grey level."""
    drawn = pixels(data)
    return bool(drawn.shape == reference.shape and np.abs(drawn - reference).max() <= 1)


def outcome(client: httpx.Client, wish: dict[str, Any], reference: Any) -> str:
    """What became of one request: `ok`, `wrong`, the status of an error, or `lost` with its connection."""
    try:
        answer = client.post("/imagine", json=wish)
    except httpx.TransportError:
        return "lost"
    if answer.status_code != 200:
        return str(answer.status_code)
    return "ok" if alike(answer.content, reference) else "wrong"


@dataclass
class Crowd:
    """What became of all requests so far."""

    new_client: NewClient
    references: Sequence[Any]
    outcomes: Counter[str] = field(default_factory=Counter)
    pictures: list[int] = field(default_factory=lambda: [0] * USERS)  # right ones, of each user
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def somebody_is_served(self) -> None:
        """Wait for one more picture."""
        before = sum(self.pictures)
        wait_for(lambda: sum(self.pictures) > before, f"somebody had a picture ({self.outcomes})")

    def everyone_is_served(self) -> None:
        """Wait until each user has had one more picture: what was in flight before is over."""
        before = list(self.pictures)
        wait_for(
            lambda: all(now > then for now, then in zip(self.pictures, before, strict=True)),
            f"everyone had a picture again ({self.outcomes})",
        )

    def be_user(self, number: int) -> None:
        """One user's life; nothing is tried twice."""
        with self.new_client() as client:
            while not self.ended.is_set():
                index = (number + self.pictures[number]) % len(WISHES)
                became = outcome(client, WISHES[index], self.references[index])
                with self._lock:
                    self.outcomes[became] += 1
                self.pictures[number] += became == "ok"
                if became != "ok":
                    self.ended.wait(PAUSE_S)


def references(client: httpx.Client) -> list[Any]:
    """Each wish's picture, drawn alone."""
    return [pixels(client.post("/imagine", json=wish).raise_for_status().content) for wish in WISHES]


@contextmanager
def twenty(new_client: NewClient, alone: Sequence[Any]) -> Iterator[Crowd]:
    """The crowd, at work inside the block; afterwards its outcomes are complete."""
    crowd = Crowd(new_client, alone)
    with ThreadPoolExecutor(USERS) as pool:
        users = [pool.submit(crowd.be_user, number) for number in range(USERS)]
        try:
            crowd.everyone_is_served()
            yield crowd
        finally:
            crowd.ended.set()
        for user in users:
            user.result(DEADLINE_S)
