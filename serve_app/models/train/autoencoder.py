"""Trains the autoencoder: pictures of 8 × 8 times fewer cells, their channels normalised."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from serve_app.models.drawing import draw, place_objects
from serve_app.models.train.plan import DEFAULT_SIZE, LATENT_CHANNELS, LATENT_SCALE, Plan
from serve_app.models.train.progress import Stage, learning_rate, step_rng, torch_rng
from serve_app.models.train.sampling import random_scene

LATENT_NOISE = 0.1  # makes the decoder forgive what the denoiser gets slightly wrong
LATENT_WEIGHT = 5e-4  # keeps the latents from growing out of that noise
NEGLIGIBLE_LOG_VARIANCE = -20.0


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder of the shipped architecture."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(16, 32, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=DEFAULT_SIZE[0],
        scaling_factor=1.0,
    )


def to_tensor(pictures: np.ndarray) -> Tensor:
    """N × height × width × 3 bytes as N × 3 × height × width in −1…1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def drawings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures, half of their objects small, and a point near the middle of an object of each."""
    rng = step_rng("drawings", 0)
    pictures = np.empty((count, DEFAULT_SIZE[1], DEFAULT_SIZE[0], 3), np.uint8)
    points = np.full((count, 2), 0.5)
    for i in range(count):
        scene = random_scene(rng, small=0.5)
        spots = place_objects(scene, rng)
        pictures[i] = np.asarray(draw(scene, spots, DEFAULT_SIZE))
        if spots:
            spot = spots[int(rng.integers(len(spots)))]
            points[i] = spot.x, spot.y
    return pictures, points


def crop(picture: np.ndarray, point: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A square part of the picture around the point, moved by up to half its side, aligned to latent cells."""
    corner = point * DEFAULT_SIZE - side / 2 + rng.uniform(-0.5, 0.5, 2) * side
    cells = np.clip(np.round(corner / LATENT_SCALE), 0, (np.array(DEFAULT_SIZE) - side) // LATENT_SCALE)
    x, y = (cells * LATENT_SCALE).astype(int)
    return picture[y : y + side, x : x + side]


def encode_mean(model: AutoencoderKL, images: Tensor) -> Tensor:
    """The latents' means; their variance is not used anywhere."""
    moments: Tensor = model.quant_conv(model.encoder(images))
    return moments[:, :LATENT_CHANNELS]


def loss_of(model: AutoencoderKL, images: Tensor, noise: torch.Generator) -> Tensor:
    """How far the decoded latents are from the images: MSE + 0.3 L1, plus a weight on the latents' size."""
    with torch.autocast("cpu", torch.bfloat16):
        latents = encode_mean(model, images).float()
        noisy = latents + LATENT_NOISE * torch.randn(latents.shape, generator=noise)
        decoded = model.decoder(model.post_quant_conv(noisy)).float()
    difference = decoded - images
    reconstruction: Tensor = difference.square().mean() + 0.3 * difference.abs().mean()
    return reconstruction + LATENT_WEIGHT * latents.square().mean()


def train_autoencoder(folder: Path, plan: Plan) -> tuple[AutoencoderKL, Stage]:
    """Train (or go on training) in `folder`; gives the model with unnormalised latents, and its stage."""
    model = new_autoencoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.autoencoder_rate, betas=(0.9, 0.99))
    stage = Stage(folder, "autoencoder", {"model": model, "optimizer": optimizer})
    if stage.step >= plan.autoencoder_steps:
        return model.eval(), stage
    pictures, points = drawings(plan.drawings)
    for step in stage.steps(plan.autoencoder_steps, plan.checkpoint_every):
        rng = step_rng("autoencoder", step)
        if step < plan.autoencoder_steps * 0.8:
            chosen = rng.integers(plan.drawings, size=plan.crops)
            images = np.stack([crop(pictures[i], points[i], plan.crop, rng) for i in chosen])
        else:
            images = pictures[rng.integers(plan.drawings, size=plan.whole_pictures)]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.autoencoder_steps, plan.autoencoder_rate)
        loss = loss_of(model, to_tensor(images), torch_rng(rng))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % plan.log_every == 0:
            stage.log(loss=round(loss.item(), 5))
    return model.eval(), stage


@torch.no_grad()
def normalise_latents(model: AutoencoderKL, pictures: np.ndarray) -> None:
    """Fold each latent channel's mean and deviation into the 1 × 1 convolutions, so that latents have mean 0 and
    deviation 1 and the pipeline needs no scaling factor; the variance that is never used becomes negligible."""
    latents = torch.cat(
        [encode_mean(model, to_tensor(part)) for part in np.array_split(pictures, -(-len(pictures) // 16))]
    )
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    quant, post = model.quant_conv, model.post_quant_conv
    post.bias += functional.conv2d(mean.view(1, -1, 1, 1), post.weight).flatten()
    post.weight *= deviation.view(1, -1, 1, 1)
    quant.weight[:LATENT_CHANNELS] /= deviation.view(-1, 1, 1, 1)
    quant.bias[:LATENT_CHANNELS] = (quant.bias[:LATENT_CHANNELS] - mean) / deviation
    quant.weight[LATENT_CHANNELS:] = 0
    quant.bias[LATENT_CHANNELS:] = NEGLIGIBLE_LOG_VARIANCE
