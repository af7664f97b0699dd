"""A server whose latency is known: sleeps as told, answers a small PNG, and keeps its own record of each request."""

import argparse
import asyncio
import contextlib
import io
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image


def picture() -> bytes:
    """A small PNG of two colours."""
    image = Image.new("RGB", (128, 128), "blue")
    image.paste((255, 0, 0), (32, 32, 96, 96))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def latencies(text: str, seed: int) -> Callable[[], float]:
    """`0.02` is that many seconds always; `0.01:10` is log-uniform between the two."""
    low, colon, high = text.partition(":")
    if not colon:
        return lambda: float(low)
    source, a, b = random.Random(seed), math.log(float(low)), math.log(float(high))
    return lambda: math.exp(source.uniform(a, b))


class Stub:
    """The server; `measured` holds seconds from a request's last byte to its answer's last byte handed over."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._body = picture()
        self.measured: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                lengths = [line[15:] for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                started = time.perf_counter()
                if head.startswith(b"post"):
                    await asyncio.sleep(self._draw())
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nX-Replica: stub\r\nContent-Length: %d\r\n\r\n"
                    % len(self._body)
                    + self._body
                )
                await writer.drain()
                if head.startswith(b"post"):
                    self.measured.append(time.perf_counter() - started)
                if b" http/1.0\r\n" in head:  # ApacheBench waits for the end of the connection
                    break
        writer.close()


async def main(latency: str, record: Path, seed: int) -> None:
    """Serve on a free port, print it, and write the record when stdin closes."""
    stub = Stub(latencies(latency, seed))
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0, backlog=4096, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(input_closed)
    record.write_text(json.dumps(stub.measured), encoding="utf-8")


def input_closed() -> None:
    """Wait until whoever started us closes our stdin or dies."""
    with contextlib.suppress(EOFError):
        while True:
            input()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", default="0.02")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.latency, arguments.record, arguments.seed))
