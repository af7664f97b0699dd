"""People who mean harm, each kind in threads of its own until told to stop, and good users who measure."""

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from serve_app.front import MAX_BODY_BYTES
from tests.local.keyed.conftest import GOOD_USERS, KeyedService, key_of

WISH = {"prompt": "a red circle on a white background", "num_inference_steps": 4}
SECRET = "quixotry"  # in the abusers' prompts, and in no log
SILENCE_S = 0.2


@dataclass
class Abuse:
    """One kind: what its threads do again and again, and what they were answered."""

    keyed: KeyedService
    ended: threading.Event = field(default_factory=threading.Event)
    answers: Counter[int] = field(default_factory=Counter)

    def post(self, http: httpx.Client, wish: Mapping[str, object], path: str = "/imagine") -> None:
        """One request whose answer counts whatever it is."""
        self.answers[http.post(path, json={**wish, "prompt": f"a {SECRET} {wish['prompt']}"}).status_code] += 1

    def connect(self, receive_bytes: int = 65536) -> socket.socket:
        """A bare connection."""
        address = urlsplit(self.keyed.url)
        bare = socket.socket()
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        bare.settimeout(60)
        bare.connect((address.hostname, address.port))
        return bare

    def request(self, body: bytes, length: int | None = None) -> bytes:
        """A request by the greedy one, as bytes."""
        path = f"{urlsplit(self.keyed.url).path}/imagine"
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {key_of('greedy')}\r\nContent-Length: {length or len(body)}\r\n\r\n"
        return head.encode() + body


def key_guessing(abuse: Abuse) -> None:
    """Requests with keys that are nobody's."""
    for number in itertools.count():
        if abuse.ended.is_set():
            return
        with abuse.keyed.client(f"guess-{number}") as http:
            abuse.post(http, WISH)


def one_greedy_key(abuse: Abuse) -> None:
    """Requests without a pause, all by one key."""
    with abuse.keyed.client(key_of("greedy")) as http:
        while not abuse.ended.is_set():
            abuse.post(http, WISH)


def hang_ups(abuse: Abuse) -> None:
    """Callers who go as soon as they have asked."""
    body = f'{{"prompt": "a {SECRET}", "num_inference_steps": 10}}'.encode()
    while not abuse.ended.wait(0.01):
        with abuse.connect() as bare:
            bare.sendall(abuse.request(body))
            abuse.answers[0] += 1


def slow_reads(abuse: Abuse) -> None:
    """Callers who send a byte at a time, or read one."""
    body = f'{{"prompt": "a {SECRET}", "num_inference_steps": 1}}'.encode()
    while not abuse.ended.is_set():
        with abuse.connect(receive_bytes=2048) as reader, abuse.connect() as sender, suppress(OSError):
            reader.sendall(abuse.request(body))
            sender.sendall(abuse.request(b"", length=MAX_BODY_BYTES))
            abuse.answers[0] += 1
            for _ in range(20):
                if abuse.ended.wait(SILENCE_S):
                    return
                reader.recv(1)
                sender.sendall(b" ")


def biggest_requests(abuse: Abuse) -> None:
    """The most work and the largest bodies that one request may bring."""
    most = {"prompt": "star", "size": "128x128", "num_inference_steps": 30, "n": 10}
    large = {"prompt": "star", "negative_prompt": "x" * (MAX_BODY_BYTES - 200)}
    with abuse.keyed.client(key_of("greedy")) as http:
        while not abuse.ended.is_set():
            abuse.post(http, most, "/v1/images/generations")
            abuse.post(http, large)


KINDS: dict[str, tuple[Callable[[Abuse], None], int]] = {
    "key guessing": (key_guessing, 4),
    "one greedy key": (one_greedy_key, 16),
    "hang-ups": (hang_ups, 4),
    "slow reads and sends": (slow_reads, 50),
    "biggest requests": (biggest_requests, 4),
}


@contextmanager
def abused(keyed: KeyedService, kind: str) -> Iterator[Abuse]:
    """That kind at work during the block, from its first answer on."""
    what, threads = KINDS[kind]
    abuse = Abuse(keyed)
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(what, abuse) for _ in range(threads)]
        try:
            yield abuse
        finally:
            abuse.ended.set()
        for each in running:
            each.result()


@dataclass(frozen=True)
class Measured:
    """What good users saw: statuses, and seconds of each request."""

    statuses: Counter[int]
    seconds: list[float]

    @property
    def p95(self) -> float:
        """Seconds within which 95 of 100 requests were answered."""
        return sorted(self.seconds)[int(0.95 * (len(self.seconds) - 1))]


def good_users(keyed: KeyedService, *, each: int = 0, for_s: float = 0.0, pause_s: float = 0.0) -> Measured:
    """Ten people with keys of their own: so many requests each, or for so long, with pauses."""
    end = time.monotonic() + for_s
    measured = Measured(Counter(), [])

    def person(tenant: str) -> None:
        with keyed.client(key_of(tenant)) as http:
            for number in itertools.count():
                if number >= each and time.monotonic() >= end:
                    return
                begin = time.monotonic()
                measured.statuses[http.post("/imagine", json=WISH).status_code] += 1
                measured.seconds.append(time.monotonic() - begin)
                time.sleep(pause_s)

    with ThreadPoolExecutor(len(GOOD_USERS)) as pool:
        list(pool.map(person, GOOD_USERS))
    return measured


def table(quiet: Measured, under: dict[str, Measured]) -> str:
    """Good users' success and p95, quiet and under each kind."""
    lines = ["| | good requests | of them answered with an image | p95 |", "|---|--:|--:|--:|"]
    for name, seen in {"quiet": quiet, **under}.items():
        total = seen.statuses.total()
        lines.append(f"| {name} | {total} | {100 * seen.statuses[200] / total:.1f} % | {seen.p95:.2f} s |")
    return "\n".join(lines)
