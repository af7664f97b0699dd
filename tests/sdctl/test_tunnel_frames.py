"""Frames and channels, whatever pieces they arrive in."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdctl.cluster.tunnel_frames import Decoder, ProtocolError, close_frame, data_frame
from tests.fakes.websocket_peer import CLOSE, NORMAL, PING, frame, opening

# A busy machine must not make a failure of it: no deadline, no health check on speed, always the same examples.
quiet = settings(derandomize=True, deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
messages = st.lists(st.binary(min_size=1, max_size=400) | st.just(b"x" * 70_000), max_size=5)


def read(stream: bytes, cuts: list[int]) -> tuple[Decoder, bytes, list[bytes]]:
    """Feed a stream cut at some places; gives the decoder, the port's bytes and the pings."""
    decoder, data, pings = Decoder(), b"", []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        received = decoder.feed(memoryview(stream[start:end]))
        data += b"".join(received.pieces)
        pings += received.pings
    return decoder, data, pings


@quiet
@given(messages, st.lists(st.integers(0, 2**20), max_size=30))
def test_bytes_arrive_whole_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = opening(8000) + b"".join(frame(b"\0" + body) for body in bodies) + frame(b"beat", opcode=PING)
    decoder, data, pings = read(stream + frame(NORMAL, opcode=CLOSE), cuts)
    assert data == b"".join(bodies)
    assert pings == [b"beat"]
    assert decoder.clean


@quiet
@given(st.integers(0, 2**20))
def test_a_stream_that_stops_anywhere_is_not_clean(cut: int) -> None:
    stream = opening(8000) + frame(b"\0" + b"y" * 300) + frame(NORMAL, opcode=CLOSE)
    decoder, _, _ = read(stream[: cut % len(stream)], [])
    assert not decoder.clean


def test_a_message_in_several_frames_keeps_its_channel() -> None:
    parts = [frame(b"\0on", final=False), frame(b"e", opcode=0, final=False), frame(b"", opcode=PING)]
    decoder, data, pings = read(opening(1) + b"".join(parts) + frame(b" two", opcode=0), [])
    assert (data, pings) == (b"one two", [b""])
    assert decoder.close_code is None


def test_the_error_channel_is_text_and_makes_an_orderly_end_a_failure() -> None:
    stream = opening(8000) + frame(b"\1connection refused") + frame(NORMAL, opcode=CLOSE)
    decoder, data, _ = read(stream, [7, 9, 30])
    assert bytes(decoder.error) == b"connection refused"
    assert data == b""
    assert not decoder.clean


@pytest.mark.parametrize("code", [b"", (1001).to_bytes(2, "big"), (1011).to_bytes(2, "big")])
def test_only_a_normal_closure_is_clean(code: bytes) -> None:
    decoder, _, _ = read(opening(8000) + frame(code, opcode=CLOSE), [])
    assert decoder.close_code is not None
    assert not decoder.clean


@pytest.mark.parametrize(
    "stream",
    [
        frame(b"\2channel of a second port"),
        frame(b"no start", opcode=0),
        frame(b"\0a", final=False) + frame(b"\0b"),
        frame(b"p", opcode=PING, final=False),
        frame(b"p" * 126, opcode=PING),
        b"\x82\x81mask!",
        b"\xc2\x01\x00",
    ],
)
def test_what_no_kubelet_sends_is_refused(stream: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(stream, [])


def test_what_goes_out_is_masked_and_names_the_channel() -> None:
    sent = data_frame(b"hello")
    key, masked = sent[2:6], sent[6:]
    assert sent[:2] == bytes([0x82, 0x80 | 6])
    assert bytes(byte ^ key[index % 4] for index, byte in enumerate(masked)) == b"\0hello"
    assert close_frame()[0] == 0x88
