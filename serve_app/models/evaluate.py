"""Measures the built-in model: `python -m serve_app.models.evaluate` draws prompts and judges the pictures."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from serve_app.models.judge import Verdict, judge
from serve_app.models.prompts import SHAPES_FOLDER, VERIFIED_FILE
from serve_app.models.scenes import Scene
from serve_app.models.train.sampling import random_scene
from serve_app.models.train.wording import Wording, plain_wording

BATCH = 12
BARS = {"object colour": 0.95, "background": 0.98, "shape": 0.90, "position": 0.90}
CARD_BEGIN, CARD_END = "<!-- evaluation -->", "<!-- end of evaluation -->"


@dataclass(frozen=True)
class Case:
    """One prompt to draw; `unseen` if its first object's combination was kept from training."""

    prompt: str
    seed: int
    scene: Scene
    unseen: bool


@dataclass(frozen=True)
class Result:
    """A case and what the judge says of its picture."""

    case: Case
    verdict: Verdict


@dataclass(frozen=True)
class Settings:
    """How pictures are drawn: size as (width, height) in pixels."""

    size: tuple[int, int]
    steps: int
    guidance: float


def cases(count: int, seed: int) -> list[Case]:
    """Prompts in free and plain wording, every third with an unseen combination."""
    rng = np.random.default_rng([seed, 77])
    made = []
    for i in range(count):
        scene = random_scene(rng, held_out=i % 3 == 2)
        made.append(Case(Wording(rng).prompt(scene), i, scene, i % 3 == 2))
    return made


def plain_cases(count: int, seed: int) -> list[Case]:
    """Prompts in the grammar's own order, of combinations that training saw."""
    rng = np.random.default_rng([seed, 78])
    scenes = [random_scene(rng) for _ in range(count)]
    return [Case(plain_wording(scene), i, scene, False) for i, scene in enumerate(scenes) if scene.objects]


def pictures(pipeline: StableDiffusionPipeline, wanted: list[Case], settings: Settings) -> Iterator[Image.Image]:
    """The pictures of the cases, each from its own seed."""
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        yield from pipeline(
            [case.prompt for case in part],
            width=settings.size[0],
            height=settings.size[1],
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=[torch.Generator().manual_seed(case.seed) for case in part],
        ).images


def measure(pipeline: StableDiffusionPipeline, wanted: list[Case], settings: Settings) -> list[Result]:
    """Draw the cases and judge them."""
    drawn = pictures(pipeline, wanted, settings)
    return [Result(case, judge(picture, case.scene)) for case, picture in zip(wanted, drawn, strict=True)]


def shares(results: Iterable[Result]) -> dict[str, float]:
    """The share of right answers: colours, shapes, positions and sizes by object, the rest by picture."""
    results = list(results)
    things = [pair for r in results for pair in zip(r.case.scene.objects, r.verdict.objects, strict=True)]
    return {
        "object colour": _share(verdict.colour_ok for _, verdict in things),
        "background": _share(r.verdict.background_ok for r in results),
        "shape": _share(verdict.shape_ok for _, verdict in things),
        "position": _share(verdict.place_ok for thing, verdict in things if thing.place != "centre"),
        "size": _share(verdict.size_ok for thing, verdict in things if thing.size != "medium"),
        "number of objects": _share(r.verdict.count_ok for r in results),
        "all of the picture but sizes": _share(r.verdict.ok for r in results),
    }


def _share(answers: Iterable[bool]) -> float:
    listed = list(answers)
    return sum(listed) / max(len(listed), 1)


def table(results: list[Result]) -> str:
    """The shares as a markdown table, for all prompts and for seen and unseen combinations apart."""
    groups = {
        "all": results,
        "seen": [r for r in results if not r.case.unseen],
        "unseen": [r for r in results if r.case.unseen],
    }
    measured = {name: shares(group) for name, group in groups.items()}
    head = " | ".join(f"{name} ({len(group)} prompts)" for name, group in groups.items())
    lines = [f"| right | bar | {head} |", "|---|--:|--:|--:|--:|"]
    for row in measured["all"]:
        bar = f"{BARS[row]:.0%}" if row in BARS else ""
        lines.append(f"| {row} | {bar} | " + " | ".join(f"{measured[name][row]:.1%}" for name in groups) + " |")
    return "\n".join(lines)


def write_card(card: Path, text: str) -> None:
    """Replace what stands between the card's evaluation marks."""
    before, rest = card.read_text().split(CARD_BEGIN)
    after = rest.split(CARD_END)[1]
    card.write_text(f"{before}{CARD_BEGIN}\n{text}\n{CARD_END}{after}")


def write_verified(file: Path, results: list[Result]) -> None:
    """Keep the prompts and seeds whose pictures are right, sizes included."""
    right = [r.case for r in results if r.verdict.ok and all(o.size_ok for o in r.verdict.objects)]
    pairs = [{"prompt": case.prompt, "seed": case.seed} for case in right]
    file.write_text("[\n" + ",\n".join(f"  {json.dumps(pair)}" for pair in pairs) + "\n]\n")


def load(folder: Path) -> tuple[StableDiffusionPipeline, dict[str, Any]]:
    """The pipeline of a model's folder and its service.json."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, json.loads((folder / "service.json").read_text())


def main(argv: list[str] | None = None) -> int:
    """Draw, judge and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.models.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, default=SHAPES_FOLDER, help="folder in diffusers' format")
    parser.add_argument("--count", type=int, default=360, help="prompts to draw (default: 360)")
    parser.add_argument("--seed", type=int, default=0, help="which prompts (default: 0)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="default: the model's")
    parser.add_argument("--steps", type=int, help="default: the model's")
    parser.add_argument("--guidance", type=float, help="default: the model's")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--show-wrong", action="store_true", help="list what is wrong, prompt by prompt")
    parser.add_argument("--card", type=Path, help="write the table into this card")
    parser.add_argument("--verified", action="store_true", help=f"write {VERIFIED_FILE} into the model's folder")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    pipeline, service = load(options.model)
    settings = Settings(
        tuple(options.size or service["default_size"]),
        options.steps or service["default_steps"],
        service["default_guidance"] if options.guidance is None else options.guidance,
    )
    results = measure(pipeline, cases(options.count, options.seed), settings)
    for result in results if options.show_wrong else ():
        if not result.verdict.ok:
            print(f"{result.case.prompt!r} (seed {result.case.seed}): {'; '.join(result.verdict.reasons)}")
    print(table(results))
    if options.card:
        write_card(options.card, table(results))
    if options.verified:
        write_verified(options.model / VERIFIED_FILE, measure(pipeline, plain_cases(60, options.seed), settings))
    measured = shares(results)
    return int(any(measured[row] < bar for row, bar in BARS.items()))


if __name__ == "__main__":
    sys.exit(main())
