"""Draws a scene: the pictures that the built-in model learns from, and the templates that its judge compares with."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from serve_app.models.scenes import PALETTE, Place, Scene, Size, Thing

OVERSAMPLING = 4
# Diameters in parts of the picture's shorter side.
DIAMETER_ALONE: dict[Size, float] = {"small": 0.28, "medium": 0.38, "large": 0.46}
DIAMETER_OF_TWO: dict[Size, float] = {"small": 0.26, "medium": 0.34, "large": 0.42}
# Centres in parts of width and height.
CENTRES: dict[Place, tuple[float, float]] = {
    "centre": (0.5, 0.5),
    "left": (0.26, 0.5),
    "right": (0.74, 0.5),
    "top": (0.5, 0.26),
    "bottom": (0.5, 0.74),
}
JITTER = 0.02
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Spot:
    """Where an object is drawn: centre in parts of width and height, diameter in parts of the shorter side."""

    x: float
    y: float
    diameter: float


def _star() -> Points:
    radii = [0.54 if i % 2 == 0 else 0.24 for i in range(10)]
    angles = [math.pi * (i / 5 - 0.5) for i in range(10)]
    return [(r * math.cos(a), r * math.sin(a) + 0.04) for r, a in zip(radii, angles, strict=True)]


def _heart() -> Points:
    points = []
    for i in range(60):
        t = 2 * math.pi * i / 60
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 33, -(y + 2.5) / 33))
    return points


_ARM = 0.17
OUTLINES: dict[str, Points] = {
    "square": [(-0.43, -0.43), (0.43, -0.43), (0.43, 0.43), (-0.43, 0.43)],
    "triangle": [(0.0, -0.5), (0.52, 0.42), (-0.52, 0.42)],
    "star": _star(),
    "heart": _heart(),
    "diamond": [(0.0, -0.56), (0.42, 0.0), (0.0, 0.56), (-0.42, 0.0)],
    "cross": [
        *[(-_ARM, -0.5), (_ARM, -0.5), (_ARM, -_ARM), (0.5, -_ARM), (0.5, _ARM), (_ARM, _ARM)],
        *[(_ARM, 0.5), (-_ARM, 0.5), (-_ARM, _ARM), (-0.5, _ARM), (-0.5, -_ARM), (-_ARM, -_ARM)],
    ],
}


def draw_shape(draw: ImageDraw.ImageDraw, shape: str, centre: tuple[float, float], diameter: float) -> None:
    """Fill one shape with 255; centre and diameter in the canvas' pixels."""
    x, y = centre
    if shape in OUTLINES:
        draw.polygon([(x + diameter * px, y + diameter * py) for px, py in OUTLINES[shape]], fill=255)
        return
    for part, fill in ((0.5, 255), (0.27, 0))[: 2 if shape == "ring" else 1]:
        r = diameter * part
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def mask(shape: str, spot: Spot, size: tuple[int, int]) -> Image.Image:
    """The shape's coverage (0…255) on a canvas of width × height pixels."""
    width, height = (side * OVERSAMPLING for side in size)
    canvas = Image.new("L", (width, height))
    draw_shape(ImageDraw.Draw(canvas), shape, (spot.x * width, spot.y * height), spot.diameter * min(width, height))
    return canvas.reduce(OVERSAMPLING)


def place_objects(scene: Scene, rng: np.random.Generator) -> list[Spot]:
    """Where each object of the scene goes, with a little jitter."""
    diameters = DIAMETER_ALONE if len(scene.objects) < 2 else DIAMETER_OF_TWO
    return [_spot(thing, diameters, rng) for thing in scene.objects]


def _spot(thing: Thing, diameters: dict[Size, float], rng: np.random.Generator) -> Spot:
    x, y = CENTRES[thing.place]
    dx, dy, grow = rng.uniform(-1, 1, 3)
    return Spot(x + JITTER * dx, y + JITTER * dy, diameters[thing.size] * (1 + 0.04 * grow))


def draw(scene: Scene, spots: list[Spot], size: tuple[int, int] = (128, 128)) -> Image.Image:
    """The scene as an RGB picture of width × height pixels."""
    picture = Image.new("RGB", size, PALETTE[scene.background])
    for thing, spot in zip(scene.objects, spots, strict=True):
        picture.paste(PALETTE[thing.colour], (0, 0), mask(thing.shape, spot, size))
    return picture
