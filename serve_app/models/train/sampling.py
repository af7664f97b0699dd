"""Random scenes to train on, none of them with a held-out combination."""

import numpy as np

from serve_app.models.scenes import (
    OPPOSITE,
    PALETTE,
    PLACES,
    SHAPES,
    Place,
    Scene,
    Size,
    Thing,
    is_held_out,
)

COLOURS = tuple(PALETTE)


def random_scene(rng: np.random.Generator, *, small: float = 0.25, held_out: bool = False) -> Scene:
    """A scene with one object (two in a third of them); `small` is the share of small objects.

    With `held_out` its first object is a combination that training never sees."""
    while True:
        background = str(rng.choice(COLOURS))
        if rng.random() < 0.25:
            background = "white"
        if not held_out and rng.random() < 0.015:
            return Scene((), background)
        scene = Scene(_objects(rng, small), background)
        unseen = [is_held_out(thing, background) for thing in scene.objects]
        if (unseen[0] if held_out else not any(unseen)) and _visible(scene):
            return scene


def _objects(rng: np.random.Generator, small: float) -> tuple[Thing, ...]:
    two = rng.random() < 0.4  # held-out combinations reject more of these: about a third is left
    first: Place = "centre"
    if two:
        first = "left" if rng.random() < 0.5 else _pick_place(rng)
    elif rng.random() < 0.45:
        first = _pick_place(rng)
    things = [_thing(rng, first, small)]
    if two:
        things.append(_thing(rng, OPPOSITE[first], small))
    return tuple(things)


def _thing(rng: np.random.Generator, place: Place, small: float) -> Thing:
    size: Size = "small" if rng.random() < small else ("large" if rng.random() < 0.3 else "medium")
    return Thing(str(rng.choice(COLOURS)), str(rng.choice(SHAPES)), size, place)


def _pick_place(rng: np.random.Generator) -> Place:
    return PLACES[int(rng.integers(len(PLACES)))]


def _visible(scene: Scene) -> bool:
    return all(thing.colour != scene.background for thing in scene.objects)
