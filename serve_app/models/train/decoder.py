"""Goes on training the autoencoder's decoder alone, on whole pictures: sharper edges, truer colours, same latents."""

from itertools import chain
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from serve_app.models.drawing import draw, place_objects
from serve_app.models.train.autoencoder import LATENT_NOISE, encode_mean, to_tensor
from serve_app.models.train.plan import DEFAULT_SIZE, Plan
from serve_app.models.train.progress import Stage, learning_rate, step_rng, torch_rng
from serve_app.models.train.sampling import random_scene


def fresh_pictures(count: int, rng: np.random.Generator) -> Tensor:
    """Newly drawn pictures, half of their objects small."""
    scenes = [random_scene(rng, small=0.5) for _ in range(count)]
    return to_tensor(np.stack([np.asarray(draw(scene, place_objects(scene, rng), DEFAULT_SIZE)) for scene in scenes]))


def decoding_loss(model: AutoencoderKL, images: Tensor, noise: torch.Generator) -> Tensor:
    """MSE + L1 of the decoded noisy latents."""
    with torch.no_grad():
        latents = encode_mean(model, images)
    noisy = latents + LATENT_NOISE * torch.randn(latents.shape, generator=noise)
    with torch.autocast("cpu", torch.bfloat16):
        decoded: Tensor = model.decoder(model.post_quant_conv(noisy)).float()
    return (decoded - images).square().mean() + (decoded - images).abs().mean()


def train_decoder(folder: Path, plan: Plan, model: AutoencoderKL) -> Stage:
    """Train (or go on training) the decoder of a model whose latents are normalised already."""
    parts = [model.post_quant_conv, model.decoder]
    optimizer = torch.optim.AdamW(
        chain(*(part.parameters() for part in parts)), lr=plan.decoder_rate, betas=(0.9, 0.99)
    )
    states = {"post_quant_conv": parts[0], "decoder": parts[1], "optimizer": optimizer}
    stage = Stage(folder, "decoder", states)
    for step in stage.steps(plan.decoder_steps, plan.checkpoint_every):
        rng = step_rng("decoder", step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.decoder_steps, plan.decoder_rate)
        loss = decoding_loss(model, fresh_pictures(plan.whole_pictures, rng), torch_rng(rng))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(chain(*(part.parameters() for part in parts)), 1.0)
        optimizer.step()
        if (step + 1) % plan.log_every == 0:
            stage.log(loss=round(loss.item(), 5))
    return stage
