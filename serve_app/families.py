"""What is known of pipeline families by their class and configuration: pure, no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PER_IMAGE_GUIDANCE = {"StableDiffusionPipeline", "StableDiffusionXLPipeline"}
TEXT_TO_IMAGE = PER_IMAGE_GUIDANCE | {"FluxPipeline", "StableDiffusion3Pipeline"}  # need no mapping to that task
EMPTY_NEGATIVE_IS_ZERO = {"StableDiffusionXLPipeline"}  # no negative prompt is not the same as an empty one

# What `encode_prompt` gives of each prompt: the place in its answer, and the name of the argument that takes it back.
EMBEDDINGS = {
    "StableDiffusionPipeline": {0: "prompt_embeds"},
    "StableDiffusionXLPipeline": {0: "prompt_embeds", 2: "pooled_prompt_embeds"},
    "FluxPipeline": {0: "prompt_embeds", 1: "pooled_prompt_embeds"},
}

# Few-step models say so in their names only: a pattern of the name, steps, guidance.
DISTILLED = (
    (r"z-image-turbo", 9, 0.0),
    (r"(large|medium)-turbo", 4, 0.0),
    (r"turbo", 1, 0.0),
    (r"lightning", 4, 0.0),
    (r"(?<![a-z])hyper(-?sd(xl|15)?)?(?![a-z])", 4, 0.0),  # not "hyperrealistic"
    (r"schnell", 4, 0.0),
    (r"(?<![a-z])lcm(?![a-z])", 4, 1.0),
)
STEPS_IN_NAME = re.compile(r"(?<!\d)(\d{1,2})[-_]?steps?(?![a-z])")


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
    name = _name(model) + (" lcm" if scheduler == "LCMScheduler" else "")
    if config.get("guidance_embeds") is False and "base" not in name:  # a Flux whose guidance was distilled away
        return Defaults(4, 0.0)
    for pattern, few_steps, own_guidance in DISTILLED:
        if re.search(pattern, name):
            named = STEPS_IN_NAME.search(name)
            return Defaults(int(named[1]) if named and int(named[1]) else few_steps, own_guidance)
    return Defaults(steps, guidance)


def _name(model: str) -> str:
    """A model's own name, without its owner and the folders around it; a hub's cache keeps it one level up."""
    parts = model.lower().replace("\\", "/").rstrip("/").split("/")
    return next((part for part in parts if part.startswith("models--")), parts[-1])


def varies_guidance(family: str, config: Mapping[str, Any]) -> bool:
    """Whether images of one batch may have different guidance."""
    return family in PER_IMAGE_GUIDANCE and config.get("time_cond_proj_dim") is None
