"""A port of this machine whose connections end at pods, each through a WebSocket of its own."""

import selectors
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from types import TracebackType
from typing import Protocol, Self

from sdctl.cluster.pods import PodPort
from sdctl.cluster.tunnel_dial import FINAL, Link
from sdctl.cluster.tunnel_pipe import reset
from sdctl.cluster.tunnel_pump import Pump
from sdctl.errors import SdctlError


class Connects(Protocol):
    """What opens links: `tunnel_dial.Dialer`."""

    def connect(self, wanted: Callable[[], bool]) -> Link:
        """A link for one connection, while it is wanted."""

    def lost(self, pod: PodPort, why: str) -> None:
        """A connection broke."""

    def stop(self) -> None:
        """No more links are wanted."""


class Tunnel:
    """Serves a listening socket, which becomes its own, while its block runs."""

    def __init__(self, dialer: Connects, listener: socket.socket) -> None:
        self._dialer = dialer
        self._listener = listener
        self.address, self.port = self._listener.getsockname()[:2]
        self.failure: SdctlError | None = None
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()  # guards _closing
        self._closing = False
        self._pump = Pump(f"pump-{self.port}")
        self._thread = threading.Thread(target=self._accept_all, name=f"accept-{self.port}", daemon=True)

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

    def __enter__(self) -> Self:
        self._listener.setblocking(False)
        self._pump.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._thread.join()
        self._dialer.stop()
        self._pump.stop()
        self._wake.close()
        self._woken.close()

    def _close(self) -> None:
        with self._lock:
            if not self._closing:
                self._closing = True
                self._wake.send(b"\0")

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._closing:
                selector.select()
                self._accept()

    def _accept(self) -> None:
        try:
            local, _ = self._listener.accept()
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
            if isinstance(error, FINAL):  # told before the client can ask why
                self.failure = self.failure or error
                self._close()
            reset(local)
            return
        self._pump.add(local, link.socket, partial(self._dialer.lost, link.pod))


def _gone(local: socket.socket) -> bool:
    """Whether the client has closed its connection while it waited for its link."""
    try:
        return not local.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
