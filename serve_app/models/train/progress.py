"""What a stage of the training keeps between runs: state, seconds spent, and a log; every step has its own seed."""

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serve_app.models.train.plan import SEED


def step_rng(stage: str, step: int) -> np.random.Generator:
    """The random numbers of one step, the same whether or not the run was interrupted before it."""
    return np.random.default_rng([SEED, *stage.encode(), step])


def torch_rng(rng: np.random.Generator) -> torch.Generator:
    """A torch generator seeded from a numpy one."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def learning_rate(step: int, steps: int, peak: float, hold: float = 0.0) -> float:
    """Linear warm-up, the peak until the share `hold` of the steps, then a cosine down to a hundredth of it."""
    warm_up = min(200, max(steps // 4, 1))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    start = max(warm_up, int(hold * steps))
    done = max(step - start, 0) / max(steps - start, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class Stage:
    """One stage's checkpoint in a folder: `parts` are what has a state_dict and is saved and restored."""

    def __init__(self, folder: Path, name: str, parts: dict[str, Any]) -> None:
        self.file = folder / f"{name}.pt"
        self.log_file = folder / "log.jsonl"
        self.name = name
        self.parts = parts
        self.step = 0
        self.seconds = 0.0
        if self.file.exists():
            self._restore()

    def _restore(self) -> None:
        saved = torch.load(self.file, weights_only=True)
        self.step, self.seconds = saved["step"], saved["seconds"]
        for key, part in self.parts.items():
            part.load_state_dict(saved[key])

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        states = {key: part.state_dict() for key, part in self.parts.items()}
        partial = self.file.with_suffix(".partial")
        torch.save({"step": self.step, "seconds": self.seconds, **states}, partial)
        os.replace(partial, self.file)

    def log(self, **values: float) -> None:
        """Append one line to the log and show it."""
        line = json.dumps({"stage": self.name, "step": self.step + 1, "seconds": round(self.seconds, 1), **values})
        with self.log_file.open("a") as log:
            log.write(line + "\n")
        print(line, flush=True)

    def steps(self, total: int, checkpoint_every: int) -> Iterator[int]:
        """The steps still to do; saves the state now and then and at the end."""
        while self.step < total:
            started = time.perf_counter()
            yield self.step
            self.step += 1
            self.seconds += time.perf_counter() - started
            if self.step % checkpoint_every == 0 or self.step == total:
                self.save()
