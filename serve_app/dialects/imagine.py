"""`GET` and `POST /imagine`: the service's own API, an image file for a prompt."""

import base64
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serve_app import front
from serve_app.jobs import MEDIA_TYPES, Picture
from serve_app.resolve import Call
from serve_app.schemas import (
    HEADER_BATCH_SIZE,
    HEADER_MODEL,
    HEADER_RECEIPT,
    HEADER_REPLICA,
    HEADER_SEED,
    HEADER_TIMINGS,
    ErrorBody,
    ImageRequest,
    Receipt,
)

router = APIRouter()

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in {
        400: "Invalid, unsupported by the model, or refused content",
        401: "No key, or an unknown one",
        404: "No such model",
        429: "This key has too many requests in flight",
        500: "The service failed",
        503: "Starting or busy: Retry-After says when to come back",
        504: "Not ready within the request's time",
    }.items()
}
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The image", "content": {media_type: {} for media_type in MEDIA_TYPES.values()}}
}
BODY_ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"model": ErrorBody, "description": "The body is too large"},
    415: {"model": ErrorBody, "description": "The body is not application/json"},
}


def _query_parameters() -> list[dict[str, Any]]:
    schema = ImageRequest.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in schema["properties"].items()
    ]


def _json_body() -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": ImageRequest.model_json_schema()}}}


@router.get(
    "/imagine",
    response_class=Response,
    responses=IMAGE | ERRORS,
    openapi_extra={"parameters": _query_parameters()},
)
async def get_imagine(request: Request) -> Response:
    """An image for a prompt in the query."""
    call = request.app.state.service.open(request)
    return await _imagine(request, front.query(request, ImageRequest), call)


@router.post(
    "/imagine",
    response_class=Response,
    responses=IMAGE | ERRORS | BODY_ERRORS,
    openapi_extra={"requestBody": _json_body()},
)
async def post_imagine(request: Request) -> Response:
    """An image for a prompt in the body, which no proxy's log keeps."""
    call = request.app.state.service.open(request)
    return await _imagine(request, await front.json_body(request, ImageRequest), call)


async def _imagine(request: Request, asked: ImageRequest, call: Call) -> Response:
    picture: Picture = await request.app.state.service.make(asked, call)
    return Response(picture.data, media_type=picture.media_type, headers=picture_headers(picture))


def picture_headers(picture: Picture) -> dict[str, str]:
    """What the response says of the image."""
    receipt = picture.receipt
    return {
        HEADER_SEED: str(receipt.seed),
        HEADER_MODEL: receipt.model.encode("ascii", "backslashreplace").decode("ascii"),
        HEADER_REPLICA: receipt.replica,
        HEADER_BATCH_SIZE: str(receipt.batch_size),
        HEADER_RECEIPT: encoded(receipt),
        HEADER_TIMINGS: ", ".join(f"{name};dur={value:.1f}" for name, value in receipt.timings_ms.items()),
    }


def encoded(receipt: Receipt) -> str:
    """The receipt as base64url JSON."""
    return base64.urlsafe_b64encode(receipt.model_dump_json().encode()).decode("ascii")
