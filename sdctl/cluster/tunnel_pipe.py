"""One forwarded connection: bytes between a local TCP connection and a pod's port, held back on both sides.

At most one read's worth of bytes waits in each direction: while some do, the other side is not read. A connection
that does not end in order is reset for the local client, never closed: a body cut short must not look whole.
"""

import contextlib
import selectors
import socket
import ssl
import struct
from collections.abc import Callable

from websocket import ABNF

from sdctl.cluster.tunnel_frames import Decoder, ProtocolError, close_frame, control_frame, data_frame

READ_BYTES = 256 * 1024
PING_AFTER_S = 20.0
# A kubelet does not answer pings while the pod takes no bytes, so only a long silence means that nobody is there.
DEAD_AFTER_S = 120.0

_WAIT = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_RESET = struct.pack("ii", 1, 0)


class Pipe:
    """Moves bytes when its loop says that a socket can; both sockets are its own to close."""

    def __init__(self, local: socket.socket, remote: socket.socket, told: Callable[[str], None], now: float) -> None:
        """`remote` is a WebSocket's socket after the handshake; `told` hears once why the connection broke."""
        self.local, self.remote = local, remote
        self.descriptors = (local.fileno(), remote.fileno())
        self.closed = False
        self._told = told
        self._decoder = Decoder()
        self._to_local = bytearray()
        self._to_remote = bytearray()
        self._local_ended = False
        self._broken = ""  # why; set when the remote end is gone without having ended in order
        self._remote_ended = False
        self._heard = self._pinged = now
        local.setblocking(False)
        remote.setblocking(False)
        with contextlib.suppress(OSError):  # the client may have gone meanwhile
            local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def interest(self) -> tuple[int, int]:
        """The selector events that it waits for on (local, remote); 0 for none."""
        local = selectors.EVENT_WRITE if self._to_local else 0
        remote = selectors.EVENT_WRITE if self._to_remote else 0
        if not self._remote_ended:
            local |= 0 if self._to_remote or self._local_ended else selectors.EVENT_READ
            remote |= 0 if self._to_local else selectors.EVENT_READ
        return local, remote

    def on_local(self, events: int, buffer: memoryview) -> None:
        """The local socket can be read or written."""
        try:
            if events & selectors.EVENT_WRITE and self._to_local:
                self._flush_local()
            if events & selectors.EVENT_READ and not self._to_remote and not self.closed:
                self._read_local(buffer)
        except _WAIT:
            return
        except OSError:
            self.close(in_order=False)  # the client went away

    def on_remote(self, events: int, buffer: memoryview, now: float) -> None:
        """The WebSocket's socket can be read or written; `buffer` is scratch space, `now` in monotonic seconds."""
        try:
            if events & selectors.EVENT_WRITE and self._to_remote:
                self._flush_remote(now)
            if events & selectors.EVENT_READ and not self._to_local and not self.closed:
                self._read_remote(buffer, now)
        except _WAIT:
            return
        except (OSError, ProtocolError) as error:
            self._remote_lost(f"the tunnel broke: {error}")

    def tick(self, now: float) -> None:
        """Ping a silent peer; give up on one that has been silent for DEAD_AFTER_S."""
        if self._to_local or self._remote_ended:
            self._heard = now  # it is the local client who is slow
        elif now - self._heard > DEAD_AFTER_S:
            self._remote_lost(f"nothing came through the tunnel for {DEAD_AFTER_S:.0f} s")
        elif not self._to_remote and now - max(self._heard, self._pinged) > PING_AFTER_S:
            self._pinged = now
            self._to_remote += control_frame(ABNF.OPCODE_PING)

    def close(self, *, in_order: bool) -> None:
        """End both connections; the local one with a reset unless everything came in order."""
        if self.closed:
            return
        self.closed = True
        if not self._remote_ended and not self._to_remote:
            with contextlib.suppress(OSError):
                self.remote.send(close_frame())
        self.remote.close()
        if in_order:
            self.local.close()
        else:
            reset(self.local)

    def _read_local(self, buffer: memoryview) -> None:
        count = self.local.recv_into(buffer)
        if count:
            self._send_remote(data_frame(bytes(buffer[:count])))
            return
        # The protocol cannot say "half closed", and a client that gave up must end its request at the pod.
        self._local_ended = True
        if not self._to_remote:
            self.close(in_order=False)

    def _flush_remote(self, now: float) -> None:
        sent = self.remote.send(self._to_remote)
        del self._to_remote[:sent]
        self._heard = now
        if self._local_ended and not self._to_remote:
            self.close(in_order=False)

    def _send_remote(self, frame: bytes) -> None:
        self._to_remote += frame
        try:
            del self._to_remote[: self.remote.send(self._to_remote)]
        except _WAIT:
            return
        except OSError as error:
            self._remote_lost(f"the tunnel broke: {error}")

    def _read_remote(self, buffer: memoryview, now: float) -> None:
        count, ended = _fill(self.remote, buffer)
        self._heard = now
        received = self._decoder.feed(buffer[:count])
        if received.pieces:
            self._send_local(received.pieces)
        for ping in received.pings:
            self._to_remote += control_frame(ABNF.OPCODE_PONG, ping)
        if self._decoder.close_code is not None or self._decoder.error or ended:
            self._finish()

    def _send_local(self, pieces: list[memoryview]) -> None:
        data = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
        try:
            sent = self.local.send(data)
        except _WAIT:
            sent = 0
        except OSError:
            self.close(in_order=False)
            return
        self._to_local += data[sent:]

    def _finish(self) -> None:
        if self.closed:
            return
        if self._decoder.clean:
            self._remote_lost("")
        else:
            told = bytes(self._decoder.error).decode(errors="replace").strip()
            self._remote_lost(told or "the tunnel broke before the end")

    def _remote_lost(self, why: str) -> None:
        if self.closed or self._remote_ended:
            return
        self._remote_ended, self._broken = True, why
        self._to_remote.clear()
        if why:
            self._told(why)
        self._flush_local()

    def _flush_local(self) -> None:
        with contextlib.suppress(*_WAIT):
            if self._to_local:
                del self._to_local[: self.local.send(self._to_local)]
        if self._remote_ended and not self._to_local:
            self.close(in_order=not self._broken)


def reset(local: socket.socket) -> None:
    """End a connection so that its client sees an error and never takes it for an orderly end."""
    with contextlib.suppress(OSError):
        local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    local.close()


def _fill(remote: socket.socket, buffer: memoryview) -> tuple[int, bool]:
    """Read what is there, up to the buffer's size: TLS gives 16 kB at a time. Gives the count and whether it ended."""
    count = 0
    try:
        # A whole record fits into what is left, so none stays hidden inside the TLS object where no selector sees it.
        while len(buffer) - count >= 16 * 1024:
            got = remote.recv_into(buffer[count:])
            if not got:
                return count, True
            count += got
    except _WAIT:
        if count == 0:
            raise
    except OSError:
        return count, True
    return count, False
