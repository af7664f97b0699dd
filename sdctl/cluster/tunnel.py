"""A port of this machine whose connections end at pods, each through a WebSocket of its own."""

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from types import TracebackType
from typing import Protocol

from sdctl.cluster.pods import PodPort
from sdctl.cluster.tunnel_dial import FINAL, Link
from sdctl.cluster.tunnel_pipe import READ_BYTES, Pipe, reset
from sdctl.errors import SdctlError

TICK_S = 5.0


class Connects(Protocol):
    """What opens links: `tunnel_dial.Dialer`."""

    def connect(self, wanted: Callable[[], bool]) -> Link: ...
    def lost(self, pod: PodPort, why: str) -> None: ...
    def stop(self) -> None: ...


class Tunnel:
    """Serves a listening socket, which becomes its own, while its block runs; the bytes move in one thread."""

    def __init__(self, dialer: Connects, listener: socket.socket) -> None:
        self._dialer = dialer
        self._listener = listener
        self.address, self.port = self._listener.getsockname()[:2]
        self.failure: SdctlError | None = None
        self._links: deque[tuple[socket.socket, Link]] = (
            deque()
        )  # from the threads that dial to the one that moves bytes
        self._wake, self._woken = socket.socketpair()
        self._stopping = False
        self._lock = threading.Lock()  # guards _stopping, _wake and what goes into _links
        self._selector = selectors.DefaultSelector()
        self._watched: dict[Pipe, dict[int, int]] = {}
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._thread = threading.Thread(target=self._run, name=f"tunnel-{self.port}", daemon=True)

    @property
    def url(self) -> str:
        """The base URL of what listens here."""
        address = ip_address(self.address)
        if address.is_unspecified:
            address = ip_address("127.0.0.1" if address.version == 4 else "::1")
        return f"http://{address}:{self.port}" if address.version == 4 else f"http://[{address}]:{self.port}"

    def check(self) -> None:
        """Raise what made forwarding impossible, if anything did."""
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> "Tunnel":
        for each in (self._wake, self._woken, self._listener):
            each.setblocking(False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopping = True
            self._rouse()
        self._dialer.stop()
        self._thread.join()

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            self._wake.send(b"\0")

    def _run(self) -> None:
        self._selector.register(self._woken, selectors.EVENT_READ, self._on_wake)
        self._selector.register(self._listener, selectors.EVENT_READ, self._on_accept)
        ticked = time.monotonic()
        while not self._stopping:
            for key, events in self._selector.select(TICK_S):
                key.data(events)
            if (now := time.monotonic()) - ticked > TICK_S:
                ticked = now
                self._tick(now)
        self._shut()

    def _tick(self, now: float) -> None:
        for pipe in list(self._watched):
            pipe.tick(now)
            self._watch(pipe)

    def _shut(self) -> None:
        for pipe in list(self._watched):
            pipe.close(in_order=False)
        while self._links:
            _discard(*self._links.popleft())
        self._selector.close()
        for each in (self._listener, self._wake, self._woken):
            each.close()

    def _on_wake(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._links:
            self._join(*self._links.popleft())
        if self.failure is not None and self._listener.fileno() != -1:
            self._selector.unregister(self._listener)
            self._listener.close()

    def _join(self, local: socket.socket, link: Link) -> None:
        try:
            pipe = Pipe(local, link.socket, partial(self._dialer.lost, link.pod), time.monotonic())
        except OSError:  # the client went away meanwhile
            _discard(local, link)
            return
        self._watched[pipe] = {}
        self._watch(pipe)

    def _on_accept(self, _: int) -> None:
        try:
            local, _address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # out of file descriptors: the connection waits in the backlog
            time.sleep(0.05)
            return
        local.setblocking(False)
        threading.Thread(target=self._connect, args=(local,), name=f"dial-{self.port}", daemon=True).start()

    def _connect(self, local: socket.socket) -> None:
        try:
            link = self._dialer.connect(lambda: not _gone(local))
        except SdctlError as error:
            reset(local)
            if isinstance(error, FINAL):
                self._fail(error)
            return
        with self._lock:
            if self._stopping:
                _discard(local, link)
                return
            self._links.append((local, link))
            self._rouse()

    def _fail(self, error: SdctlError) -> None:
        with self._lock:
            self.failure = self.failure or error
            if not self._stopping:
                self._rouse()

    def _watch(self, pipe: Pipe) -> None:
        """Tell the selector what the pipe waits for now; forget it once it is closed."""
        before = self._watched[pipe]
        after = {} if pipe.closed else dict(zip(pipe.descriptors, pipe.interest(), strict=True))
        for descriptor, events in {**dict.fromkeys(before, 0), **after}.items():
            if events == before.get(descriptor, 0):
                continue
            if not events:
                self._selector.unregister(descriptor)
            elif before.get(descriptor):
                self._selector.modify(descriptor, events, self._handler(pipe, descriptor))
            else:
                self._selector.register(descriptor, events, self._handler(pipe, descriptor))
        if pipe.closed:
            del self._watched[pipe]
        else:
            self._watched[pipe] = after

    def _handler(self, pipe: Pipe, descriptor: int) -> Callable[[int], None]:
        local = descriptor == pipe.descriptors[0]

        def handle(events: int) -> None:
            if pipe.closed:
                return
            if local:
                pipe.on_local(events, self._buffer)
            else:
                pipe.on_remote(events, self._buffer, time.monotonic())
            self._watch(pipe)

        return handle


def _gone(local: socket.socket) -> bool:
    """Whether the client has closed its connection while it waited for its link."""
    try:
        return not local.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _discard(local: socket.socket, link: Link) -> None:
    reset(local)
    link.socket.close()
