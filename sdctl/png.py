"""Text in PNG files, chunk by chunk (W3C PNG, 11.3.3): the pixels' bytes stay as they are."""

import struct
import zlib
from collections.abc import Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 2**20  # of one unpacked text: a receipt has a few thousand


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG does."""
    return data.startswith(SIGNATURE)


def is_whole(data: bytes) -> bool:
    """Whether a PNG has its last chunk: decoders forgive a missing one."""
    return any(kind == b"IEND" for kind, _, _ in _chunks(data))


def text(data: bytes) -> dict[str, str]:
    """The texts in a PNG by keyword; damaged chunks are passed over."""
    found: dict[str, str] = {}
    for kind, content, _ in _chunks(data):
        try:
            keyword, value = _READERS[kind](content)
        except (KeyError, ValueError, zlib.error, IndexError):
            continue
        found.setdefault(keyword, value)
    return found


def with_text(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The PNG with these texts behind its header; texts that it had under the same keywords go away."""
    parts: list[bytes] = [SIGNATURE]
    rest: list[bytes] = []
    for kind, content, raw in _chunks(data):
        if kind in _READERS and content.partition(b"\0")[0].decode("latin-1") in texts:
            continue
        (parts if kind == b"IHDR" else rest).append(raw)
    return b"".join([*parts, *(_text_chunk(keyword, value) for keyword, value in texts.items()), *rest])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Each chunk's type, content and raw bytes; stops where the file is cut."""
    place = len(SIGNATURE)
    while is_png(data) and place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        if end > len(data):
            return
        yield data[place + 4 : place + 8], data[place + 8 : end - 4], data[place:end]
        place = end


def _text_chunk(keyword: str, value: str) -> bytes:
    try:
        kind, content = b"tEXt", keyword.encode("latin-1") + b"\0" + value.encode("latin-1")
    except UnicodeEncodeError:
        kind, content = b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + value.encode()
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _latin(content: bytes) -> tuple[str, str]:
    keyword, value = content.split(b"\0", 1)
    return keyword.decode("latin-1"), value.decode("latin-1")


def _packed(content: bytes) -> tuple[str, str]:
    keyword, value = content.split(b"\0", 1)
    return keyword.decode("latin-1"), _unpack(value[1:]).decode("latin-1")


def _international(content: bytes) -> tuple[str, str]:
    keyword, rest = content.split(b"\0", 1)
    packed, (_, _, value) = rest[0], rest[2:].split(b"\0", 2)
    return keyword.decode("latin-1"), (_unpack(value) if packed else value).decode()


def _unpack(value: bytes) -> bytes:
    return zlib.decompressobj().decompress(value, MAX_TEXT_BYTES)


_READERS = {b"tEXt": _latin, b"zTXt": _packed, b"iTXt": _international}
