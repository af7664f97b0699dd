"""The README's table of OpenAI's fields against what the routes do, and one request behind all dialects."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse

from serve_app import front as serve_front
from serve_app.dialects.imagine import ImagineQuery
from serve_app.dialects.openai import ImagesRequest
from serve_app.schemas import ImageRequest, SharedFields
from tests import conformance
from tests.readme import README
from tests.serve_app.conftest import Front

ROUTE = "/v1/images/generations"
SAMPLES: dict[str, list[Any]] = {
    "prompt": ["a red circle"],
    "model": ["fake"],
    "n": [1, 10],
    "size": ["auto", "128x64"],
    "user": ["somebody"],
    "safety_identifier": ["somebody"],
    "negative_prompt": ["blue"],
    "num_inference_steps": [1, 150],
    "guidance_scale": [0, 7.5],
    "seed": [0, 2**32 - 1],
}
REQUEST_ROWS = list(conformance.request_rows())


def test_the_readme_has_the_table() -> None:
    assert conformance.table() in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", REQUEST_ROWS, ids=[row[1] for row in REQUEST_ROWS])
def test_the_service_does_what_the_table_says(front: Front, row: conformance.Row) -> None:
    _, name, here, _ = row
    theirs = conformance.asked().get(name) or set()
    refused = here == "refused"
    taken = set() if refused else conformance.values(ImagesRequest.model_fields[name].annotation)
    good = [] if refused else [*(taken or SAMPLES[name]), None][: None if name != "prompt" else 1]
    bad = (theirs or {"anything"}) if refused else (theirs - taken if taken else set())

    async def use(client: httpx.AsyncClient) -> None:
        for value in good:
            response = await client.post(ROUTE, json={"prompt": "a red circle", name: value})
            assert response.status_code == 200, (value, response.text)
        for value in bad:
            response = await client.post(ROUTE, json={"prompt": "a red circle", name: value})
            error = response.json()["error"]
            assert (response.status_code, error["param"]) == (400, name)
            assert error["code"] == ("unknown_parameter" if refused else "invalid_value")

    front.run(use)


@pytest.mark.parametrize("route", conformance.OTHER_ROUTES)
def test_openais_other_routes_are_not_there(front: Front, route: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post(route.partition(" ")[2], files={"image": b"x"})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")

    front.run(use)


@pytest.mark.parametrize("dialect", [ImageRequest, ImagineQuery, ImagesRequest])
def test_every_dialect_has_the_shared_fields_under_the_same_limits(dialect: type[BaseModel]) -> None:
    fields = dialect.model_json_schema()["properties"]
    assert SharedFields.model_json_schema()["properties"].items() <= fields.items()


def test_a_further_dialect_is_one_small_adapter(front: Front) -> None:
    """A dialect of another API's words: its request model and one route, all else is there."""
    router = APIRouter()

    class TextToImage(BaseModel):
        prompt: str
        steps: int | None = None
        cfg_scale: float | None = None
        batch_size: int = 1

    @router.post("/sdapi/v1/txt2img")
    async def txt2img(request: Request) -> JSONResponse:
        service = request.app.state.service
        call = service.open(request)
        asked = await serve_front.json_body(request, TextToImage)
        wish = {"prompt": asked.prompt, "num_inference_steps": asked.steps, "guidance_scale": asked.cfg_scale}
        pictures = await service.make(serve_front.validated(ImageRequest, wish), call, asked.batch_size)
        return JSONResponse({"seeds": [picture.receipt.seed for picture in pictures]})

    front.api.include_router(router)

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/sdapi/v1/txt2img", json={"prompt": "a", "steps": 2, "batch_size": 2})
        assert (response.status_code, len(response.json()["seeds"])) == (200, 2)
        refused = await client.post("/sdapi/v1/txt2img", json={"prompt": "", "steps": 2})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt")

    front.run(use)
    assert [job.steps for job in front.replicas.jobs] == [2, 2]
