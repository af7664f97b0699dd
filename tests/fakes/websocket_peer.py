"""The far end of a port-forward's WebSocket, frame by frame, as a kubelet would speak it."""

import socket
from typing import Self

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL = (1000).to_bytes(2, "big")


def frame(payload: bytes, *, opcode: int = BINARY, final: bool = True) -> bytes:
    """A server's frame: not masked."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([opcode | (0x80 if final else 0)]) + length + payload


def opening(port: int) -> bytes:
    """The first frame of each of the two channels: the port's number, little-endian."""
    number = port.to_bytes(2, "little")
    return frame(b"\0" + number) + frame(b"\1" + number)


class Peer:
    """One end of a socket pair; `link` is the other, as a handshake leaves it."""

    def __init__(self, port: int = 8000) -> None:
        self.link, self._socket = socket.socketpair()
        self._socket.settimeout(60.0)
        self._socket.sendall(opening(port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.link.close()

    def send(self, data: bytes) -> None:
        """Bytes from the pod."""
        self._socket.sendall(frame(b"\0" + data))

    def send_raw(self, data: bytes) -> None:
        """Bytes on the connection, as they are."""
        self._socket.sendall(data)

    def fail(self, message: str) -> None:
        """What a kubelet says when the pod's port does not answer, and its orderly close."""
        self._socket.sendall(frame(b"\1" + message.encode()) + frame(NORMAL, opcode=CLOSE))

    def finish(self) -> None:
        """The pod has closed its connection."""
        self._socket.sendall(frame(NORMAL, opcode=CLOSE))

    def cut(self) -> None:
        """The connection is gone, with no word."""
        self._socket.close()

    def receive(self) -> tuple[int, bytes]:
        """The client's next frame, unmasked, as (opcode, payload); (CLOSE, b"") once it has hung up."""
        head = self._exactly(2)
        if not head:
            return CLOSE, b""
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        key = self._exactly(4)
        masked = self._exactly(size)
        mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
        return head[0] & 0x0F, (int.from_bytes(masked, "big") ^ mask).to_bytes(size, "big")

    def receive_data(self, size: int) -> bytes:
        """The next `size` bytes for the pod."""
        data = b""
        while len(data) < size:
            opcode, payload = self.receive()
            assert opcode == BINARY
            assert payload[0] == 0
            data += payload[1:]
        return data

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                return b""
            data += chunk
        return data
