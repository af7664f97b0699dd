"""Trains UNet and text encoder on the latents, by predicting v at noise levels up to pure noise."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from serve_app.models.train.components import MAX_TOKENS, new_scheduler, new_text_encoder, new_tokenizer, new_unet
from serve_app.models.train.dataset import Dataset
from serve_app.models.train.plan import Plan
from serve_app.models.train.progress import Stage, learning_rate, step_rng, torch_rng

LAYOUT_STEPS = 4000  # until then layout is learned, from then on objects are stressed
AVERAGE_DECAY = 0.999
HOLD = 0.55  # of the steps at the peak rate: a run can be made longer until then without any other change
OBJECT_CONTRAST = 0.5  # mean squared difference from the background's latents; flat areas vary by 0.2


@dataclass(frozen=True)
class Emphasis:
    """What the loss stresses: the share of pure noise, where only words tell what to draw, and the weight of objects,
    which cover a tenth of a picture."""

    pure_noise: float
    objects: float


LAYOUT, OBJECTS = Emphasis(0.12, 3.0), Emphasis(0.35, 6.0)


class Denoiser(nn.Module):
    """Text encoder and UNet, trained together."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.text_encoder: CLIPTextModel = new_text_encoder(tokenizer)
        self.unet: UNet2DConditionModel = new_unet()

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        words = self.text_encoder(tokens)[0]
        prediction: Tensor = self.unet(noisy, timesteps, words).sample
        return prediction


class Average:
    """An exponential moving average of a module's weights, quicker at the beginning."""

    def __init__(self, module: nn.Module) -> None:
        self.weights = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        keep = min(AVERAGE_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, list(module.parameters()), 1 - keep)

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights = state["weights"]

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        for parameter, weight in zip(module.parameters(), self.weights, strict=True):
            parameter.copy_(weight)


def draw_timesteps(count: int, rng: np.random.Generator, pure_noise: float, last: int = 999) -> Tensor:
    """Noise levels: a share of pure noise, the others more often high than low."""
    levels = np.floor((last + 1) * rng.random(count) ** 0.6)
    levels[rng.random(count) < pure_noise] = last
    return torch.from_numpy(np.minimum(levels, last)).long()


def cell_weights(latents: Tensor, objects: float) -> Tensor:
    """Weights of the latents' cells, objects above background, 1 on average; the corner is always background."""
    is_object = (latents - latents[:, :, :1, :1]).square().mean(1, keepdim=True) > OBJECT_CONTRAST
    weights = 1 + (objects - 1) * is_object.float()
    return weights / weights.mean()


def loss_of(
    model: Denoiser, scheduler: DDIMScheduler, batch: tuple[Tensor, Tensor], rng: np.random.Generator, stress: Emphasis
) -> Tensor:
    """The weighted squared error of v for one batch of latents and tokens."""
    latents, tokens = batch
    noise = torch.randn(latents.shape, generator=torch_rng(rng))
    timesteps = draw_timesteps(len(latents), rng, stress.pure_noise)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):  # flash attention is slower backwards
        prediction = model(noisy, timesteps, tokens).float()
    error = (prediction - scheduler.get_velocity(latents, noise, timesteps)).square()
    weighted: Tensor = error * cell_weights(latents, stress.objects)
    return weighted.mean()


def train_denoiser(folder: Path, plan: Plan, dataset: Dataset) -> tuple[Denoiser, Stage]:
    """Train (or go on training) in `folder`; gives the model with its averaged weights, and its stage."""
    tokenizer, scheduler = new_tokenizer(), new_scheduler()
    model = Denoiser(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.denoiser_rate, betas=(0.9, 0.99), weight_decay=0.01)
    average = Average(model)
    stage = Stage(folder, "denoiser", {"model": model, "optimizer": optimizer, "average": average})
    total = 0.0
    for step in stage.steps(plan.denoiser_steps, plan.checkpoint_every):
        rng = step_rng("denoiser", step)
        latents, prompts = dataset.batch(plan.batch, rng)
        tokens = tokenizer(
            prompts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.denoiser_steps, plan.denoiser_rate, HOLD)
        stress = LAYOUT if step < LAYOUT_STEPS else OBJECTS
        loss = loss_of(model, scheduler, (latents, tokens), rng, stress)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        total += loss.item()
        if (step + 1) % plan.log_every == 0:
            stage.log(loss=round(total / plan.log_every, 5))
            total = 0.0
    average.copy_to(model)
    return model.eval(), stage
