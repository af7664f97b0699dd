"""Loads any diffusers text-to-image model and draws with it: the only importer of torch and diffusers."""

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.utils import logging as transformers_logging

from serve_app import families, hub
from serve_app.config import ServiceConfig
from serve_app.embeddings import EmbeddingCache, Row
from serve_app.encode import Pixels
from serve_app.errors import OutOfMemory, Refusal, StartupError, Stopped
from serve_app.jobs import ImageJob, ModelProfile
from serve_app.memory import HostMemory, Memory
from serve_app.model_profile import denoiser_of, profile_of, reader_of
from serve_app.outcome import checked
from serve_app.prompts import PromptReader
from serve_app.schemas import PromptWarning


class DiffusersPainter:
    """A loaded pipeline. Not for two threads at once: schedulers keep the state of the call.

    `observe` takes measurements by name: `step_ms` a call, `embedding_hits` and `embedding_misses` in prompts.
    """

    def __init__(self, pipe: Any, profile: ModelProfile, reader: PromptReader, config: ServiceConfig) -> None:
        self.profile = profile
        self._pipe = _with_guidance_per_image(pipe) if profile.guidance_varies else pipe
        self._reader = reader
        self.dtype = str(pipe.dtype).removeprefix("torch.")
        self.device = str(pipe.device)
        self._guidance_dtype = pipe.unet.dtype if profile.guidance_varies else None  # asking walks all parameters
        self.observe: Callable[[str, float], None] = lambda _name, _value: None
        self._takes = set(inspect.signature(type(pipe).__call__).parameters)
        self._encodes = families.EMBEDDINGS.get(profile.family, {}) if config.embedding_cache_mb else {}
        self._embeddings = EmbeddingCache(config.embedding_cache_mb * 2**20)
        self._plain_attention = config.attention == "math"
        self._compiled = config.compile != "off"
        self._stance = "eager_on_recompile"  # a request never waits for the compiler

    def warnings(self, job: ImageJob) -> list[PromptWarning]:
        """What of the request the model ignores."""
        found = self._reader.warnings(job.prompt)
        if job.negative_prompt and job.guidance <= 1:
            message = "The negative prompt has no effect at a guidance of 1 or less."
            found.append(PromptWarning(code="negative_prompt_ignored", message=message))
        return found

    def draw(self, jobs: Sequence[ImageJob], keep_going: Callable[[], bool]) -> list[Pixels | Refusal]:
        """A picture or a refusal per job, in order; raises OutOfMemory or Stopped."""
        steps: list[float] = []
        on_gpu = self.device.startswith("cuda")  # known: the pipeline would look through its parts at every step

        def on_step_end(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if not keep_going():
                raise Stopped
            if on_gpu and step + 1 == getattr(pipe, "num_timesteps", None):
                torch.cuda.synchronize()  # once a call: steps are only queued until then, and their time is not known
            steps.append(time.monotonic())
            return tensors

        try:
            with torch.inference_mode(), self._options():
                arguments = self._arguments(jobs) | {"callback_on_step_end": on_step_end}
                started = time.monotonic()
                output = self._pipe(**{name: value for name, value in arguments.items() if name in self._takes})
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise OutOfMemory from error
        if steps:
            self.observe("step_ms", (steps[-1] - started) * 1000 / len(steps))
        flags = getattr(output, "nsfw_content_detected", None) or [False] * len(jobs)
        return [checked(image, job, flag) for image, job, flag in zip(output.images, jobs, flags, strict=True)]

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """What is drawn inside the block is compiled for later calls of its kind."""
        self._stance = "default"
        try:
            yield
        finally:
            self._stance = "eager_on_recompile"

    def memory(self, limit: int | None) -> Memory:
        """The memory that its calls take, within a limit in bytes if there is one."""
        return _CudaMemory(limit) if self.device.startswith("cuda") else HostMemory(limit)

    @contextmanager
    def _options(self) -> Iterator[None]:
        stance = torch.compiler.set_stance(self._stance) if self._compiled else nullcontext()
        with stance, sdpa_kernel(SDPBackend.MATH) if self._plain_attention else nullcontext():
            yield

    def _arguments(self, jobs: Sequence[ImageJob]) -> dict[str, Any]:
        first = jobs[0]
        if self.profile.guidance_varies:
            values = torch.tensor([job.guidance for job in jobs], dtype=self._guidance_dtype, device=self.device)
            self._pipe.guidance_column = values.reshape(-1, 1, 1, 1)
        prompts = [job.prompt for job in jobs]
        negatives = [job.negative_prompt or "" for job in jobs]
        arguments: dict[str, Any] = {
            "width": first.width,
            "height": first.height,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance,
            # On the CPU whatever the device: a seed means the same picture on every kind of GPU.
            "generator": [torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
            "output_type": "np",
        }
        if not self._encodes:
            return arguments | {"prompt": prompts} | ({"negative_prompt": negatives} if any(negatives) else {})
        needs_negatives = any(negatives) or not self.profile.negative_splits
        if first.guidance <= 1 or not self.profile.takes_negative or not needs_negatives:
            negatives = []  # none are used, or the pipeline takes zeros in their place
        rows, misses = self._embeddings.rows([*prompts, *negatives], self._encode)
        self.observe("embedding_misses", misses)
        self.observe("embedding_hits", len(rows) - misses)
        count = len(prompts)
        for number, name in enumerate(self._encodes.values()):
            tensors = [row[number] for row in rows]
            arguments[name] = torch.cat(tensors[:count])
            if negatives:
                arguments[f"negative_{name}"] = torch.cat(tensors[count:])
        return arguments

    def _encode(self, prompts: list[str]) -> list[Row]:
        """What the pipeline's own text encoders make of each prompt."""
        options = {"device": self._pipe.device, "num_images_per_prompt": 1}
        if self.profile.takes_negative:
            options["do_classifier_free_guidance"] = False
        found = self._pipe.encode_prompt(prompt=prompts, **options)
        wanted = [found[place] for place in self._encodes]
        # Clones, as a slice would keep the whole batch's memory.
        return [tuple(tensor[row : row + 1].clone() for tensor in wanted) for row in range(len(prompts))]


class _CudaMemory:
    """The current GPU's memory, as torch's allocator sees it."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit

    def free(self) -> int:
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        return int(free if self._limit is None else min(free, self._limit - torch.cuda.memory_allocated()))

    def peak(self, call: Callable[[], object]) -> int:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return int(torch.cuda.max_memory_allocated() - before)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _with_guidance_per_image(pipe: Any) -> Any:
    """The same pipeline, whose `guidance_scale` is a column with each image's own value.

    diffusers multiplies by it where guidance is applied, and decides whether to guide at all by the scalar given.
    """
    base = type(pipe)

    def guidance_scale(self: Any) -> Any:
        return self.guidance_column  # made once a call: the pipeline asks at every step

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
        raise StartupError(hub.why_not(config, error)) from error
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    profile = profile_of(config, pipe)
    _rebuild(pipe, config)
    return DiffusersPainter(pipe, profile, reader_of(config, pipe), config)


def _rebuild(pipe: Any, config: ServiceConfig) -> None:
    """Apply the options that change the networks themselves; raises StartupError where a model has no such thing."""
    denoiser = denoiser_of(pipe)
    try:
        if config.fuse_qkv:
            denoiser.fuse_qkv_projections()
        if config.channels_last:
            for network in (denoiser, pipe.vae):
                network.to(memory_format=torch.channels_last)
        if config.compile == "regional":
            torch._dynamo.config.recompile_limit = 256  # every width of a block counts as one
            denoiser.compile_repeated_blocks(dynamic=True)
    except (AttributeError, ValueError) as error:
        words = f"{type(denoiser).__name__} does not take fuse_qkv, channels_last or compile as asked: {error}"
        raise StartupError(f"{words.splitlines()[0]}. Switch the option off.") from error


def _from_pretrained(config: ServiceConfig, device: str) -> Any:
    source, options = hub.source(config), hub.options(config)
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
