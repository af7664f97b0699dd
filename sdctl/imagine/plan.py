"""From the options of `sdctl imagine` to the images to ask for and the places where they go."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdctl import files, receipt
from sdctl.dialects import ImageAsk
from sdctl.errors import InvalidRequest
from sdctl.files import Place
from sdctl.receipt import Receipt
from serve_app.schemas import MAX_SEED

MAX_IMAGES = 10_000


@dataclass(frozen=True)
class Options:
    """The command line as it was given; None and empty where it says nothing."""

    prompts: tuple[str, ...]
    count: int = 1
    output: str = ""  # a file, a folder, "-" for stdout
    size: tuple[int, int] | None = None
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    seed: int | None = None
    model: str | None = None
    format: str = ""
    replay: str = ""  # an image whose receipt is used
    force: bool = False
    metadata: bool = True
    as_json: bool = False


@dataclass(frozen=True)
class Order:
    """What to do: an ask and a place for each image; no places when the one image goes to stdout."""

    asks: tuple[ImageAsk, ...]
    places: tuple[Place, ...]
    force: bool
    metadata: bool
    seed_given: bool
    replayed: Receipt | None = None


def plan(options: Options, *, stdin: Iterable[str], terminal: bool) -> Order:
    """Give the order; `terminal` says whether stdout is one. Raises InvalidRequest or NotFound."""
    replayed = receipt.read(options.replay) if options.replay else None
    prompts = tuple(_prompts(options.prompts, stdin)) or ((replayed.prompt,) if replayed else ())
    if not prompts:
        raise InvalidRequest(
            "There is no prompt.", hint='Give one: sdctl imagine "a red circle"; - reads them from stdin.'
        )
    if options.count < 1 or options.count * len(prompts) > MAX_IMAGES:
        raise InvalidRequest(f"--count {options.count} is not from 1 to {MAX_IMAGES} images.", hint="Use another one.")
    to_stdout = options.output == "-" or not (options.output or terminal or options.as_json)
    kind = files.image_format("" if to_stdout else options.output, options.format)
    base = _base(options, replayed, kind)
    asks = tuple(_asks(prompts, base, options.count))
    if to_stdout:
        _check_stdout(options, len(asks), terminal)
    return Order(
        asks=asks,
        places=() if to_stdout else _places(asks, options, kind),
        force=options.force,
        metadata=options.metadata,
        seed_given=base.seed is not None,
        replayed=replayed,
    )


def _check_stdout(options: Options, images: int, terminal: bool) -> None:
    if options.as_json:
        raise InvalidRequest("--json and -o - both want stdout.", hint="Give -o a file or a folder.")
    if images > 1:
        raise InvalidRequest(f"stdout takes one image, not {images}.", hint="Give -o a folder.")
    if terminal:
        raise InvalidRequest("stdout is a terminal, and an image is no text.", hint="Pipe it, or give -o a file.")


def _prompts(given: tuple[str, ...], stdin: Iterable[str]) -> Iterator[str]:
    """The prompts, with each non-empty line of stdin in the place of a `-`."""
    for prompt in given:
        if prompt == "-":
            yield from (line for line in (raw.strip() for raw in stdin) if line)
        else:
            yield prompt


def _base(options: Options, replayed: Receipt | None, kind: str) -> ImageAsk:
    """What all images share: the options, over the receipt that is replayed."""
    width, height = options.size or (None, None)
    given: dict[str, Any] = {
        "width": width,
        "height": height,
        "num_inference_steps": options.steps,
        "guidance_scale": options.guidance,
        "negative_prompt": options.negative,
        "seed": options.seed,
        "model": options.model,
    }
    base = ImageAsk(prompt="", format=kind)
    if replayed is not None:
        base = replace(base, **{name: getattr(replayed, name) for name in given})
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def _asks(prompts: tuple[str, ...], base: ImageAsk, count: int) -> Iterator[ImageAsk]:
    """Each prompt `count` times, with consecutive seeds; drawn here so that a repeated request makes the same image."""
    for prompt in prompts:
        first = secrets.randbelow(MAX_SEED + 1) if base.seed is None else base.seed
        for number in range(count):
            # A seed that is out of range goes out as it is, for the service to refuse; only counting wraps around.
            yield replace(base, prompt=prompt, seed=(first + number) % (MAX_SEED + 1) if number else first)


def _places(asks: tuple[ImageAsk, ...], options: Options, kind: str) -> tuple[Place, ...]:
    names = [files.name_for(ask.prompt, ask.seed, private=not options.metadata) for ask in asks]
    return tuple(files.places(options.output or str(Path()), names, kind, force=options.force))
