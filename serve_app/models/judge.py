"""Says whether a picture shows what a scene asks for, by pixels and geometry alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve_app.models.drawing import CENTRES, DIAMETER_ALONE, DIAMETER_OF_TWO, Spot, mask
from serve_app.models.regions import Region, largest_regions
from serve_app.models.scenes import PALETTE, SHAPES, Place, Scene, Size, Thing

TEMPLATE_SIDE = 32
DRAWN_DIAMETER = 120
MIN_AREA = 0.008  # of the picture; the smallest star covers 0.018
MAX_OFFSET = 0.12  # from the place's centre, in parts of width and height
MIN_OVERLAP = 0.6
SAME_BACKGROUND = 60.0  # how far the background's colour may be from its palette colour (RGB distance)
STANDS_OUT = 35.0  # RGB distance from the background; the palette's nearest pair is 88 apart
Pixels = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """One object seen in a picture; centre in parts of width and height, diameter in parts of the shorter side, and
    the overlap (0…1) of its outline with that of the shape."""

    colour: str
    shape: str
    x: float
    y: float
    diameter: float
    overlap: float


@dataclass(frozen=True)
class ObjectVerdict:
    """Whether one asked-for object has its colour, shape, place and size; `found` is None if it is missing."""

    colour_ok: bool
    shape_ok: bool
    place_ok: bool
    size_ok: bool
    found: Found | None


@dataclass(frozen=True)
class Verdict:
    """What is right and wrong about a picture; `reasons` is empty when all but the sizes is right."""

    background_ok: bool
    count_ok: bool
    objects: tuple[ObjectVerdict, ...]
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.reasons


def judge(picture: Image.Image, scene: Scene) -> Verdict:
    """Compare a picture with the scene that it should show."""
    pixels = np.asarray(picture.convert("RGB"), np.float64)
    border = _border_colour(pixels)
    background = nearest_colour(border)
    off = float(np.linalg.norm(border - PALETTE[scene.background]))
    background_ok = background == scene.background and off <= SAME_BACKGROUND
    found = find_objects(pixels, border)
    diameters = DIAMETER_ALONE if len(scene.objects) < 2 else DIAMETER_OF_TWO
    verdicts = [_compare(thing, seen, diameters) for thing, seen in _pair(scene, found)]
    reasons = [] if background_ok else [f"background is {background} instead of {scene.background}"]
    if len(found) != len(scene.objects):
        reasons.append(f"{len(found)} objects instead of {len(scene.objects)}")
    for thing, verdict in zip(scene.objects, verdicts, strict=True):
        reasons.extend(_reasons(thing, verdict))
    return Verdict(background_ok, len(found) == len(scene.objects), tuple(verdicts), tuple(reasons))


def nearest_colour(rgb: Pixels) -> str:
    """The palette's nearest colour by RGB distance."""
    return min(PALETTE, key=lambda name: float(np.linalg.norm(rgb - PALETTE[name])))


def find_objects(pixels: Pixels, background: Pixels) -> list[Found]:
    """Objects that stand out from the background, the largest first, at most three."""
    height, width = pixels.shape[:2]
    least = int(MIN_AREA * width * height)
    contrast = np.linalg.norm(pixels - background, axis=2)
    rough = largest_regions(contrast > STANDS_OUT, least, 3)
    exact = [part for region in rough for part in largest_regions(_core(pixels, contrast, region), least, 1)]
    return [_describe(pixels, region) for region in exact]


def _core(pixels: Pixels, contrast: Pixels, region: Region) -> Mask:
    """The region's pixels that are nearer to its own colour than to the background."""
    own = np.median(pixels[region.inner()], axis=0)
    core: Mask = region.pixels & (np.linalg.norm(pixels - own, axis=2) < contrast)
    return core


def _border_colour(pixels: Pixels) -> Pixels:
    edges = [pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]]
    median: Pixels = np.median(np.concatenate([edge.reshape(-1, 3) for edge in edges]), axis=0)
    return median


def _describe(pixels: Pixels, region: Region) -> Found:
    height, width = pixels.shape[:2]
    colour = nearest_colour(np.median(pixels[region.inner()], axis=0))
    scores = {shape: _overlap(region.box(), _template(shape)) for shape in SHAPES}
    shape = max(scores, key=lambda name: scores[name])
    left, top, right, bottom = region.bounds()
    x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
    diameter = float(np.sqrt(region.area / _drawn(shape).sum())) * DRAWN_DIAMETER / min(width, height)
    return Found(colour, shape, x, y, diameter, scores[shape])


@cache
def _drawn(shape: str) -> Mask:
    side = 2 * DRAWN_DIAMETER
    drawn: Mask = np.asarray(mask(shape, Spot(0.5, 0.5, DRAWN_DIAMETER / side), (side, side))) > 127
    return drawn


@cache
def _template(shape: str) -> Mask:
    return _resized(Region(_drawn(shape)).box())


def _resized(crop: Mask) -> Mask:
    image = Image.fromarray(crop.astype(np.uint8) * 255)
    resized: Mask = np.asarray(image.resize((TEMPLATE_SIDE, TEMPLATE_SIDE), Image.Resampling.BILINEAR)) > 127
    return resized


def _overlap(crop: Mask, template: Mask) -> float:
    resized = _resized(crop)
    return float((resized & template).sum() / max(int((resized | template).sum()), 1))


def _pair(scene: Scene, found: list[Found]) -> Iterator[tuple[Thing, Found | None]]:
    """Each asked-for object with what is nearest to its place."""
    left = list(found)
    for thing in scene.objects:
        nearest = min(left, key=lambda seen: _offset(seen, thing.place), default=None)
        if nearest:
            left.remove(nearest)
        yield thing, nearest


def _offset(seen: Found, place: Place) -> float:
    x, y = CENTRES[place]
    return max(abs(seen.x - x), abs(seen.y - y))


def _compare(thing: Thing, seen: Found | None, diameters: dict[Size, float]) -> ObjectVerdict:
    if seen is None:
        return ObjectVerdict(False, False, False, False, None)
    shape_ok = seen.shape == thing.shape and seen.overlap >= MIN_OVERLAP
    place_ok = _offset(seen, thing.place) <= MAX_OFFSET
    size = min(diameters, key=lambda name: abs(diameters[name] - seen.diameter))
    return ObjectVerdict(seen.colour == thing.colour, shape_ok, place_ok, size == thing.size, seen)


def _reasons(thing: Thing, verdict: ObjectVerdict) -> Iterator[str]:
    seen = verdict.found
    if seen is None:
        yield f"no {thing.colour} {thing.shape}"
        return
    if not verdict.colour_ok:
        yield f"the {thing.shape} is {seen.colour} instead of {thing.colour}"
    if not verdict.shape_ok:
        yield f"a {seen.shape} (overlap {seen.overlap:.2f}) instead of a {thing.shape}"
    if not verdict.place_ok:
        yield f"the {thing.shape} is at ({seen.x:.2f}, {seen.y:.2f}) instead of the {thing.place}"
