"""What a loaded pipeline can do, read from its class and configuration; pure of torch."""

import copy
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serve_app import families, hub
from serve_app.config import BUILTIN, ServiceConfig
from serve_app.errors import StartupError
from serve_app.jobs import ModelProfile
from serve_app.prompts import PromptReader, Span, widest


def denoiser_of(pipe: Any) -> Any:
    """The network that runs once a step; raises StartupError for a pipeline without one."""
    denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if denoiser is None or getattr(pipe, "scheduler", None) is None:
        raise StartupError(f"{type(pipe).__name__} has no UNet or transformer with a scheduler: take another model.")
    return denoiser


def profile_of(config: ServiceConfig, pipe: Any) -> ModelProfile:
    """The model's abilities and defaults; the configuration's own go first."""
    card = _service_card(config)
    denoiser = denoiser_of(pipe)
    family, scheduler = type(pipe).__name__, type(pipe.scheduler).__name__
    parameters = inspect.signature(type(pipe).__call__).parameters
    signature = {name: parameter.default for name, parameter in parameters.items()}
    known = families.defaults(config.model, scheduler, signature, denoiser.config)
    multiple = _scale(pipe) * (2 if hasattr(pipe, "transformer") else 1)
    width, height = card.get("default_size") or _native_size(pipe, denoiser)
    guidance = card.get("default_guidance", known.guidance)
    takes_negative = "negative_prompt" in parameters and "true_cfg_scale" not in parameters
    return ModelProfile(
        name=config.model,
        revision=config.revision,
        family=family,
        scheduler=scheduler,
        default_width=config.default_width or width,
        default_height=config.default_height or height,
        default_steps=config.default_steps or card.get("default_steps", known.steps),
        default_guidance=guidance if config.default_guidance is None else config.default_guidance,
        multiple=max(8, multiple),
        sizes=tuple((w, h) for w, h in card.get("sizes", ())),
        max_pixels=config.max_pixels,
        takes_negative=takes_negative,
        negative_splits=family in families.EMPTY_NEGATIVE_IS_ZERO,
        guidance_varies=families.varies_guidance(family, denoiser.config),
    )


def _native_size(pipe: Any, denoiser: Any) -> tuple[int, int]:
    """The size that the model was trained for, in pixels."""
    sample: Any = getattr(denoiser.config, "sample_size", None) or getattr(pipe, "default_sample_size", 64)
    height, width = (sample, sample) if isinstance(sample, int) else (sample[0], sample[1])
    return width * _scale(pipe), height * _scale(pipe)


def _scale(pipe: Any) -> int:
    """Pixels per latent."""
    return int(getattr(pipe, "vae_scale_factor", 8))


def _service_card(config: ServiceConfig) -> dict[str, Any]:
    """What a model's folder says for the service: sizes and defaults; empty for models without it."""
    path = Path(hub.source(config)) / "service.json"
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return card


def reader_of(config: ServiceConfig, pipe: Any) -> PromptReader:
    """What knows how much of a prompt this model reads."""
    names = ("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4")
    tokenizer, limit = widest(getattr(pipe, name, None) for name in names)
    return PromptReader(copy.deepcopy(tokenizer), limit, _unknown_words() if config.model == BUILTIN else None)


def _unknown_words() -> Callable[[str], Sequence[Span]]:
    from serve_app.models.shapes_language import parse

    return lambda prompt: parse(prompt).unknown
