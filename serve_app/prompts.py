"""Warnings about a prompt, from the model's tokenizer and, for the built-in model, its language."""

from collections.abc import Callable, Iterable
from typing import Any

from serve_app.schemas import PromptWarning

LONGEST_SANE = 100_000  # tokenizers without a limit report an astronomical one
MOST_SPANS = 50  # they travel in a response header

Span = tuple[int, int]


class PromptReader:
    """Knows how much of a prompt the model reads; holds its own tokenizer, as those are not thread-safe."""

    def __init__(self, tokenizer: Any, limit: int | None, unknown: Callable[[str], Iterable[Span]] | None) -> None:
        self._tokenizer = tokenizer
        self._limit = limit
        self._unknown = unknown

    def warnings(self, prompt: str) -> list[PromptWarning]:
        """What of the prompt is ignored, as character offsets into it."""
        found = []
        cut = self._cut(prompt)
        if cut is not None:
            message = f"The model reads the first {self._limit} tokens; the prompt is longer."
            found.append(PromptWarning(code="truncated", message=message, spans=[(cut, len(prompt))]))
        spans = [span for span in self._unknown(prompt) if cut is None or span[0] < cut] if self._unknown else []
        if spans:
            message = f"The model does not know {len(spans)} of the words."
            found.append(PromptWarning(code="unknown_words", message=message, spans=spans[:MOST_SPANS]))
        return found

    def _cut(self, prompt: str) -> int | None:
        """The first character that the model does not read."""
        if self._tokenizer is None or self._limit is None:
            return None
        encoded = self._tokenizer(prompt, truncation=False, return_offsets_mapping=self._tokenizer.is_fast)
        ids = encoded["input_ids"]
        if len(ids) <= self._limit:
            return None
        if not self._tokenizer.is_fast:
            return 0
        special = self._tokenizer.num_special_tokens_to_add()
        ends = [end for _, end in encoded["offset_mapping"] if end]
        kept = self._limit - special
        return int(ends[kept - 1]) if kept > 0 else 0


def widest(tokenizers: Iterable[Any]) -> tuple[Any, int | None]:
    """The tokenizer that reads the most, and how many tokens; a model with several reads with all of them."""
    best: tuple[Any, int | None] = (None, None)
    for tokenizer in tokenizers:
        limit = int(getattr(tokenizer, "model_max_length", 0) or 0)
        if 0 < limit < LONGEST_SANE and limit > (best[1] or 0):
            best = (tokenizer, limit)
    return best
