"""WebSocket frames and the port-forward channels in them, taken apart and put together without input or output.

A port-forward of one port has two channels: 0 carries the port's bytes, 1 carries text when the forward failed. The
first byte of a message names its channel, and the first two bytes on each channel repeat the port's number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from websocket import ABNF

SUBPROTOCOL = "v4.channel.k8s.io"
NORMAL_CLOSURE = 1000

_DATA_CHANNEL = b"\0"
_PORT_BYTES = 2
_MAX_ERROR_BYTES = 4096
_CONTROL = 0x8  # the bit that all control opcodes have
_LENGTH_BYTES = {126: 2, 127: 8}


class ProtocolError(Exception):
    """The peer sent something that no kubelet sends."""


def data_frame(payload: bytes) -> bytes:
    """The masked frame that carries bytes to the port."""
    return bytes(ABNF.create_frame(_DATA_CHANNEL + payload, ABNF.OPCODE_BINARY).format())


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A masked ping, pong or close frame."""
    return bytes(ABNF.create_frame(payload, opcode).format())


def close_frame() -> bytes:
    """The masked frame that ends a connection in order."""
    return control_frame(ABNF.OPCODE_CLOSE, NORMAL_CLOSURE.to_bytes(2, "big"))


@dataclass
class Received:
    """What one read brought: pieces of the port's bytes (views of the read's buffer) and pings to answer."""

    pieces: list[memoryview] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)


class Decoder:
    """Takes server-to-client frames apart as their bytes arrive; large frames are never gathered."""

    def __init__(self) -> None:
        self.close_code: int | None = None  # 0 for a close frame without a code
        self.error = bytearray()  # what the error channel said
        self._header = bytearray()
        self._left = 0  # payload bytes of the current frame that are still to come
        self._opcode = ABNF.OPCODE_CONT
        self._final = True
        self._in_message = False
        self._channel: int | None = None
        self._preamble: dict[int, int] = {}  # channel: bytes of its port number still to come
        self._control = bytearray()

    @property
    def clean(self) -> bool:
        """Whether the peer ended the connection in order, with nothing missing and no error told."""
        return self.close_code == NORMAL_CLOSURE and not self.error and not self._in_message

    def feed(self, view: memoryview) -> Received:
        """Read the next bytes of the stream; raises ProtocolError. Bytes after a close frame are ignored."""
        received = Received()
        position = 0
        while position < len(view) and self.close_code is None:
            if self._left == 0:
                position = self._read_header(view, position, received)
                continue
            piece = view[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            self._read_payload(piece, received)
        return received

    def _read_header(self, view: memoryview, position: int, received: Received) -> int:
        while (missing := _header_length(self._header) - len(self._header)) > 0:
            taken = view[position : position + missing]
            if not taken:
                return position
            self._header += taken
            position += len(taken)
        self._start_frame()
        if self._left == 0:
            self._end_frame(received)
        return position

    def _start_frame(self) -> None:
        first, second = self._header[0], self._header[1]
        if first & 0x70 or second & 0x80:
            raise ProtocolError("a frame with reserved bits or a mask")
        self._final, self._opcode = bool(first & 0x80), first & 0x0F
        self._left = int.from_bytes(self._header[2:], "big") if len(self._header) > 2 else second
        self._header.clear()
        if self._opcode & _CONTROL:
            if self._left > 125 or not self._final:
                raise ProtocolError("a control frame that is too long or in parts")
        elif (self._opcode == ABNF.OPCODE_CONT) != self._in_message:
            raise ProtocolError("a frame out of order")
        elif not self._in_message:
            self._in_message, self._channel = True, None

    def _read_payload(self, piece: memoryview, received: Received) -> None:
        if self._opcode & _CONTROL:
            self._control += piece
        else:
            received.pieces.extend(self._channel_bytes(piece))
        if self._left == 0:
            self._end_frame(received)

    def _channel_bytes(self, piece: memoryview) -> Iterator[memoryview]:
        if self._channel is None:
            self._channel, piece = piece[0], piece[1:]
            if self._channel > 1:
                raise ProtocolError(f"a frame on channel {self._channel}")
        preamble = self._preamble.get(self._channel, _PORT_BYTES)
        self._preamble[self._channel] = max(0, preamble - len(piece))
        piece = piece[preamble:]
        if self._channel == 1:
            self.error += piece[: _MAX_ERROR_BYTES - len(self.error)]
        elif piece:
            yield piece

    def _end_frame(self, received: Received) -> None:
        if self._opcode == ABNF.OPCODE_CLOSE:
            self.close_code = int.from_bytes(self._control[:2], "big")
        elif self._opcode == ABNF.OPCODE_PING:
            received.pings.append(bytes(self._control))
        elif not self._opcode & _CONTROL:
            self._in_message = not self._final
        if self._opcode & _CONTROL:
            self._control.clear()


def _header_length(header: bytearray) -> int:
    """How long a frame's header is, as far as what is there tells."""
    return 2 if len(header) < 2 else 2 + _LENGTH_BYTES.get(header[1] & 0x7F, 0)
