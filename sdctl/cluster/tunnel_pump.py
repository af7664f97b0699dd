"""A thread that moves the bytes of many connections."""

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from sdctl.cluster.tunnel_pipe import READ_BYTES, Pipe, reset

TICK_S = 5.0


class Pump:
    """Drives pipes while its block runs; connections that are open at its end are reset."""

    def __init__(self, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: dict[Pipe, dict[int, int]] = {}  # the events that the selector knows of, by descriptor
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()  # guards _stopping and _new
        self._stopping = False
        self._new: deque[Callable[[], Pipe]] = deque()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        for each in (self._wake, self._woken):
            each.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._on_wake)
        self._thread.start()

    def stop(self) -> None:
        """End all connections and wait until that is done."""
        with self._lock:
            self._stopping = True
            self._rouse()
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def add(self, local: socket.socket, remote: socket.socket, told: Callable[[str], None]) -> None:
        """Serve one more connection, from any thread; it is closed at once when the pump has stopped."""

        def join() -> Pipe:
            return Pipe(local, remote, told, time.monotonic())

        with self._lock:
            if not self._stopping:
                self._new.append(join)
                self._rouse()
                return
        reset(local)
        remote.close()

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            self._wake.send(b"\0")

    def _run(self) -> None:
        ticked = time.monotonic()
        while not self._stopping:
            for key, events in self._selector.select(TICK_S):
                key.data(events)
            if (now := time.monotonic()) - ticked > TICK_S:
                ticked = now
                self._tick(now)
        self._on_wake(0)
        for pipe in self._watched:
            pipe.close(in_order=False)
        self._selector.close()

    def _on_wake(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._new:
            pipe = self._new.popleft()()
            self._watched[pipe] = {}
            self._watch(pipe)

    def _tick(self, now: float) -> None:
        for pipe in list(self._watched):
            pipe.tick(now)
            self._watch(pipe)

    def _watch(self, pipe: Pipe) -> None:
        """Tell the selector what the pipe waits for now; forget it once it is closed."""
        before = self._watched[pipe]
        after = {} if pipe.closed else dict(zip(pipe.descriptors, pipe.interest(), strict=True))
        if after == before:
            return
        for descriptor, events in {**dict.fromkeys(before, 0), **after}.items():
            known = before.get(descriptor, 0)
            if events and known:
                self._selector.modify(descriptor, events, self._handler(pipe, descriptor))
            elif events:
                self._selector.register(descriptor, events, self._handler(pipe, descriptor))
            elif known:
                self._selector.unregister(descriptor)
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
