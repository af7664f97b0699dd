"""What a picture of the built-in model shows: colours, shapes, sizes and places, as plain data."""

import hashlib
from dataclasses import dataclass
from typing import Literal

Size = Literal["small", "medium", "large"]
Place = Literal["centre", "left", "right", "top", "bottom"]
Colour3 = tuple[int, int, int]

PALETTE: dict[str, Colour3] = {
    "red": (220, 30, 35),
    "green": (30, 155, 55),
    "blue": (30, 60, 215),
    "yellow": (255, 230, 50),
    "orange": (245, 130, 15),
    "purple": (120, 40, 170),
    "pink": (255, 150, 200),
    "cyan": (60, 215, 230),
    "brown": (125, 70, 30),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
    "gray": (130, 130, 130),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond")
SIZES: tuple[Size, ...] = ("small", "medium", "large")
PLACES: tuple[Place, ...] = ("left", "right", "top", "bottom")
OPPOSITE: dict[Place, Place] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    colour: str
    shape: str
    size: Size = "medium"
    place: Place = "centre"


@dataclass(frozen=True)
class Scene:
    """One picture: at most two objects, which then stand opposite each other."""

    objects: tuple[Thing, ...]
    background: str


def default_background(colours: frozenset[str]) -> str:
    """The background of a prompt that names none: the first of white, black, gray that no object has."""
    return next(colour for colour in ("white", "black", "gray") if colour not in colours)


def default_colour(background: str | None) -> str:
    """The colour of an object that has none in its prompt."""
    return "white" if background == "black" else "black"


def is_held_out(thing: Thing, background: str) -> bool:
    """Whether this colour × shape × background is kept from training; white backgrounds, the default, never are."""
    if background == "white":
        return False
    digest = hashlib.sha256(f"{thing.colour} {thing.shape} {background}".encode()).digest()
    return digest[0] % 3 == 0
