"""The words that the built-in model knows, and what a prompt made of them asks for."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from serve_app.models.scenes import (
    OPPOSITE,
    PALETTE,
    PLACES,
    SHAPES,
    SIZES,
    Place,
    Scene,
    Thing,
    default_background,
    default_colour,
)

MAX_WORDS = 30  # the tokenizer adds a begin and an end to make 32
MAX_OBJECTS = 2
WORD = re.compile(r"\w+|[^\w\s]+")


class Role(Enum):
    """What a word does in a prompt."""

    COLOUR = "colour"
    SHAPE = "shape"
    SIZE = "size"
    PLACE = "place"
    GROUND = "background"
    BREAK = "break"  # what stands after it describes something else
    ARTICLE = "article"
    FILLER = "filler"
    UNKNOWN = "unknown"


ALSO = {
    "red": "scarlet",
    "yellow": "golden",
    "purple": "violet",
    "cyan": "turquoise aqua",
    "gray": "grey",
    "circle": "disc disk dot ball",
    "square": "box",
    "ring": "donut doughnut",
    "cross": "plus",
    "diamond": "rhombus",
    "small": "little tiny",
    "large": "big huge giant",
    "top": "above upper",
    "bottom": "below lower under",
}
OTHER_WORDS = {
    Role.GROUND: "background backdrop canvas",
    Role.BREAK: ", ; . ! ? and with on against beside next",
    Role.ARTICLE: "a an the one some",
    Role.FILLER: "please draw paint show make create give me us i want would like to see can could you picture image "
    "drawing painting photo of is that which it in at by for side part half edge middle center centre just simple "
    "plain nice shape colored coloured color colour solid flat filled : - ' \"",
}


def _with_synonyms(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {name: (name, *ALSO.get(name, "").split()) for name in names}


WORDS: dict[Role, dict[str, tuple[str, ...]]] = {
    Role.COLOUR: _with_synonyms(PALETTE),
    Role.SHAPE: _with_synonyms(SHAPES),
    Role.SIZE: _with_synonyms(SIZES),
    Role.PLACE: _with_synonyms(PLACES),
    **{role: {word: (word,) for word in words.split()} for role, words in OTHER_WORDS.items()},
}
ROLES: dict[str, tuple[Role, str]] = {
    word: (role, meaning) for role, named in WORDS.items() for meaning, words in named.items() for word in words
}
KNOWN_WORDS = tuple(sorted(ROLES))


@dataclass(frozen=True)
class Reading:
    """What a prompt asks for, and the character ranges (start, end) of the words that the picture will not follow."""

    scene: Scene
    unknown: tuple[tuple[int, int], ...]


@dataclass
class _Word:
    role: Role
    meaning: str
    start: int
    end: int
    claimed: bool = False

    @property
    def is_punctuation(self) -> bool:
        return not (self.meaning[0].isalnum() or self.meaning[0] == "_")


@dataclass
class _Object:
    shape: _Word
    index: int
    colour: str | None = None
    size: str | None = None
    place: Place | None = None


@dataclass
class _Prompt:
    words: list[_Word]
    objects: list[_Object] = field(default_factory=list)
    background: str | None = None


def parse(prompt: str) -> Reading:
    """Read a prompt as the model was taught to: see the model's card for the grammar."""
    every = [_word(match) for match in WORD.finditer(prompt)]
    read = _Prompt(every[:MAX_WORDS])
    _find_background(read)
    _find_objects(read)
    _find_places(read)
    words = [word for word in every if not word.is_punctuation]
    unknown = tuple((word.start, word.end) for word in words if _is_ignored(word) or word not in read.words)
    return Reading(_scene(read), unknown)


def _word(match: re.Match[str]) -> _Word:
    text = match.group().lower()
    role, meaning = ROLES.get(text, (Role.UNKNOWN, text))
    return _Word(role, meaning, match.start(), match.end())


def _is_ignored(word: _Word) -> bool:
    asks_for_something = word.role in (Role.COLOUR, Role.SHAPE, Role.SIZE, Role.PLACE, Role.GROUND)
    return word.role is Role.UNKNOWN or (asks_for_something and not word.claimed)


def _claim(words: Iterable[_Word], role: Role, stops: Callable[[_Word], bool]) -> str | None:
    """Take the first unclaimed word of this role, looking no further than a word that stops the search."""
    for word in words:
        if word.role is role and not word.claimed:
            word.claimed = True
            return word.meaning
        if stops(word):
            return None
    return None


def _ends_description(word: _Word) -> bool:
    return word.role in (Role.BREAK, Role.SHAPE, Role.PLACE, Role.GROUND)


def _find_background(read: _Prompt) -> None:
    for i, word in enumerate(read.words):
        if word.role is Role.GROUND and read.background is None:
            before, after = reversed(read.words[:i]), read.words[i + 1 :]
            read.background = _claim(before, Role.COLOUR, _ends_description)
            read.background = read.background or _claim(after, Role.COLOUR, _ends_description)
            word.claimed = read.background is not None
    telling = [word for word in read.words if word.role not in (Role.UNKNOWN, Role.FILLER)]
    for i, word in enumerate(telling):
        if read.background is None and word.role is Role.COLOUR and _stands_alone_after_on(telling, i):
            word.claimed = True
            read.background = word.meaning


def _stands_alone_after_on(words: list[_Word], i: int) -> bool:
    """Whether this colour is a background by itself, as in "a star on red"."""
    before = [word for word in words[:i] if word.role is not Role.ARTICLE]
    follows = i + 1 == len(words) or words[i + 1].role in (Role.BREAK, Role.ARTICLE)
    return follows and bool(before) and before[-1].meaning in ("on", "against")


def _find_objects(read: _Prompt) -> None:
    previous = 0
    for i, word in enumerate(read.words):
        if word.role is not Role.SHAPE or len(read.objects) == MAX_OBJECTS:
            continue
        word.claimed = True
        thing = _Object(word, i)
        before, after = read.words[previous:i], read.words[i + 1 :]
        for role in (Role.COLOUR, Role.SIZE):
            found = _claim(reversed(before), role, lambda _: False) or _claim(after, role, _ends_description)
            setattr(thing, role.value, found)
        read.objects.append(thing)
        previous = i + 1


def _find_places(read: _Prompt) -> None:
    for i, word in enumerate(read.words):
        if word.role is Role.PLACE:
            thing = next(_without_place(read, i), None)
            others = [other.place for other in read.objects if other.place]
            place: Place = word.meaning  # type: ignore[assignment]
            if thing and all(OPPOSITE[other] == place for other in others):
                thing.place, word.claimed = place, True


def _without_place(read: _Prompt, index: int) -> Iterator[_Object]:
    """Objects whose place is open: the nearest before the word, then those after it."""
    yield from (thing for thing in reversed(read.objects) if thing.index < index and not thing.place)
    yield from (thing for thing in read.objects if thing.index > index and not thing.place)


def _scene(read: _Prompt) -> Scene:
    colours = frozenset(thing.colour for thing in read.objects if thing.colour)
    background = read.background or default_background(colours)
    places = _places([thing.place for thing in read.objects])
    things = [
        Thing(thing.colour or default_colour(background), thing.shape.meaning, thing.size or "medium", place)  # type: ignore[arg-type]
        for thing, place in zip(read.objects, places, strict=True)
    ]
    return Scene(tuple(things), background)


def _places(named: list[Place | None]) -> list[Place]:
    if len(named) < MAX_OBJECTS:
        return [place or "centre" for place in named]
    first: Place = named[0] or (OPPOSITE[named[1]] if named[1] else "left")
    return [first, OPPOSITE[first]]
