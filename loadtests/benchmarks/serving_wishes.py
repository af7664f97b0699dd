"""What the users of the serving benchmark ask for."""

from collections.abc import Iterable, Mapping
from typing import Any

from loadtests.benchmarks.serving_load import Crowd, Wish
from loadtests.job import builtin_prompts

STEPS, GUIDANCE = 10, 1.8  # the built-in model's defaults
SIDES = (128, 192)
LARGE_STEPS = 20

Wishes = Mapping[str, Mapping[str, Any]]


def wishes(kind: str, sizes: Iterable[tuple[int, int]]) -> dict[str, dict[str, Any]]:
    """The built-in prompts by name, with their sides and steps in turn."""
    known, pairs = list(builtin_prompts()), list(sizes)
    return {
        f"{kind}/{prompt.id}": {
            "prompt": prompt.text,
            "seed": prompt.fields["seed"],
            "width": pairs[number % len(pairs)][0],
            "height": pairs[number % len(pairs)][0],
            "num_inference_steps": pairs[number % len(pairs)][1],
        }
        for number, prompt in enumerate(known)
    }


ALL: dict[str, Wishes] = {
    **{f"{side} px": wishes(str(side), [(side, STEPS)]) for side in SIDES},
    "mixed": wishes("mixed", [(side, steps) for steps in (5, 10, 20) for side in SIDES]),
    "large": wishes("large", [(SIDES[-1], LARGE_STEPS)]),
}


def crowd(system: str, name: str, wanted: Wishes, users: int) -> Crowd:
    """Users of a system; only our service takes a seed, so only its pictures are known beforehand."""
    if system == "ours":
        return Crowd(name, users, tuple(Wish(dict(wish), picture) for picture, wish in wanted.items()))
    asked = (
        {"prompt": wish["prompt"], "img_size": wish["width"], "num_inference_steps": wish["num_inference_steps"]}
        for wish in wanted.values()
    )
    return Crowd(name, users, tuple(Wish(fields) for fields in asked))
