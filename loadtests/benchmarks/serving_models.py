"""Pipelines of published architectures with random weights: their speed is the real one, their pictures are noise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from serve_app.models.prompts import SHAPES_FOLDER

TOKENS = 77


@dataclass(frozen=True)
class Sizes:
    """What differs between an architecture and its tiny likeness."""

    channels: tuple[int, ...]  # the UNet's levels
    layers: int  # the UNet's residual blocks a level
    transformers: tuple[int, ...]  # depth of attention a level; 0: none
    heads: tuple[int, ...]
    groups: int
    vae: tuple[int, ...]
    vae_layers: int
    text: tuple[int, int]  # width and layers of the text encoder, or of the first of two
    text_2: tuple[int, int] = (0, 0)
    time_ids: int = 256


SD21 = Sizes((320, 640, 1280, 1280), 2, (1, 1, 1, 0), (5, 10, 20, 20), 32, (128, 256, 512, 512), 2, (1024, 23))
SDXL = Sizes((320, 640, 1280), 2, (0, 2, 10), (5, 10, 20), 32, (128, 256, 512, 512), 2, (768, 12), (1280, 32))
TINY_SD21 = Sizes((8, 16), 1, (1, 0), (2, 2), 2, (4, 8, 8, 8), 1, (32, 2))
TINY_SDXL = Sizes((8, 16), 1, (0, 1), (2, 2), 2, (4, 8, 8, 8), 1, (32, 2), (32, 2), 8)


def tokenizer() -> Any:
    """The built-in model's words, in prompts as long as CLIP's: how many words there are does not change the speed."""
    known = AutoTokenizer.from_pretrained(SHAPES_FOLDER / "tokenizer")
    known.model_max_length = TOKENS
    return known


def _text(words: Any, width: int, layers: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words),
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=max(2, width // 64),
        num_hidden_layers=layers,
        max_position_embeddings=TOKENS,
        projection_dim=width,
        hidden_act=activation,
    )


def _vae(sizes: Sizes) -> AutoencoderKL:
    count = len(sizes.vae)
    return AutoencoderKL(
        block_out_channels=sizes.vae,
        down_block_types=("DownEncoderBlock2D",) * count,
        up_block_types=("UpDecoderBlock2D",) * count,
        layers_per_block=sizes.vae_layers,
        latent_channels=4,
        norm_num_groups=sizes.groups,
        force_upcast=False,  # the upcast belongs to weights that overflow, not to the architecture
    )


def _unet(sizes: Sizes, side: int, **more: Any) -> UNet2DConditionModel:
    down = tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in sizes.transformers)
    up = tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(sizes.transformers))
    return UNet2DConditionModel(
        sample_size=side,
        block_out_channels=sizes.channels,
        layers_per_block=sizes.layers,
        down_block_types=down,
        up_block_types=up,
        transformer_layers_per_block=tuple(max(1, depth) for depth in sizes.transformers),
        attention_head_dim=sizes.heads,
        use_linear_projection=True,
        norm_num_groups=sizes.groups,
        **more,
    )


def _scheduler() -> EulerDiscreteScheduler:
    with torch.device("cpu"):  # it computes its tables with numpy
        return EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)


def stable_diffusion_21(sizes: Sizes, pixels: int) -> StableDiffusionPipeline:
    """SD 2.1's shape."""
    words = tokenizer()
    return StableDiffusionPipeline(
        vae=_vae(sizes),
        text_encoder=CLIPTextModel(_text(words, *sizes.text, "gelu")),
        tokenizer=words,
        unet=_unet(sizes, pixels // 8, cross_attention_dim=sizes.text[0]),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(sizes: Sizes, pixels: int) -> StableDiffusionXLPipeline:
    """SDXL's shape."""
    words = tokenizer()
    width, width_2 = sizes.text[0], sizes.text_2[0]
    return StableDiffusionXLPipeline(
        vae=_vae(sizes),
        text_encoder=CLIPTextModel(_text(words, *sizes.text, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(_text(words, *sizes.text_2, "gelu")),
        tokenizer=words,
        tokenizer_2=words,
        unet=_unet(
            sizes,
            pixels // 8,
            cross_attention_dim=width + width_2,
            addition_embed_type="text_time",
            addition_time_embed_dim=sizes.time_ids,
            projection_class_embeddings_input_dim=width_2 + 6 * sizes.time_ids,
        ),
        scheduler=_scheduler(),
    )


@dataclass(frozen=True)
class Architecture:
    """A pipeline that can be built, and the sizes to measure."""

    name: str
    build: Callable[[], Any]
    sides: tuple[int, ...]


def architectures(*, tiny: bool) -> tuple[Architecture, ...]:
    """Both architectures, or their likenesses that a CPU runs in a moment."""
    if tiny:
        return (
            Architecture("tiny SD 2.1", lambda: stable_diffusion_21(TINY_SD21, 64), (64, 128)),
            Architecture("tiny SDXL", lambda: stable_diffusion_xl(TINY_SDXL, 64), (64, 128)),
        )
    return (
        Architecture("SD 2.1", lambda: stable_diffusion_21(SD21, 512), (512, 1024)),
        Architecture("SDXL", lambda: stable_diffusion_xl(SDXL, 1024), (512, 1024)),
    )


def save(architecture: Architecture, folder: Path, device: str, dtype: str) -> None:
    """Build it with the same random weights everywhere, and keep it in diffusers' format."""
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            pipeline = architecture.build()
    finally:
        torch.set_default_dtype(usual)
    pipeline.save_pretrained(folder)
    del pipeline
    if device == "cuda":
        torch.cuda.empty_cache()  # what is measured needs it
