"""Prompt embeddings that are kept: bounded, by hash, and the same picture as without."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.config import BUILTIN, ServiceConfig
from serve_app.embeddings import EmbeddingCache, Row
from serve_app.jobs import ImageJob


class Encoder:
    """Rows of 100 bytes that tell their prompt; `asked` are the calls."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, prompts: list[str]) -> list[Row]:
        self.asked.append(prompts)
        return [(np.full((1, 100), len(prompt), np.uint8),) for prompt in prompts]


def lengths(rows: list[Row]) -> list[int]:
    return [int(row[0][0, 0]) for row in rows]


def test_each_prompt_is_encoded_once_and_rows_keep_their_order() -> None:
    cache, encode = EmbeddingCache(10_000), Encoder()
    rows, misses = cache.rows(["aa", "", "aa", "b"], encode)
    assert (lengths(rows), misses) == ([2, 0, 2, 1], 3)
    rows, misses = cache.rows(["b", "ccc", ""], encode)
    assert (lengths(rows), misses) == ([1, 3, 0], 1)
    assert encode.asked == [["aa", "", "b"], ["ccc"]]


def test_the_least_recently_used_go_first_within_the_bytes() -> None:
    cache, encode = EmbeddingCache(250), Encoder()
    cache.rows(["a"], encode)
    cache.rows(["bb"], encode)
    cache.rows(["a"], encode)
    cache.rows(["ccc"], encode)
    assert (len(cache), cache.bytes) == (2, 200)
    assert cache.rows(["a"], encode)[1] == 0
    assert cache.rows(["bb"], encode)[1] == 1


def test_a_batch_larger_than_the_cache_is_answered_whole() -> None:
    cache, encode = EmbeddingCache(150), Encoder()
    rows, misses = cache.rows(["a", "bb", "ccc"], encode)
    assert (lengths(rows), misses) == ([1, 2, 3], 3)
    assert cache.bytes <= 150


def test_no_text_is_kept() -> None:
    cache = EmbeddingCache(1000)
    cache.rows(["zyzzyva"], Encoder())
    assert "zyzzyva" not in repr(vars(cache))


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "flux", BUILTIN])
def test_pictures_are_the_same_with_and_without(name: str, tmp_path: Path) -> None:
    from serve_app import pipeline
    from tests.serve_app import tiny_models

    build: Callable[[Path], Path] | None = getattr(tiny_models, name, None)
    model = str(build(tmp_path)) if build else name
    loaded = [
        pipeline.load(ServiceConfig(model=model, auth="open", device="cpu", embedding_cache_mb=size))
        for size in (0, 64)
    ]
    without, cached = loaded
    seen: dict[str, float] = {}
    cached.observe = lambda what, value: seen.update({what: seen.get(what, 0) + value})
    side = without.profile.default_width if build is None else 64
    plain = ImageJob("a red circle", None, side, side, 2, 3.0, 1)
    batches = [
        [plain],
        [replace(plain, seed=2), replace(plain, prompt="a blue square")],
        [replace(plain, guidance=1.0)],
    ]
    if without.profile.takes_negative:
        batches.append([replace(plain, negative_prompt="a bird"), replace(plain, negative_prompt="a bird", seed=2)])
    for jobs in [*batches, *batches]:
        for one, two in zip(draw(without, jobs), draw(cached, jobs), strict=True):
            assert np.abs(one.astype(int) - two.astype(int)).max() <= 1
    assert seen["embedding_hits"] > seen["embedding_misses"] > 0
    assert seen["step_ms"] > 0


def draw(painter: Any, jobs: list[ImageJob]) -> list[Any]:
    return list(painter.draw(jobs, lambda: True))
