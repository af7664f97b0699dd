"""The judge, on drawn originals and on pictures that are wrong in one way."""

import numpy as np
import pytest

from serve_app.models.drawing import draw, place_objects
from serve_app.models.judge import Verdict, judge
from serve_app.models.scenes import Scene, Thing
from serve_app.models.train.sampling import random_scene

ASKED = Scene((Thing("red", "circle", "medium", "left"), Thing("blue", "star", "large", "right")), "yellow")


def judged(shown: Scene, asked: Scene, size: tuple[int, int] = (128, 128)) -> Verdict:
    return judge(draw(shown, place_objects(shown, np.random.default_rng(0)), size), asked)


@pytest.mark.parametrize(("size", "count"), [((128, 128), 40), ((192, 192), 8), ((192, 128), 8), ((128, 192), 8)])
def test_drawn_originals_are_right(size: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(size)
    wrong = []
    for i in range(count):
        scene = random_scene(rng, held_out=i % 3 == 0)
        verdict = judge(draw(scene, place_objects(scene, rng), size), scene)
        if not verdict.ok or not all(thing.size_ok for thing in verdict.objects):
            wrong.append((scene, verdict.reasons))
    assert wrong == []


def test_a_right_picture_has_no_reasons() -> None:
    verdict = judged(ASKED, ASKED)
    assert verdict.ok
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (Scene(ASKED.objects, "green"), "background is green instead of yellow"),
        (Scene(ASKED.objects[:1], "yellow"), "1 objects instead of 2"),
        (Scene((Thing("pink", "circle", "medium", "left"), ASKED.objects[1]), "yellow"), "the circle is pink"),
        (Scene((Thing("red", "heart", "medium", "left"), ASKED.objects[1]), "yellow"), "a heart (overlap"),
        (Scene((Thing("red", "circle", "medium", "top"), Thing("blue", "star", "large", "bottom")), "yellow"), "is at"),
    ],
)
def test_what_is_wrong_is_said(shown: Scene, reason: str) -> None:
    verdict = judged(shown, ASKED)
    assert not verdict.ok
    assert any(reason in said for said in verdict.reasons)


def test_a_wrong_size_is_told_apart() -> None:
    shown = Scene((Thing("red", "circle", "small"),), "white")
    asked = Scene((Thing("red", "circle", "large"),), "white")
    assert [thing.size_ok for thing in judged(shown, asked).objects] == [False]


def test_swapped_colours_are_wrong() -> None:
    first, second = ASKED.objects
    swapped = Scene((Thing("blue", "circle", first.size, "left"), Thing("red", "star", second.size, "right")), "yellow")
    assert len(judged(swapped, ASKED).reasons) == 2
