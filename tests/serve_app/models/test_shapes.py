"""The shipped model: it loads plainly, draws what its prompts say, and stays within its limits."""

import json
from typing import Any

import numpy as np
import pytest

from serve_app.models.judge import judge
from serve_app.models.prompts import SHAPES_FOLDER, verified_prompts
from serve_app.models.shapes_language import KNOWN_WORDS, MAX_WORDS, WORD, parse

pytestmark = pytest.mark.torch
SERVICE = json.loads((SHAPES_FOLDER / "service.json").read_text())


@pytest.fixture(scope="module")
def pipeline(one_thread: None) -> Any:
    from diffusers import DiffusionPipeline

    loaded = DiffusionPipeline.from_pretrained(SHAPES_FOLDER)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def drawn(pipeline: Any, prompt: str, seed: int, size: tuple[int, int] | None = None) -> Any:
    import torch

    width, height = size or SERVICE["default_size"]
    return pipeline(
        prompt,
        width=width,
        height=height,
        num_inference_steps=SERVICE["default_steps"],
        guidance_scale=SERVICE["default_guidance"],
        generator=torch.Generator().manual_seed(seed),
    ).images[0]


def test_the_folder_loads_as_a_stable_diffusion_pipeline(pipeline: Any) -> None:
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    from diffusers import AutoPipelineForText2Image

    found = AutoPipelineForText2Image.from_pretrained(SHAPES_FOLDER)
    assert type(found).__name__ == "StableDiffusionPipeline"


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in SHAPES_FOLDER.rglob("*") if file.is_file()) <= 15_000_000


def test_the_tokenizer_knows_the_languages_words_and_no_others(pipeline: Any) -> None:
    tokenizer = pipeline.tokenizer
    assert set(tokenizer.get_vocab()) == {*KNOWN_WORDS, "<pad>", "<bos>", "<unk>", "<eos>"}
    assert tokenizer.model_max_length == MAX_WORDS + 2
    for prompt in ("Please draw a RED star, blue background!", "a red-ish ré star's don't_know 7"):
        assert len(tokenizer.tokenize(prompt)) == len(WORD.findall(prompt))


def test_the_same_seed_draws_the_same_picture_and_another_seed_another(pipeline: Any) -> None:
    first, again, other = (np.asarray(drawn(pipeline, "a red circle", seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_verified_prompts_are_drawn_right(pipeline: Any) -> None:
    verified = verified_prompts()
    assert len(verified) >= 30
    for pair in verified[:12]:
        verdict = judge(drawn(pipeline, pair.prompt, pair.seed), parse(pair.prompt).scene)
        assert verdict.ok, (pair, verdict.reasons)


@pytest.mark.parametrize("size", [tuple(size) for size in SERVICE["sizes"]])
def test_every_stated_size_is_drawn(pipeline: Any, size: tuple[int, int]) -> None:
    scene = parse("a large blue square on a yellow background").scene
    pictures = [drawn(pipeline, "a large blue square on a yellow background", seed, size) for seed in range(4)]
    assert all(picture.size == size for picture in pictures)
    assert sum(judge(picture, scene).ok for picture in pictures) >= 3
