"""Random requests on every route: documented answers only, never a server error, never a 200 that is no image."""

import json
from typing import Any
from urllib.parse import urlencode

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.dialects.openai import ImagesRequest
from serve_app.schemas import ErrorBody, ImageRequest
from tests.serve_app.conftest import make_front

NAMES = sorted({*ImageRequest.model_fields, *ImagesRequest.model_fields, "extra"})
SENSIBLE = st.sampled_from(["a red circle", "128x64", "b64_json", "fake", "png", 64, 128, 1, 3.5, None])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = st.dictionaries(st.sampled_from(NAMES), st.one_of(SENSIBLE, SENSIBLE, anything), max_size=6)
bodies = st.one_of(fields.map(lambda value: {"prompt": "a red circle"} | value), fields, anything)
routes = st.sampled_from(["/imagine", "/v1/images/generations"])
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


FRONT = make_front()


def check(response: httpx.Response, route: str, method: str) -> None:
    documented = FRONT.api.openapi()["paths"][route][method]["responses"]
    assert str(response.status_code) in documented, (response.status_code, response.text[:200])
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        ErrorBody.model_validate_json(response.content, strict=True)
    elif route == "/imagine":
        assert response.headers["content-type"].startswith("image/")
        assert len(response.content) > 50
    else:
        assert response.json()["data"]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(routes, bodies, header_values)
def test_posted_bodies(route: str, body: Any, timeout: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        headers = {"content-type": "application/json"} | ({"x-request-timeout": timeout} if timeout else {})
        response = await client.post(route, content=json.dumps(body), headers=headers)
        check(response, route, "post")

    FRONT.run(use)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=8), st.text(max_size=20)), max_size=5))
def test_queries(pairs: list[tuple[str, str]]) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        query = urlencode(pairs, errors="replace")
        response = await client.get(f"/imagine?{query}")
        check(response, "/imagine", "get")

    FRONT.run(use)
