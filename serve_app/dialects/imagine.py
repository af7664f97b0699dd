"""`GET` and `POST /imagine`: the service's own API, an image file for a prompt."""

import base64

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from serve_app import documents, front
from serve_app.jobs import Picture
from serve_app.resolve import Call
from serve_app.schemas import (
    HEADER_BATCH_SIZE,
    HEADER_MODEL,
    HEADER_RECEIPT,
    HEADER_REPLICA,
    HEADER_SEED,
    HEADER_TIMINGS,
    ImageRequest,
    Receipt,
)

router = APIRouter()

EXAMPLE = {"prompt": "a red star on a blue background", "seed": 7}
DOWNLOAD = "let a browser save the image instead of showing it"


class ImagineQuery(ImageRequest):
    """What the query of a link may say."""

    download: bool = Field(default=False, description=DOWNLOAD)


@router.get(
    "/imagine",
    response_class=Response,
    responses=documents.IMAGE_AND_RECEIPT | documents.ERRORS,
    openapi_extra=documents.drawing(documents.query_parameters(ImagineQuery, EXAMPLE)),
)
async def get_imagine(request: Request) -> Response:
    """An image for a prompt in the query."""
    call = request.app.state.service.open(request)
    asked = front.query(request, ImagineQuery)
    response = await _imagine(request, asked, call)
    return as_download(response) if asked.download else response


@router.post(
    "/imagine",
    response_class=Response,
    responses=documents.IMAGE_AND_RECEIPT | documents.BODY_ERRORS,
    openapi_extra=documents.drawing(documents.json_body(ImageRequest, EXAMPLE)),
)
async def post_imagine(request: Request) -> Response:
    """An image for a prompt in the body, which no proxy's log keeps."""
    call = request.app.state.service.open(request)
    return await _imagine(request, await front.json_body(request, ImageRequest), call)


async def _imagine(request: Request, asked: ImageRequest, call: Call) -> Response:
    (picture,) = await request.app.state.service.make(asked, call)
    return image_response(picture)


def image_response(picture: Picture) -> Response:
    """The image's bytes and, in headers, what made them."""
    return Response(picture.data, media_type=picture.media_type, headers=picture_headers(picture))


def as_download(response: Response) -> Response:
    """The image as a file to save."""
    extension = str(response.media_type).rpartition("/")[2]
    response.headers["Content-Disposition"] = f'attachment; filename="image.{extension}"'
    return response


def picture_headers(picture: Picture) -> dict[str, str]:
    """What a response says of its image."""
    receipt = picture.receipt
    return {
        HEADER_SEED: str(receipt.seed),
        HEADER_MODEL: receipt.model.encode("ascii", "backslashreplace").decode("ascii"),
        HEADER_REPLICA: receipt.replica,
        HEADER_BATCH_SIZE: str(receipt.batch_size),
        HEADER_RECEIPT: _encoded(receipt),
        HEADER_TIMINGS: ", ".join(f"{name};dur={value:.1f}" for name, value in receipt.timings_ms.items()),
    }


def _encoded(receipt: Receipt) -> str:
    """The receipt as base64url JSON."""
    return base64.urlsafe_b64encode(receipt.model_dump_json().encode()).decode("ascii")
