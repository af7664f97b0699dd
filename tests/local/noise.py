"""Bytes that are no good HTTP, the same for the same number; and connections that only stay."""

import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

GOOD = b'{"prompt": "a red circle", "num_inference_steps": 1}'
PATHS = (b"/imagine", b"/v1/images/generations", b"/healthz", b"/v1/models", b"/nothing", b"/imagine?prompt=%ff%00")
OTHER_PROTOCOLS = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"GET /imagine HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.0\r\n",
)
LENGTHS = (b"5", b"1000", b"-1", b"1e3", b"0x10", b"99999999999999999999", b"", b"52, 52", b"+52", b" 52 ")

Noise = Callable[[random.Random], bytes]


def request(headers: bytes = b"", body: bytes = GOOD, path: bytes = b"/imagine", length: bytes | None = None) -> bytes:
    """A request, good unless an argument makes it bad."""
    known = b"Content-Length: " + (str(len(body)).encode() if length is None else length) + b"\r\n"
    return (
        b"POST "
        + path
        + b" HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        + known
        + headers
        + b"\r\n"
        + body
    )


def garbage(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 4000))


def mutated(chance: random.Random) -> bytes:
    raw = bytearray(request(path=chance.choice(PATHS)))
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(raw))
        raw[place : place + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 4))
    return bytes(raw)


def truncated(chance: random.Random) -> bytes:
    raw = request(path=chance.choice(PATHS))
    return raw[: chance.randrange(1, len(raw))]


def wrong_length(chance: random.Random) -> bytes:
    twice = b"Content-Length: 7\r\n" if chance.random() < 0.3 else b""
    return request(twice, length=chance.choice(LENGTHS))


def bad_chunks(chance: random.Random) -> bytes:
    chunk = chance.choice(
        (b"zz\r\n", b"ffffffffffffffff\r\nx", b"5\r\nhello", b"-1\r\n", b"1;x=" + b"y" * 9000 + b"\r\na\r\n")
    )
    both = b"Content-Length: 4\r\n" if chance.random() < 0.3 else b""
    return b"POST /imagine HTTP/1.1\r\nHost: a\r\n" + both + b"Transfer-Encoding: chunked\r\n\r\n" + chunk


def huge_head(chance: random.Random) -> bytes:
    size = chance.choice((10_000, 70_000, 500_000))
    return chance.choice(
        (
            request(b"X-Long: " + b"x" * size + b"\r\n"),
            request(b"".join(b"X-%d: y\r\n" % number for number in range(size // 8))),
            request(path=b"/imagine?prompt=" + b"x" * size),
            request(b"Authorization: Bearer " + b"x" * size + b"\r\n"),
        )
    )


def other_protocol(chance: random.Random) -> bytes:
    return chance.choice(OTHER_PROTOCOLS)


def many_at_once(chance: random.Random) -> bytes:
    return request(path=b"/nothing") * chance.randint(2, 30) + truncated(chance)


KINDS: tuple[Noise, ...] = (
    *(garbage, mutated, mutated, truncated, wrong_length, bad_chunks, huge_head, other_protocol, many_at_once),
)


def address(url: str) -> tuple[str, int]:
    """Where a service listens."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def send(url: str, number: int) -> None:
    """Send the noise of that number and leave, politely or not."""
    chance = random.Random(number)
    with socket.create_connection(address(url), timeout=60) as connection, suppress(OSError):
        connection.sendall(chance.choice(KINDS)(chance))
        leaving = chance.choice(("close", "reset", "half", "wait"))
        if leaving == "half":
            connection.shutdown(socket.SHUT_WR)
        if leaving in ("half", "wait"):
            connection.settimeout(0.1)
            connection.recv(4096)
        if leaving == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def idle_connections(url: str, count: int) -> Iterator[None]:
    """So many connections that stay open: silent ones, ones with half a request, ones with half a body."""
    begun = (b"", b"POST /imagine HTTP/1.1\r\nHost: a\r\nX-Half", request(length=b"1000000"))
    with ExitStack() as stack:
        for number in range(count):
            connection = stack.enter_context(socket.create_connection(address(url), timeout=60))
            connection.sendall(begun[number % len(begun)])
        yield
