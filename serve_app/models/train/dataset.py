"""Scenes and their latents, drawn and encoded once; their wording is new at every step."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from serve_app.models.drawing import draw, place_objects
from serve_app.models.scenes import Scene
from serve_app.models.train.autoencoder import encode_mean, to_tensor
from serve_app.models.train.plan import DEFAULT_SIZE, OTHER_SIZES, Plan
from serve_app.models.train.progress import step_rng
from serve_app.models.train.sampling import random_scene
from serve_app.models.train.wording import Wording

SIZES = (DEFAULT_SIZE, *OTHER_SIZES)
SHARE_OF_OTHER_SIZES = 0.15
SHARE_EMPTY = 0.1  # prompts left empty: what guidance needs
Size = tuple[int, int]


@dataclass(frozen=True)
class Dataset:
    """The scenes of each size and their latents (N × channels × height × width, half precision)."""

    scenes: dict[Size, list[Scene]]
    latents: dict[Size, Tensor]

    def batch(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Latents of one size, and a prompt for each."""
        size = SIZES[1 + int(rng.integers(len(OTHER_SIZES)))] if rng.random() < SHARE_OF_OTHER_SIZES else SIZES[0]
        chosen = rng.integers(len(self.scenes[size]), size=count)
        scenes = [self.scenes[size][i] for i in chosen]
        prompts = ["" if rng.random() < SHARE_EMPTY else Wording(rng).prompt(scene) for scene in scenes]
        return self.latents[size][torch.from_numpy(chosen)].float(), prompts


def counts(plan: Plan) -> dict[Size, int]:
    """How many scenes of each size."""
    return {DEFAULT_SIZE: plan.scenes, **dict.fromkeys(OTHER_SIZES, plan.scenes // 12)}


@torch.no_grad()
def load_dataset(folder: Path, plan: Plan, autoencoder: AutoencoderKL) -> tuple[Dataset, float]:
    """The dataset of the plan and the seconds that encoding it took; its latents are kept in `folder`."""
    scenes: dict[Size, list[Scene]] = {}
    latents: dict[Size, Tensor] = {}
    seconds = 0.0
    for size, count in counts(plan).items():
        file = folder / f"latents-{size[0]}x{size[1]}.pt"
        rng = step_rng("scenes", SIZES.index(size))
        scenes[size] = [random_scene(rng) for _ in range(count)]
        if not file.exists():
            started = time.perf_counter()
            parts = [_encode(autoencoder, scenes[size][i : i + 16], size, i) for i in range(0, count, 16)]
            torch.save({"latents": torch.cat(parts), "seconds": time.perf_counter() - started}, file)
        saved = torch.load(file, weights_only=True)
        latents[size] = saved["latents"]
        seconds += saved["seconds"]
    return Dataset(scenes, latents), seconds


def _encode(autoencoder: AutoencoderKL, scenes: list[Scene], size: Size, start: int) -> Tensor:
    rng = step_rng(f"spots {size}", start)
    pictures = [np.asarray(draw(scene, place_objects(scene, rng), size)) for scene in scenes]
    return encode_mean(autoencoder, to_tensor(np.stack(pictures))).half()
