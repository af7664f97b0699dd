"""What is known of pipeline families by their class and configuration: pure, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PER_IMAGE_GUIDANCE = {"StableDiffusionPipeline", "StableDiffusionXLPipeline"}
TEXT_TO_IMAGE = PER_IMAGE_GUIDANCE | {"FluxPipeline", "StableDiffusion3Pipeline"}  # need no mapping to that task
EMPTY_NEGATIVE_IS_ZERO = {"StableDiffusionXLPipeline"}  # no negative prompt is not the same as an empty one

# Few-step models say so in their names only: a part of the name, steps, guidance.
DISTILLED = (
    ("z-image-turbo", 9, 0.0),
    ("large-turbo", 4, 0.0),
    ("turbo", 1, 0.0),
    ("lightning", 4, 0.0),
    ("hyper", 4, 0.0),
    ("schnell", 4, 0.0),
    ("lcm", 4, 1.0),
)


@dataclass(frozen=True)
class Defaults:
    """Steps and guidance for requests that name none."""

    steps: int
    guidance: float


def defaults(model: str, scheduler: str, signature: Mapping[str, Any], config: Mapping[str, Any]) -> Defaults:
    """The right defaults of a model: its family's, or a distilled model's own.

    `signature` holds the default arguments of the pipeline's call, `config` the denoiser's configuration.
    """
    steps = int(signature.get("num_inference_steps") or 50)
    guidance = float(signature.get("guidance_scale") or 0.0)
    if config.get("time_cond_proj_dim") is not None:  # guidance is an input of the network: an LCM
        return Defaults(4, guidance)
    if config.get("guidance_embeds") is False:  # a Flux without guidance: the timestep-distilled one
        return Defaults(4, 0.0)
    name = model.lower() + (" lcm" if scheduler == "LCMScheduler" else "")
    for part, few_steps, own_guidance in DISTILLED:
        if part in name:
            return Defaults(few_steps, own_guidance)
    return Defaults(steps, guidance)


def varies_guidance(family: str, config: Mapping[str, Any]) -> bool:
    """Whether images of one batch may have different guidance."""
    return family in PER_IMAGE_GUIDANCE and config.get("time_cond_proj_dim") is None
