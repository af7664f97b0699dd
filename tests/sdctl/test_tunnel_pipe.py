"""One connection's rules: who is read when, and when silence means that nobody is there."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from sdctl.cluster.tunnel_pipe import DEAD_AFTER_S, PING_AFTER_S, READ_BYTES, Pipe
from tests.fakes.websocket_peer import PING, Peer, frame

pytestmark = pytest.mark.wire
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@dataclass
class Rig:
    """A pipe that no loop drives."""

    pipe: Pipe
    peer: Peer
    client: socket.socket
    told: list[str]
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(READ_BYTES)))

    def fill_local(self) -> int:
        """Send from the pod until the pipe holds some back; gives how much was sent."""
        sent = 0
        while self.pipe.interest()[0] & WRITE == 0:
            self.peer.send(b"d" * 30_000)
            sent += 30_000
            self.pipe.on_remote(READ, self.buffer, 0.0)
        return sent

    def fill_remote(self) -> int:
        """Send from the client until the pipe holds some back; gives how much was sent."""
        sent = 0
        while self.pipe.interest()[1] & WRITE == 0:
            sent += self.client.send(b"u" * 30_000)
            self.pipe.on_local(READ, self.buffer)
        return sent

    def drive(self, done: Callable[[], bool]) -> None:
        """Be the loop until something is so."""
        deadline = time.monotonic() + 60.0
        while not done():
            assert time.monotonic() < deadline
            sockets = dict(zip((self.pipe.local, self.pipe.remote), self.pipe.interest(), strict=True))
            with selectors.DefaultSelector() as selector:
                for each, events in sockets.items():
                    if events:
                        selector.register(each, events)
                for key, events in selector.select(0.01):
                    if key.fileobj is self.pipe.local:
                        self.pipe.on_local(events, self.buffer)
                    elif not self.pipe.closed:
                        self.pipe.on_remote(events, self.buffer, 0.0)


@pytest.fixture
def rig() -> Iterator[Rig]:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server, Peer() as peer:
        client = socket.create_connection(server.getsockname(), timeout=60.0)
        pipe = Pipe(server.accept()[0], peer.link, told.append, now=0.0)
        with client:
            yield Rig(pipe, peer, client, told)
        pipe.close(in_order=False)


def test_a_client_that_does_not_read_stops_the_reading_of_the_tunnel(rig: Rig) -> None:
    sent = rig.fill_local()
    assert rig.pipe.interest() == (READ | WRITE, 0)
    with ThreadPoolExecutor(1) as pool:
        rig.drive(pool.submit(receive, rig.client, sent).done)
    rig.drive(lambda: rig.pipe.interest() == (READ, READ))


def test_a_pod_that_does_not_read_stops_the_reading_of_the_client(rig: Rig) -> None:
    sent = rig.fill_remote()
    assert rig.pipe.interest() == (0, READ | WRITE)
    with ThreadPoolExecutor(1) as pool:
        rig.drive(pool.submit(rig.peer.receive_data, sent).done)
    rig.drive(lambda: rig.pipe.interest() == (READ, READ))


def test_a_silent_peer_is_pinged_and_then_given_up(rig: Rig) -> None:
    rig.pipe.tick(PING_AFTER_S - 1)
    assert rig.pipe.interest()[1] == READ
    rig.pipe.tick(PING_AFTER_S + 1)
    rig.pipe.on_remote(WRITE, rig.buffer, 0.0)
    assert rig.peer.receive() == (PING, b"")
    rig.pipe.tick(DEAD_AFTER_S + 1)
    assert rig.pipe.closed
    assert "nothing came through" in rig.told[0]
    with pytest.raises(ConnectionResetError):
        rig.client.recv(1)


def test_a_peer_that_answers_is_kept(rig: Rig) -> None:
    rig.peer.send_raw(frame(b"", opcode=0xA))
    rig.pipe.on_remote(READ, rig.buffer, 100.0)
    rig.pipe.tick(DEAD_AFTER_S + 1)
    assert not rig.pipe.closed


def test_a_slow_client_is_not_taken_for_a_silent_peer(rig: Rig) -> None:
    rig.fill_local()
    rig.pipe.tick(DEAD_AFTER_S * 10)
    assert not rig.pipe.closed
    assert rig.told == []


def test_what_the_client_sent_last_still_reaches_the_pod(rig: Rig) -> None:
    sent = rig.fill_remote()
    rig.client.shutdown(socket.SHUT_WR)
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(rig.peer.receive_data, sent)
        rig.drive(lambda: rig.pipe.closed)
        assert len(received.result()) == sent


def receive(client: socket.socket, size: int) -> None:
    got = 0
    while got < size:
        got += len(client.recv(1 << 20))
