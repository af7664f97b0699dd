"""Many ways to ask for one scene; each reads back as that scene."""

import numpy as np

from serve_app.models.scenes import Scene, Thing, default_background
from serve_app.models.shapes_language import MAX_WORDS, WORD, WORDS, Role

BEGINNINGS = (
    "please draw me",
    "draw",
    "please paint",
    "a picture of",
    "a simple drawing of",
    "please make a picture of",
    "i would like to see",
    "can you show me",
    "give me an image of",
    "create a nice painting of",
    "an image of",
    "show me",
)
ALONE = {
    "left": ("on the left", "at the left", "on the left side", "left", "in the left half", "to the left"),
    "right": ("on the right", "at the right", "on the right side", "right", "in the right half", "to the right"),
    "top": ("at the top", "on top", "top", "in the upper half", "at the top edge", "in the upper part"),
    "bottom": ("at the bottom", "on the bottom", "bottom", "in the lower half", "at the bottom edge"),
    "centre": ("in the middle", "in the center", "in the centre"),
}
BETWEEN = {"left": "to the left of", "right": "to the right of", "top": "above", "bottom": "below"}
JOINS = ("and", "and", "and", ",", "with", "next to", "beside", ", and")
NONSENSE = ("lovely", "shiny", "zorb", "7", "quickly", "wooden", "bright", "my", "friendly", "qux", "very", "cartoon")


def plain_wording(scene: Scene) -> str:
    """The scene in the grammar's own order, everything said that differs from the defaults."""
    objects = " and ".join(" ".join(["a", *_described(thing)]) for thing in scene.objects)
    place = scene.objects[-1].place if scene.objects else "centre"
    said = f" {ALONE[place][0]}" if place != "centre" and (len(scene.objects) == 1 or place != "right") else ""
    return f"{objects}{said} on a {scene.background} background" if objects else f"a {scene.background} background"


def _described(thing: Thing) -> list[str]:
    return [thing.colour, thing.shape] if thing.size == "medium" else [thing.size, thing.colour, thing.shape]


class Wording:
    """One random way of putting a scene into words."""

    def __init__(self, rng: np.random.Generator, *, free: float = 0.4) -> None:
        self.rng = rng
        self.free = free

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options: tuple[str, ...] | list[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def name(self, role: Role, meaning: str) -> str:
        """The word itself, or now and then one of its synonyms."""
        names = WORDS[role][meaning]
        return meaning if self.chance(0.7) else self.pick(names)

    def prompt(self, scene: Scene) -> str:
        """The scene in words; never more than the tokenizer takes."""
        free = self.chance(self.free)
        words = self.objects(scene, free)
        before, after = self.background(scene, free)
        if free and before == "" and self.chance(0.5):
            words = f"{self.pick(BEGINNINGS)} {words}"
        words = f"{before} {words}{after}".strip()
        if free and self.chance(0.1):
            words += " please"
        if free and self.chance(0.3):
            words = self.with_nonsense(words)
        words = " ".join(words.split()).replace("a orange", "an orange")
        return words if len(WORD.findall(words)) <= MAX_WORDS else plain_wording(scene)

    def background(self, scene: Scene, free: bool) -> tuple[str, str]:
        """What is said of the background before and after the objects."""
        default = default_background(frozenset(thing.colour for thing in scene.objects))
        colour = self.name(Role.COLOUR, scene.background)
        ground = self.pick(["background"] * 4 + ["backdrop", "canvas"])
        if not scene.objects:
            return self.pick([f"a {colour} {ground}", f"{colour} {ground}", f"just a plain {colour} {ground}"]), ""
        if scene.background == default and self.chance(0.5):
            return "", ""
        if not free:
            return "", f" on a {colour} {ground}" if self.chance(0.85) else f" on {colour}"
        if self.chance(0.35):
            return self.pick([f"{colour} {ground} ,", f"on a {colour} {ground} ,", f"{ground} {colour} ,"]), ""
        tails = ["on a {} {}", ", {} {}", "with a {} {}", "on the {} {}", "against a {} {}", "and a {} {}"]
        swapped = [", {1} {0}", ", the {1} is {0}", ", {1}: {0}", "on {0}"]
        return "", " " + self.pick(tails * 2 + swapped).format(colour, ground)

    def objects(self, scene: Scene, free: bool) -> str:
        """The objects and where they are."""
        things = scene.objects
        if not things:
            return ""
        named = [self.thing(thing, free, alone=len(things) == 1) for thing in things]
        where = [self.pick(ALONE[thing.place]) for thing in things]
        if len(things) == 1:
            if things[0].place == "centre" and not self.chance(0.07):
                return named[0]
            return f"{where[0]} {named[0]}" if free and self.chance(0.4) else f"{named[0]} {where[0]}"
        join = self.pick(JOINS)
        if things[0].place == "left" and self.chance(0.5):
            return f"{named[0]} {join} {named[1]}"
        return self.pick(
            [
                f"{named[0]} {join} {named[1]} {where[1]}",
                f"{named[0]} {where[0]} {join} {named[1]}",
                f"{named[0]} {where[0]} {join} {named[1]} {where[1]}",
                f"{where[0]} {named[0]} {join} {where[1]} {named[1]}",
                f"{named[0]} {BETWEEN[things[0].place]} {named[1]}",
            ]
        )

    def thing(self, thing: Thing, free: bool, alone: bool) -> str:
        """One object, its colour left out now and then when that says the same."""
        size = "" if thing.size == "medium" else self.name(Role.SIZE, thing.size)
        if not size and self.chance(0.03):
            size = "medium"
        shape = self.name(Role.SHAPE, thing.shape)
        colour = self.name(Role.COLOUR, thing.colour)
        article = "a " if self.chance(0.8) else ""
        if thing.colour == "black" and alone and self.chance(0.2):
            return f"{article}{size} {shape}"
        order = "{size} {colour} {shape}"
        if free and self.chance(0.5):
            order = self.pick(["{colour} {size} {shape}", "{shape} {size} {colour}", "{size} {shape} in {colour}"])
            if order.startswith("{shape}"):
                article = ""
        return article + order.format(size=size, colour=colour, shape=shape)

    def with_nonsense(self, words: str) -> str:
        """One or two words that the model does not know, anywhere."""
        parts = words.split()
        for _ in range(1 + self.chance(0.3)):
            parts.insert(int(self.rng.integers(len(parts) + 1)), self.pick(NONSENSE))
        return " ".join(parts)
