"""The tunnel between real sockets: bytes, ends, breaks, back-pressure."""

import contextlib
import hashlib
import queue
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sdctl.cluster.pods import PodPort
from sdctl.cluster.tunnel import Tunnel
from sdctl.cluster.tunnel_bind import bind, listener
from sdctl.cluster.tunnel_dial import Link
from sdctl.errors import InvalidRequest, NotAllowed, SdctlError, Unreachable
from sdctl.targets.forwarding import LOOPBACK, Listen
from tests.fakes.websocket_peer import BINARY, CLOSE, PING, PONG, Peer, frame

pytestmark = pytest.mark.wire

POD = PodPort("sd-head", 8000)


class Dialer:
    """Gives each connection a peer, which the test finds in `peers`; or the error that it was told to give."""

    def __init__(self) -> None:
        self.peers: queue.Queue[Peer] = queue.Queue()
        self.error: SdctlError | None = None
        self.told: queue.Queue[str] = queue.Queue()
        self._made: list[Peer] = []

    def connect(self, wanted: Callable[[], bool]) -> Link:
        if self.error is not None:
            raise self.error
        peer = Peer()
        self._made.append(peer)
        self.peers.put(peer)
        return Link(peer.link, POD)

    def lost(self, pod: PodPort, why: str) -> None:
        self.told.put(f"{pod}: {why}")

    def stop(self) -> None:
        for peer in self._made:
            peer.cut()


@pytest.fixture
def dialer() -> Dialer:
    return Dialer()


@pytest.fixture
def tunnel(dialer: Dialer) -> Iterator[Tunnel]:
    with Tunnel(dialer, bind(LOOPBACK, 0)) as running:
        yield running


def connect(tunnel: Tunnel) -> socket.socket:
    return socket.create_connection((tunnel.address, tunnel.port), timeout=60.0)


def connect_until_refused(tunnel: Tunnel) -> None:
    while True:
        with connect(tunnel):
            pass


def read_to_end(client: socket.socket) -> bytes:
    data = bytearray()
    while chunk := client.recv(1 << 20):
        data += chunk
    return bytes(data)


def test_2_mb_bodies_pass_whole_both_ways_on_16_connections(tunnel: Tunnel, dialer: Dialer) -> None:
    bodies = [random.Random(seed).randbytes(2_000_000) for seed in range(16)]

    def pod() -> None:
        peer = dialer.peers.get(timeout=60.0)
        body = peer.receive_data(2_000_000)
        for start in range(0, len(body), 32_000):
            peer.send(body[start : start + 32_000])
        peer.finish()

    def client(body: bytes) -> bytes:
        with connect(tunnel) as connection:
            connection.sendall(body)
            return hashlib.sha256(read_to_end(connection)).digest()

    with ThreadPoolExecutor(32) as pool:
        pods = [pool.submit(pod) for _ in bodies]
        echoed = list(pool.map(client, bodies))
        for each in pods:
            each.result()
    assert echoed == [hashlib.sha256(body).digest() for body in bodies]


def test_an_orderly_end_is_an_end(tunnel: Tunnel, dialer: Dialer) -> None:
    with connect(tunnel) as client:
        peer = dialer.peers.get(timeout=60.0)
        peer.send(b"all of it")
        peer.finish()
        assert read_to_end(client) == b"all of it"
    assert dialer.told.empty()


def cut_inside_a_frame(peer: Peer) -> None:
    peer.send_raw(frame(b"\0 of a longer frame")[:-4])
    peer.cut()


@pytest.mark.parametrize(
    "end",
    [
        Peer.cut,
        cut_inside_a_frame,
        lambda peer: peer.fail("error forwarding port 8000: connection refused"),
        lambda peer: peer.send_raw(frame(b"", opcode=CLOSE)),
        lambda peer: peer.send_raw(frame(b"\7no such channel")),
    ],
    ids=["cut", "cut inside a frame", "error text", "closed without a code", "nonsense"],
)
def test_a_broken_tunnel_is_an_error_and_never_an_end(
    tunnel: Tunnel, dialer: Dialer, end: Callable[[Peer], object]
) -> None:
    with connect(tunnel) as client:
        peer = dialer.peers.get(timeout=60.0)
        peer.send(b"a part")
        assert client.recv(100) == b"a part"
        end(peer)
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
    assert dialer.told.get(timeout=60.0).startswith("sd-head:8000: ")


def test_what_arrived_before_the_break_is_delivered(tunnel: Tunnel, dialer: Dialer) -> None:
    """More than sockets hold: the client reads only after the break."""
    with connect(tunnel) as client:
        peer = dialer.peers.get(timeout=60.0)
        client.sendall(b"go")
        peer.receive_data(2)

        def pod() -> None:
            for _ in range(300):
                peer.send(b"z" * 100_000)
            peer.cut()

        writer = threading.Thread(target=pod)
        writer.start()
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := client.recv(1 << 20):
                got += len(chunk)
            raise AssertionError("the break looked like an end")
        writer.join(60.0)
    assert got > 0


def test_a_client_that_gives_up_ends_its_request_at_the_pod(tunnel: Tunnel, dialer: Dialer) -> None:
    with connect(tunnel) as client:
        client.sendall(b"GET")
        peer = dialer.peers.get(timeout=60.0)
        assert peer.receive() == (BINARY, b"\0GET")
    assert peer.receive()[0] == CLOSE


def test_pings_are_answered(tunnel: Tunnel, dialer: Dialer) -> None:
    with connect(tunnel):
        peer = dialer.peers.get(timeout=60.0)
        peer.send_raw(frame(b"there?", opcode=PING))
        assert peer.receive() == (PONG, b"there?")


def test_a_connection_that_finds_no_pod_is_reset_and_the_next_one_may(tunnel: Tunnel, dialer: Dialer) -> None:
    dialer.error = Unreachable("No pod runs.")
    with pytest.raises(ConnectionResetError), connect(tunnel) as client:
        read_to_end(client)
    dialer.error = None
    with connect(tunnel) as client:
        peer = dialer.peers.get(timeout=60.0)
        peer.send(b"hello")
        peer.finish()
        assert read_to_end(client) == b"hello"


def test_a_refusal_stops_the_tunnel_and_says_why(tunnel: Tunnel, dialer: Dialer) -> None:
    dialer.error = NotAllowed("You may not get pods/portforward.")
    with pytest.raises(ConnectionResetError), connect(tunnel) as client:
        read_to_end(client)
    with pytest.raises(NotAllowed, match="portforward"):
        tunnel.check()
    with pytest.raises(ConnectionError):
        connect_until_refused(tunnel)


def test_leaving_resets_what_is_open_and_frees_the_port(dialer: Dialer) -> None:
    with Tunnel(dialer, bind(LOOPBACK, 0)) as tunnel:
        client = connect(tunnel)
        dialer.peers.get(timeout=60.0).send(b"x")
        assert client.recv(1) == b"x"
    with client, pytest.raises(ConnectionResetError):
        read_to_end(client)
    with bind(LOOPBACK, tunnel.port) as again:
        assert again.getsockname()[1] == tunnel.port


def test_a_port_in_use_is_named_with_its_holder_or_replaced_by_a_free_one() -> None:
    told: list[str] = []
    with bind(LOOPBACK, 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidRequest, match=f"Port {port} .* in use, by .*pid"):
            listener(Listen(port=port))
        with listener(Listen(port=port, or_free=True, notify=told.append)) as other:
            assert other.getsockname()[1] != port
    assert told[0].endswith("Taking a free one.")


def test_it_listens_on_loopback_and_takes_only_addresses(tunnel: Tunnel) -> None:
    assert tunnel.url == f"http://127.0.0.1:{tunnel.port}"
    with pytest.raises(InvalidRequest, match="no IP address"):
        bind("localhost", 0)
