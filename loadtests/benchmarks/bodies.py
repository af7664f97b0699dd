"""Both ends of the forwarding benchmark: an HTTP server of 2 MB bodies, and a reader of them on many connections.

`python -m loadtests.benchmarks.bodies serve` prints its port; `… bodies read PORT CONNECTIONS BODIES` prints MB/s.
"""

import asyncio
import selectors
import socket
import sys
import time

BODY = bytes(range(256)) * (2_000_000 // 256)
BUFFER = bytearray(1 << 20)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection: the large body at /big, a small one elsewhere."""
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            body = BODY if request.startswith(b"GET /big") else b"ok"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    """Serve on a free port until the process is ended."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Reader:
    """One connection, open to its far end, that asks for its bodies one after the other."""

    def __init__(self, port: int, bodies: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b"GET /small HTTP/1.1\r\nHost: pod\r\n\r\n")
        self.bodies = bodies

    def wait_open(self) -> None:
        """Take the small answer."""
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            answer += self.socket.recv(1000)

    def ask(self) -> None:
        """Send the next request."""
        self.bodies -= 1
        self._head, self._left = b"", -1
        self.socket.sendall(b"GET /big HTTP/1.1\r\nHost: pod\r\n\r\n")

    def read(self) -> bool:
        """Take what is there; gives whether this was the end of the last body."""
        count = self.socket.recv_into(BUFFER)
        if not count:
            raise ConnectionError("a body was cut short")
        if self._left < 0:
            self._head += BUFFER[:count]
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return False
            self._left, count = int(head.lower().rpartition(b"content-length:")[2].split()[0]), len(body)
        self._left -= count
        if self._left or not self.bodies:
            return not self._left
        self.ask()
        return False


def read(port: int, connections: int, bodies: int) -> float:
    """MB/s of `bodies` bodies read on `connections` connections."""
    with selectors.DefaultSelector() as selector:
        readers = [Reader(port, bodies // connections) for _ in range(connections)]
        for reader in readers:
            reader.wait_open()
        start = time.perf_counter()
        for reader in readers:
            reader.ask()
            selector.register(reader.socket, selectors.EVENT_READ, reader)
        while selector.get_map():
            for key, _ in selector.select():
                if key.data.read():
                    selector.unregister(key.data.socket)
                    key.data.socket.close()
        return bodies * len(BODY) / 1e6 / (time.perf_counter() - start)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        print(read(*map(int, sys.argv[2:5])))
