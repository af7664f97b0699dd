"""What the text encoders made of recent prompts, kept per prompt; pure of torch."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

Row = tuple[Any, ...]  # the tensors of one prompt, each with a first dimension of 1

Encode = Callable[[list[str]], list[Row]]


class EmbeddingCache:
    """The most recently used rows, within a number of bytes. It keeps a prompt's hash, never its text."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._rows: OrderedDict[bytes, Row] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, prompts: Sequence[str], encode: Encode) -> tuple[list[Row], int]:
        """A row per prompt, in order, and how many were not there and went through `encode`, all in one call."""
        keys = [hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest() for prompt in prompts]
        found = {key: self._rows[key] for key in keys if key in self._rows}
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in found}
        if missing:
            found |= zip(missing, encode(list(missing.values())), strict=True)
        for key in keys:
            self._keep(key, found[key])
        return [found[key] for key in keys], len(missing)

    def _keep(self, key: bytes, row: Row) -> None:
        if key not in self._rows:
            self.bytes += _bytes(row)
        self._rows[key] = row
        self._rows.move_to_end(key)
        while self.bytes > self._most_bytes:
            _, oldest = self._rows.popitem(last=False)
            self.bytes -= _bytes(oldest)


def _bytes(row: Row) -> int:
    return sum(int(tensor.nbytes) for tensor in row)
