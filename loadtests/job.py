"""What one load run sends: read once from the parent's file, or the defaults when Locust runs alone."""

import itertools
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONFIG_VARIABLE = "SDCTL_LOADTEST_JOB"  # path of the JSON job
RECORDS_VARIABLE = "SDCTL_LOADTEST_RECORDS_FD"  # where records go, one JSON line each
ORIGIN = "origin"


@dataclass(frozen=True)
class Prompt:
    """One request of the mix; `reference` is the expected picture's fingerprint (see images.fingerprint), if known."""

    id: str
    text: str
    fields: dict[str, Any]  # further fields of POST /imagine: seed, width, num_inference_steps, …
    reference: str = ""


@dataclass(frozen=True)
class Job:
    """A load run. `stages` are (users, spawn rate per s, seconds); `arrivals` are seconds after the start."""

    prompts: tuple[Prompt, ...]
    path: str = "/imagine"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    stages: tuple[tuple[int, float, float], ...] = ()
    arrivals: tuple[float, ...] = ()
    timeout_s: float = 120.0
    grace_s: float = 30.0
    seed: int = 0
    samples: int = 12
    sample_folder: str = ""
    ca_file: str = ""

    def mix(self, stream: int) -> Iterator[Prompt]:
        """An endless, repeatable order of the prompts for one stream of requests."""
        chosen = random.Random(f"{self.seed}/{stream}")
        for _ in itertools.count():
            order = list(self.prompts)
            chosen.shuffle(order)
            yield from order


def load() -> Job:
    """The parent's job, else one that sends the built-in prompts with random seeds."""
    path = os.environ.get(CONFIG_VARIABLE)
    if path:
        return from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    token = os.environ.get("SDCTL_TOKEN", "")
    return Job(
        prompts=tuple(builtin_prompts()),
        headers={"Authorization": f"Bearer {token}"} if token else {},
        samples=0,
    )


def from_json(document: dict[str, Any]) -> Job:
    """A job from the JSON that `to_json` made."""
    prompts = tuple(Prompt(**prompt) for prompt in document.pop("prompts"))
    stages = tuple((int(users), float(rate), float(seconds)) for users, rate, seconds in document.pop("stages"))
    return Job(prompts=prompts, stages=stages, arrivals=tuple(document.pop("arrivals")), **document)


def builtin_prompts() -> Iterator[Prompt]:
    """The prompts of prompts.txt, each with a fixed seed."""
    lines = (HERE / "prompts.txt").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(line for line in lines if line.strip()):
        yield Prompt(id=f"builtin-{number}", text=line.strip(), fields={"seed": number})


def references() -> Iterator[Prompt]:
    """Prompts with the fingerprint of the picture that `builtin:shapes` draws for them at its defaults."""
    document = json.loads((HERE / "references.json").read_text(encoding="utf-8"))
    for entry in document["pictures"]:
        yield Prompt(
            id=entry["id"], text=entry["prompt"], fields={"seed": entry["seed"]}, reference=entry["fingerprint"]
        )
