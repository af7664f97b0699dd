"""From a request and the model's abilities to one fully decided job, or a 400 or 404 that says why not."""

import re
import secrets
from dataclasses import dataclass

from serve_app.errors import Refusal, ServiceError, invalid
from serve_app.jobs import ImageJob, ModelProfile
from serve_app.schemas import MAX_SEED, Format, ImageRequest


@dataclass(frozen=True)
class Call:
    """Who asks, and what the transport says of the request; time in seconds."""

    request_id: str
    tenant: str
    timeout_s: float
    accepted_format: Format | None = None


def resolve(request: ImageRequest, profile: ModelProfile, call: Call) -> ImageJob:
    """Give the job with the model's defaults filled in and a drawn seed; raises ServiceError."""
    _check_model(request.model, profile)
    width, height = _size(request, profile)
    if request.negative_prompt and not profile.takes_negative:
        raise invalid(f"{profile.name} takes no negative prompt.", "negative_prompt", "unsupported_parameter")
    guidance = request.guidance_scale
    return ImageJob(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or None,
        width=width,
        height=height,
        steps=request.num_inference_steps or profile.default_steps,
        guidance=profile.default_guidance if guidance is None else guidance,
        seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        format=request.format or call.accepted_format or "png",
        request_id=call.request_id,
        tenant=call.tenant,
    )


def check_content(job: ImageJob, refused_words: tuple[str, ...]) -> None:
    """Raise ServiceError (400) when the prompt has a word that this service refuses."""
    words = set(re.findall(r"\w+", job.prompt.casefold()))
    if any(word.casefold() in words for word in refused_words):
        raise invalid("This service refuses a word of the prompt.", "prompt", "content_policy_violation")


def check_cost(job: ImageJob, count: int, most: int) -> None:
    """Raise ServiceError (400) when so many images are more work than one request may ask for."""
    cost = count * job.width * job.height * job.steps
    if cost > most:
        message = (
            f"{count} × {job.width}x{job.height} × {job.steps} steps is more than one request may ask for ({most})."
        )
        raise invalid(message, code="too_much_work")


def _check_model(asked: str | None, profile: ModelProfile) -> None:
    if asked is not None and asked != profile.name:
        message = f"There is no such model here; this service runs {profile.name}."
        raise ServiceError(Refusal(404, "model_not_found", message, "model"))


def _size(request: ImageRequest, profile: ModelProfile) -> tuple[int, int]:
    if request.img_size is not None:
        if request.width is not None or request.height is not None:
            raise invalid("img_size sets both width and height: give it or them.", "img_size")
        width = height = request.img_size
    else:
        width = request.width or _other_side(request.height, profile.default_height, profile.default_width)
        height = request.height or _other_side(request.width, profile.default_width, profile.default_height)
    _check_size(width, height, profile)
    return width, height


def _other_side(given: int | None, given_default: int, default: int) -> int:
    """One side named alone makes a square unless it is the default's."""
    return default if given is None or given == given_default else given


def _check_size(width: int, height: int, profile: ModelProfile) -> None:
    param = "width"
    if profile.sizes and (width, height) not in profile.sizes:
        sizes = ", ".join(f"{w}x{h}" for w, h in profile.sizes)
        raise invalid(f"{profile.name} makes {sizes} pixels, not {width}x{height}.", param, "unsupported_size")
    if width % profile.multiple or height % profile.multiple:
        message = f"{profile.name} makes multiples of {profile.multiple} pixels, not {width}x{height}."
        raise invalid(message, param, "unsupported_size")
    if width * height > profile.max_pixels:
        message = f"{width}x{height} is more than the {profile.max_pixels} pixels that this service makes."
        raise invalid(message, param, "unsupported_size")
