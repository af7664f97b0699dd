"""The OpenAI Images API: `POST /v1/images/generations` and `/v1/models`."""

import base64
import re
import time
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serve_app import documents, front
from serve_app.dialects.imagine import DOWNLOAD, as_download, image_response, picture_headers
from serve_app.errors import Refusal, ServiceError, errors_that_name, invalid
from serve_app.jobs import Picture
from serve_app.schemas import Format, ImageRequest, SharedFields

router = APIRouter(prefix="/v1")

EXAMPLE = {"prompt": "a red star on a blue background", "n": 2, "response_format": "b64_json"}
SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
OWN_WORDS = {"width": "size", "height": "size", "format": "output_format"}  # what errors call our fields here


class ImagesRequest(SharedFields):
    """OpenAI's fields, and the usual names for what it lacks; only values that this service honours."""

    n: int | None = Field(default=None, ge=1, le=10)
    size: str | None = Field(default=None, description="WIDTHxHEIGHT that the model makes, or auto")
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Format | None = None
    user: str | None = Field(default=None, description="taken and not used")
    safety_identifier: str | None = Field(default=None, description="taken and not used")
    quality: Literal["auto", "standard"] | None = None
    background: Literal["auto", "opaque"] | None = None
    moderation: Literal["auto"] | None = None
    stream: Literal[False] | None = None


class ImageData(BaseModel):
    """One image of the answer, and what made it."""

    b64_json: str | None = None
    url: str | None = None
    seed: int
    timings_ms: dict[str, float]
    warnings: list[dict[str, Any]] = []


class ImagesResponse(BaseModel):
    """The answer."""

    created: int
    data: list[ImageData]
    size: str
    output_format: Format


@router.post(
    "/images/generations",
    response_model=ImagesResponse,
    responses=documents.BODY_ERRORS | {200: {"headers": documents.HEADERS, "content": documents.IMAGE_BYTES}},
    openapi_extra=documents.drawing(documents.json_body(ImagesRequest, EXAMPLE)),
)
async def generate(request: Request) -> Response:
    """One to ten images for a prompt, whose seeds count on from the given one.

    A single image comes as a file when the Accept header asks for `image/*`.
    """
    service = request.app.state.service
    call = service.open(request)
    asked = await front.json_body(request, ImagesRequest)
    count = asked.n or 1
    with errors_that_name(OWN_WORDS):
        pictures = await service.make(_translated(asked), call, count)
    if call.accepted_format and count == 1:
        return image_response(pictures[0])
    receipt = pictures[0].receipt
    answer = ImagesResponse(
        created=int(time.time()),
        data=[_data(request, picture, asked.response_format) for picture in pictures],
        size=f"{receipt.width}x{receipt.height}",
        output_format=pictures[0].format,
    )
    headers = picture_headers(pictures[0]) if count == 1 else {}
    return JSONResponse(answer.model_dump(exclude_none=True), headers=headers)


def _translated(asked: ImagesRequest) -> ImageRequest:
    """The same wish in the service's own words, checked by the service's own limits."""
    values = asked.shared() | {"format": asked.output_format}
    if asked.size not in (None, "auto"):
        match = SIZE.fullmatch(asked.size or "")
        if match is None:
            raise invalid("size is WIDTHxHEIGHT or auto.", "size")
        values |= {"width": int(match[1]), "height": int(match[2])}
    return front.validated(ImageRequest, values)


def _data(request: Request, picture: Picture, response_format: str | None) -> ImageData:
    receipt = picture.receipt
    data = ImageData(
        seed=receipt.seed,
        timings_ms=receipt.timings_ms,
        warnings=[warning.model_dump() for warning in receipt.warnings],
    )
    if response_format == "url":
        data.url = _link(request, request.app.state.service.links.keep(picture))
    else:
        data.b64_json = base64.b64encode(picture.data).decode("ascii")
    return data


class LinkQuery(BaseModel):
    """What the query of a link may say."""

    model_config = ConfigDict(extra="forbid")

    download: bool = Field(default=False, description=DOWNLOAD)


def _link(request: Request, name: str) -> str:
    """The picture's address as the caller sees this service: over TLS where a load balancer says so."""
    url = request.url_for("kept_image", name=name)
    scheme = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    return str(url.replace(scheme=scheme) if scheme in ("http", "https") else url)


@router.get(
    "/images/kept/{name}",
    name="kept_image",
    response_class=Response,
    responses=documents.IMAGE | documents.GONE,
    openapi_extra=documents.query_parameters(LinkQuery),
)
async def kept_image(request: Request, name: str) -> Response:
    """An image by the link that an answer gave; its signature is the permission, for ten minutes."""
    asked = front.query(request, LinkQuery)
    picture = request.app.state.service.links.get(name)
    if picture is None:
        raise ServiceError(Refusal(404, "not_found", "There is no such image, or no longer."))
    response = Response(picture.data, media_type=picture.media_type)
    return as_download(response) if asked.download else response


class Model(BaseModel):
    """A model as OpenAI lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "sdctl"


class ModelList(BaseModel):
    """All models of this service: one."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models", response_model=ModelList, responses=documents.KEY_ERRORS)
async def list_models(request: Request) -> ModelList:
    """The model that this service runs."""
    request.app.state.service.open(request)
    return ModelList(data=[_model(request)])


@router.get("/models/{model_id:path}", response_model=Model, responses=documents.KEY_ERRORS | documents.MISSING)
async def get_model(request: Request, model_id: str) -> Model:
    """The model of this name."""
    request.app.state.service.open(request)
    model = _model(request)
    if model.id != model_id:
        raise ServiceError(Refusal(404, "model_not_found", f"This service runs {model.id} only.", "model"))
    return model


def _model(request: Request) -> Model:
    gateway = request.app.state.service.gateway
    return Model(id=gateway.profile.name, created=gateway.since)
