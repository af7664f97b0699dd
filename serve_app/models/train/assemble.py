"""Puts the trained parts into one folder in diffusers' format, with the little that the service must know."""

import json
from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline

from serve_app.models.train.components import new_scheduler, new_tokenizer
from serve_app.models.train.dataset import SIZES
from serve_app.models.train.denoiser import Denoiser
from serve_app.models.train.plan import DEFAULT_SIZE

DEFAULT_STEPS = 10
DEFAULT_GUIDANCE = 1.8


def assemble(autoencoder: AutoencoderKL, denoiser: Denoiser) -> StableDiffusionPipeline:
    """The pipeline of the trained parts."""
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=denoiser.text_encoder,
        tokenizer=new_tokenizer(),
        unet=denoiser.unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write the pipeline and `service.json`: sizes (width, height) in pixels and the defaults."""
    pipeline.save_pretrained(folder)
    service = {
        "sizes": [list(size) for size in SIZES],
        "default_size": list(DEFAULT_SIZE),
        "default_steps": DEFAULT_STEPS,
        "default_guidance": DEFAULT_GUIDANCE,
    }
    (folder / "service.json").write_text(json.dumps(service, indent=2) + "\n")
