"""Prompts and seeds that the built-in model is known to draw right at its default size, steps and guidance."""

import json
from dataclasses import dataclass
from pathlib import Path

SHAPES_FOLDER = Path(__file__).parent / "shapes"
VERIFIED_FILE = "verified_prompts.json"


@dataclass(frozen=True)
class SeededPrompt:
    """A prompt and the seed with which the bare pipeline's picture passed the judge."""

    prompt: str
    seed: int


def verified_prompts() -> tuple[SeededPrompt, ...]:
    """All verified pairs, in a fixed order."""
    return tuple(SeededPrompt(**pair) for pair in json.loads((SHAPES_FOLDER / VERIFIED_FILE).read_text()))
