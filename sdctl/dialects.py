"""How to ask for an image and read the answer: our own API's way and the OpenAI Images API's."""

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sdctl import png, receipt
from sdctl.answers import Answer
from sdctl.errors import InvalidRequest, SdctlError, Unreachable
from sdctl.receipt import Receipt
from sdctl.retry import Again
from serve_app import schemas

PILLOW_NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}


@dataclass(frozen=True)
class ImageAsk:
    """One image to ask for; None leaves a value to the service."""

    prompt: str
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    model: str | None = None
    format: str = "png"

    def fields(self) -> dict[str, Any]:
        """The fields that are not left to the service."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Picture:
    """An image as it came, checked: whole, in the format and size that were asked for."""

    data: bytes
    receipt: Receipt
    warnings: tuple[schemas.PromptWarning, ...] = ()


@dataclass(frozen=True)
class Dialect:
    """One way to speak to a service."""

    name: str
    path: str
    body: Callable[[ImageAsk], dict[str, Any]]
    image: Callable[[Answer], "bytes | Link"]
    strict: bool  # the answer must be in the asked format; else it is converted


@dataclass(frozen=True)
class Link:
    """Where an answer says its image lies."""

    url: str


def check(ask: ImageAsk) -> None:
    """Raise InvalidRequest for what our own service would refuse anyway; the prompt is not repeated."""
    from pydantic import ValidationError

    from sdctl.answers import OPTIONS

    try:
        schemas.ImageRequest.model_validate(ask.fields())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][-1]) if first["loc"] else ""
        option, problem = OPTIONS.get(name, f"--{name}"), first["msg"]
        raise InvalidRequest(
            f"{option[0].upper()}{option[1:]} is not valid: {problem[0].lower()}{problem[1:]}.",
            hint="See `sdctl imagine --help`.",
        ) from None


def detect(answer: Answer) -> str:
    """The dialect of a service by its answer to `GET /imagine` without a prompt: ours misses the prompt."""
    return "sdctl" if answer.status in (400, 422) else "openai"


def picture(dialect: Dialect, ask: ImageAsk, data: bytes, answer: Answer) -> Picture:
    """Check the image and join it with what the headers and the request say about its making.

    Raises Again for a cut image, SdctlError for one that is not what was asked for.
    """
    width, height, kind = _measured(data)
    wanted = (ask.width or width, ask.height or height)
    if (width, height) != wanted:
        raise SdctlError(
            f"The service made {width}x{height} though {wanted[0]}x{wanted[1]} was asked for; nothing was saved.",
            hint="Its model may know only some sizes: leave --size out.",
            code="wrong_image",
        )
    if kind != ask.format:
        if dialect.strict:
            raise SdctlError(f"The service answered with {kind} though {ask.format} was asked for.", code="wrong_image")
        data = _converted(data, ask.format)
    document = receipt.from_header(answer.headers.get(schemas.HEADER_RECEIPT.lower(), ""))
    warnings = tuple(_warning(each) for each in document.get("warnings", []) if isinstance(each, dict))
    return Picture(data, _receipt(ask, answer, document, (width, height)), warnings)


def _receipt(ask: ImageAsk, answer: Answer, document: Mapping[str, Any], size: tuple[int, int]) -> Receipt:
    first = _first_image(answer)
    known = {
        "width": size[0],
        "height": size[1],
        "num_inference_steps": ask.num_inference_steps,
        "guidance_scale": ask.guidance_scale,
        "seed": first.get("seed", ask.seed),
        "model": answer.headers.get(schemas.HEADER_MODEL.lower(), ask.model),
        "replica": answer.headers.get(schemas.HEADER_REPLICA.lower()),
        "request_id": answer.headers.get(schemas.HEADER_REQUEST_ID.lower()),
        **document,
    }
    return receipt.from_json({**known, "prompt": ask.prompt, "negative_prompt": ask.negative_prompt})


def _warning(document: Mapping[str, Any]) -> schemas.PromptWarning:
    spans = [tuple(span) for span in document.get("spans", []) if isinstance(span, list) and len(span) == 2]
    return schemas.PromptWarning.model_construct(
        code=str(document.get("code", "")), message=str(document.get("message", "")), spans=spans
    )


def _measured(data: bytes) -> tuple[int, int, str]:
    """Width, height and format of an image that decodes to its last pixel."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = {value: key for key, value in PILLOW_NAMES.items()}.get(image.format or "", image.format or "")
            image.load()
            width, height = image.size
    except UnidentifiedImageError:
        raise SdctlError("The service's answer is no image; nothing was saved.", code="wrong_image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _cut(str(error)) from None
    if kind == "png" and not png.is_whole(data):
        raise _cut("its end is missing")
    return width, height, kind


def _cut(reason: str) -> Again:
    damaged = Unreachable(f"The image arrived damaged: {reason}.", hint="Try again; nothing was saved.", code="damaged")
    return Again(damaged, reason="sent a damaged image", most=6)


def _converted(data: bytes, kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").save(buffer, PILLOW_NAMES[kind], **({} if kind == "png" else {"quality": 95}))
    return buffer.getvalue()


def _sdctl_image(answer: Answer) -> bytes:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/"):
        raise SdctlError(
            f"The service answered with {kind or 'nothing named'} instead of an image; nothing was saved.",
            hint="Check that the URL is the service's, and --dialect.",
            code="wrong_image",
        )
    return answer.body


def _openai_body(ask: ImageAsk) -> dict[str, Any]:
    size = {"size": f"{ask.width}x{ask.height}"} if ask.width and ask.height else {}
    kind = {"output_format": ask.format} if ask.format != "png" else {}
    rest = {key: value for key, value in ask.fields().items() if key not in ("width", "height", "format")}
    return {**rest, **size, **kind, "n": 1, "response_format": "b64_json"}


def _openai_image(answer: Answer) -> bytes | Link:
    first = _first_image(answer)
    if isinstance(text := first.get("b64_json"), str):
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise _cut("its base64 is broken") from None
    if isinstance(url := first.get("url"), str):
        return Link(url)
    raise SdctlError(
        "The service's answer holds no image; nothing was saved.",
        hint="Check that the URL is an OpenAI Images API, and --dialect.",
        code="wrong_image",
    )


def _first_image(answer: Answer) -> dict[str, Any]:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return {}
    document = answer.json()
    images = document.get("data") if isinstance(document, dict) else None
    return images[0] if isinstance(images, list) and images and isinstance(images[0], dict) else {}


DIALECTS = {
    "sdctl": Dialect("sdctl", "/imagine", ImageAsk.fields, _sdctl_image, strict=True),
    "openai": Dialect("openai", "/v1/images/generations", _openai_body, _openai_image, strict=False),
}
