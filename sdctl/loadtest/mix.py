"""The prompts of a run, with their sizes, steps and seeds; repeatable by the run's seed."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdctl.errors import InvalidRequest, NotFound
from sdctl.loadtest.child import locustfile
from sdctl.options import size


def prompts(file: str, *, sizes: Sequence[str], steps: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Prompts from a file (one a line), else the built-in ones; every size with every number of steps.

    The built-in ones carry the fingerprint of the picture that `builtin:shapes` draws for them at its defaults, so they
    keep it only where neither size nor steps are asked for.
    """
    shapes = [size(text) for text in sizes]
    variants = [{**wide, **many} for wide in _wide(shapes) for many in _many(steps)]
    base = _from_file(file, seed) if file else _builtin()
    if variants == [{}]:
        return base
    return [
        {
            **prompt,
            "id": f"{prompt['id']}/{number}",
            "fields": {**prompt["fields"], **variant},
            "reference": "",
        }
        for prompt in base
        for number, variant in enumerate(variants)
    ]


def _wide(shapes: Sequence[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"width": width, "height": height} for width, height in shapes] or [{}]


def _many(steps: Sequence[int]) -> list[dict[str, int]]:
    return [{"num_inference_steps": count} for count in steps] or [{}]


def _from_file(file: str, seed: int) -> list[dict[str, Any]]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"The prompts {file} cannot be read: {error}.", hint="Give one prompt a line.") from None
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise InvalidRequest(f"{file} has no prompts.", hint="Write one prompt a line.")
    source = random.Random(seed)  # noqa: S311 - repeatable load, not secrets
    return [
        {"id": f"file-{number}", "text": text, "fields": {"seed": source.getrandbits(32)}}
        for number, text in enumerate(texts)
    ]


def _builtin() -> list[dict[str, Any]]:
    document = json.loads((locustfile().parent / "references.json").read_text(encoding="utf-8"))
    return [
        {
            "id": entry["id"],
            "text": entry["prompt"],
            "fields": {"seed": entry["seed"]},
            "reference": entry["fingerprint"],
        }
        for entry in document["pictures"]
    ]
