"""What prompts ask for, and which of their words are reported as not followed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.models.scenes import PALETTE, SHAPES, Scene, Thing, is_held_out
from serve_app.models.shapes_language import MAX_WORDS, parse
from serve_app.models.train.sampling import random_scene
from serve_app.models.train.wording import Wording, plain_wording

RED_STAR_ON_BLUE = Scene((Thing("red", "star", "large"),), "blue")


def words_not_followed(prompt: str) -> list[str]:
    return [prompt[start:end] for start, end in parse(prompt).unknown]


@pytest.mark.parametrize(
    "prompt",
    [
        "a large red star on a blue background",
        "please draw me a big red star, blue background",
        "Blue background, HUGE red star!",
        "star red large on blue",
        "a big star in scarlet against a blue backdrop",
        "on a blue canvas, a star that is big and red",
    ],
)
def test_word_order_and_fillers_do_not_matter(prompt: str) -> None:
    reading = parse(prompt)
    if prompt.endswith("big and red"):
        assert words_not_followed(prompt) == ["red"]
        return
    assert reading.scene == RED_STAR_ON_BLUE
    assert reading.unknown == ()


@pytest.mark.parametrize(
    ("prompt", "places"),
    [
        ("a red circle and a blue star", ["left", "right"]),
        ("a red circle and a blue star on the left", ["right", "left"]),
        ("a red circle on the right and a blue star", ["right", "left"]),
        ("on the left a red circle, on the right a blue star", ["left", "right"]),
        ("a red circle above a blue star", ["top", "bottom"]),
        ("a red circle at the bottom and a blue star at the top", ["bottom", "top"]),
    ],
)
def test_two_objects_stand_opposite_each_other(prompt: str, places: list[str]) -> None:
    reading = parse(prompt)
    assert [(thing.colour, thing.shape) for thing in reading.scene.objects] == [("red", "circle"), ("blue", "star")]
    assert [thing.place for thing in reading.scene.objects] == places
    assert reading.unknown == ()


@pytest.mark.parametrize(
    ("prompt", "background"),
    [("a red circle", "white"), ("a white circle", "black"), ("a white circle and a black star", "gray")],
)
def test_a_background_that_is_not_named_differs_from_the_objects(prompt: str, background: str) -> None:
    assert parse(prompt).scene.background == background


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a golden retriever in a box", ["retriever"]),
        ("two red circles", ["two", "red", "circles"]),
        ("a red star, a blue ring and a green cross", ["green", "cross"]),
        ("a red star at the top, on the left", ["left"]),
        ("a red circle on the left and a blue star on the left", ["left"]),
        ("a ré́d star without background", ["ré", "d", "without", "background"]),
        ("", []),
        ("!!! ...", []),
    ],
)
def test_words_that_the_picture_does_not_follow_are_reported(prompt: str, words: list[str]) -> None:
    assert words_not_followed(prompt) == words


def test_words_past_the_models_limit_are_reported() -> None:
    prompt = "please " * MAX_WORDS + "red circle"
    assert words_not_followed(prompt) == ["red", "circle"]
    assert parse(prompt).scene.objects == ()


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_every_wording_of_a_scene_reads_back_as_that_scene(seed: int, unseen: bool) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, held_out=unseen)
    assert parse(Wording(rng).prompt(scene)).scene == scene
    assert parse(plain_wording(scene)).scene == scene
    assert parse(plain_wording(scene)).unknown == ()


@given(st.text(max_size=300))
def test_any_text_can_be_read_and_offsets_lie_within_it(prompt: str) -> None:
    reading = parse(prompt)
    assert len(reading.scene.objects) <= 2
    assert all(0 <= start < end <= len(prompt) for start, end in reading.unknown)


def test_about_a_third_of_the_combinations_is_held_out_and_never_drawn_for_training() -> None:
    combinations = [
        (Thing(colour, shape), ground)
        for colour in PALETTE
        for shape in SHAPES
        for ground in PALETTE
        if colour != ground
    ]
    held_out = sum(is_held_out(thing, ground) for thing, ground in combinations)
    assert 0.25 < held_out / len(combinations) < 0.37
    rng = np.random.default_rng(3)
    scenes = [random_scene(rng) for _ in range(500)]
    assert not any(is_held_out(thing, scene.background) for scene in scenes for thing in scene.objects)
    unseen = [random_scene(rng, held_out=True) for _ in range(100)]
    assert all(is_held_out(scene.objects[0], scene.background) for scene in unseen)
