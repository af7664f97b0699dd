"""Loads any diffusers text-to-image model and draws with it: the only importer of torch and diffusers."""

import copy
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from serve_app import families
from serve_app.config import BUILTIN, ServiceConfig
from serve_app.encode import Pixels
from serve_app.errors import OutOfMemory, Refusal, StartupError, Stopped
from serve_app.jobs import ImageJob, ModelProfile
from serve_app.prompts import PromptReader, Span, widest
from serve_app.schemas import PromptWarning

BUILTIN_FOLDER = Path(__file__).parent / "models" / "shapes"

BLOCKED = Refusal(400, "content_policy_violation", "The model's safety checker refused the image.", "prompt")
NOT_A_NUMBER = Refusal(500, "generation_failed", "The model gave numbers that are no image (overflow).")
OTHER_SIZE = Refusal(500, "generation_failed", "The pipeline gave an image of another size than asked for.")


class DiffusersPainter:
    """A loaded pipeline. Not for two threads at once: schedulers keep the state of the call."""

    def __init__(self, pipe: Any, profile: ModelProfile, reader: PromptReader) -> None:
        self.profile = profile
        self._pipe = _with_guidance_per_image(pipe) if profile.guidance_varies else pipe
        self._reader = reader
        self.dtype = str(pipe.dtype).removeprefix("torch.")
        self.device = str(pipe.device)
        self._takes = set(inspect.signature(type(pipe).__call__).parameters)

    def warnings(self, job: ImageJob) -> list[PromptWarning]:
        """What of the request the model ignores."""
        found = self._reader.warnings(job.prompt)
        if job.negative_prompt and job.guidance <= 1:
            message = "The negative prompt has no effect at a guidance of 1 or less."
            found.append(PromptWarning(code="negative_prompt_ignored", message=message))
        return found

    def draw(self, jobs: Sequence[ImageJob], keep_going: Callable[[], bool]) -> list[Pixels | Refusal]:
        """A picture or a refusal per job, in order; raises OutOfMemory or Stopped."""

        def on_step_end(_pipe: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if not keep_going():
                raise Stopped
            return tensors

        if self.profile.guidance_varies:
            self._pipe.guidance_per_image = [job.guidance for job in jobs]
        arguments = self._arguments(jobs) | {"callback_on_step_end": on_step_end}
        try:
            with torch.inference_mode():
                output = self._pipe(**{name: value for name, value in arguments.items() if name in self._takes})
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise OutOfMemory from error
        flags = getattr(output, "nsfw_content_detected", None) or [False] * len(jobs)
        return [_checked(image, job, flag) for image, job, flag in zip(output.images, jobs, flags, strict=True)]

    def _arguments(self, jobs: Sequence[ImageJob]) -> dict[str, Any]:
        first = jobs[0]
        negatives = [job.negative_prompt or "" for job in jobs]
        arguments: dict[str, Any] = {
            "prompt": [job.prompt for job in jobs],
            "width": first.width,
            "height": first.height,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance,
            # On the CPU whatever the device: a seed means the same picture on every kind of GPU.
            "generator": [torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
            "output_type": "np",
        }
        return arguments | ({"negative_prompt": negatives} if any(negatives) else {})


def _checked(image: Any, job: ImageJob, blocked: bool) -> Pixels | Refusal:
    """One image of the output as pixels: never a blanked one, nor one of another size."""
    if blocked:
        return BLOCKED
    if not np.isfinite(image).all():
        return NOT_A_NUMBER
    if image.shape != (job.height, job.width, 3):
        return OTHER_SIZE
    pixels: Pixels = (np.clip(image, 0.0, 1.0) * 255).round().astype(np.uint8)
    return pixels


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _with_guidance_per_image(pipe: Any) -> Any:
    """The same pipeline, whose `guidance_scale` is a column with each image's own value.

    diffusers multiplies by it where guidance is applied, and decides whether to guide at all by the scalar given.
    """
    base = type(pipe)

    def guidance_scale(self: Any) -> torch.Tensor:
        values = torch.tensor(self.guidance_per_image, dtype=self.unet.dtype, device=self._execution_device)
        return values.reshape(-1, 1, 1, 1)

    pipe.__class__ = type(base.__name__, (base,), {"guidance_scale": property(guidance_scale)})
    return pipe


def load(config: ServiceConfig) -> DiffusersPainter:
    """Load the configured model onto its device; raises StartupError with what to do."""
    torch.set_num_threads(config.threads)
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()  # their warnings quote prompts
    device = _device(config)
    try:
        pipe = _from_pretrained(config, device)
    except (OSError, ValueError, ImportError) as error:
        raise StartupError(_why_not(config, error)) from error
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    return DiffusersPainter(pipe, _profile(config, pipe), _reader(pipe, config.model == BUILTIN))


def _from_pretrained(config: ServiceConfig, device: str) -> Any:
    source = str(BUILTIN_FOLDER) if config.model == BUILTIN else config.model
    options = _hub_options(config)
    parts = DiffusionPipeline.load_config(source, **options)
    options["dtype"] = _dtype(config, device, parts)
    if config.variant:
        options["variant"] = config.variant
    if not config.safety_checker:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    if parts["_class_name"] in families.TEXT_TO_IMAGE:
        return DiffusionPipeline.from_pretrained(source, **options)
    from diffusers import AutoPipelineForText2Image  # imports every family: seconds of a cold start

    return AutoPipelineForText2Image.from_pretrained(source, **options)


def _device(config: ServiceConfig) -> str:
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise StartupError("device is `cuda`, but torch sees no GPU: check the driver, or use `auto`.")
    return "cuda" if available and config.device != "cpu" else "cpu"


def _dtype(config: ServiceConfig, device: str, parts: dict[str, Any]) -> torch.dtype:
    if config.dtype != "auto":
        dtype: torch.dtype = getattr(torch, config.dtype)
        return dtype
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if "transformer" in parts else torch.float16


def _hub_options(config: ServiceConfig) -> dict[str, Any]:
    options: dict[str, Any] = {"local_files_only": config.local_files_only}
    if config.revision:
        options["revision"] = config.revision
    if config.hub_token_file:
        try:
            options["token"] = Path(config.hub_token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise StartupError(f"The hub's token file cannot be read: {error}.") from None
    return options


def _why_not(config: ServiceConfig, error: Exception) -> str:
    return (
        f"The model {config.model} cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0][:300]}). "
        "Check its name, the network, and for a gated model hub_token_file."
    )


def _profile(config: ServiceConfig, pipe: Any) -> ModelProfile:
    card = _service_card(config)
    denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if denoiser is None or getattr(pipe, "scheduler", None) is None:
        raise StartupError(f"{type(pipe).__name__} has no UNet or transformer with a scheduler: take another model.")
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
    folder = BUILTIN_FOLDER if config.model == BUILTIN else Path(config.model)
    path = folder / "service.json"
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return card


def _reader(pipe: Any, builtin: bool) -> PromptReader:
    names = ("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4")
    tokenizer, limit = widest(getattr(pipe, name, None) for name in names)
    return PromptReader(copy.deepcopy(tokenizer), limit, _unknown_words() if builtin else None)


def _unknown_words() -> Callable[[str], Sequence[Span]]:
    from serve_app.models.shapes_language import parse

    return lambda prompt: parse(prompt).unknown
