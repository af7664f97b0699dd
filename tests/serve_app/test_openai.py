"""The OpenAI dialect: what its clients send and expect, with faked replicas."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serve_app.errors import Refusal
from serve_app.links import LIFETIME_S, MAX_BYTES, Links
from serve_app.resolve import Call, resolve
from serve_app.schemas import ErrorBody, ImageRequest
from tests.fakes.service_painter import PROFILE, colour
from tests.fakes.service_replicas import Clock, picture
from tests.serve_app.conftest import Front, make_front

ROUTE = "/v1/images/generations"


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_several_images_come_with_their_seeds(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = {"prompt": "what?", "n": 3, "size": "128x64", "seed": 2**32 - 2, "model": "fake", "user": "u"}
        response = await client.post(ROUTE, json=body)
        assert response.status_code == 200
        answer = response.json()
        assert (answer["size"], answer["output_format"]) == ("128x64", "png")
        assert [one["seed"] for one in answer["data"]] == [2**32 - 2, 2**32 - 1, 0]
        for one in answer["data"]:
            image = pixels(base64.b64decode(one["b64_json"]))
            assert (image == colour("what?", one["seed"], 128, 64)).all()
            assert one["warnings"][0]["code"] == "unknown_words"
            assert set(one["timings_ms"]) == {"queue", "generate", "encode"}

    front.run(use)


def test_links_open_without_a_key_and_end(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = {"prompt": "a", "response_format": "url", "output_format": "webp", "size": "auto"}
        (one,) = (await client.post(ROUTE, json=body)).json()["data"]
        assert "b64_json" not in one
        response = await client.get(one["url"])
        assert (response.status_code, response.headers["content-type"]) == (200, "image/webp")
        gone = await client.get(one["url"] + "x")
        assert gone.status_code == 404
        ErrorBody.model_validate_json(gone.content, strict=True)

    front.run(use)


def test_links_are_bounded_in_time_and_memory() -> None:
    clock = Clock()
    links = Links(clock=clock)
    job = resolve(ImageRequest(prompt="a"), PROFILE, Call("id", "ann", 1.0))
    first = links.keep(picture(job))
    assert links.get(first) is not None
    clock.now += LIFETIME_S
    assert links.get(first) is None
    large = picture(job)
    object.__setattr__(large, "data", bytes(MAX_BYTES // 2))
    names = [links.keep(large) for _ in range(3)]
    assert [links.get(name) is not None for name in names] == [False, True, True]


def test_a_links_name_is_signed_with_its_end() -> None:
    clock = Clock()
    links, other = Links(clock=clock), Links(clock=clock)
    name = links.keep(picture(resolve(ImageRequest(prompt="a"), PROFILE, Call("id", "ann", 1.0))))
    said, end, signature = name.split(".")
    assert int(end) == clock.now + LIFETIME_S
    for forged in (
        f"{said}.{int(end) + 9999}.{signature}",
        f"{said}.{end}.",
        f"{said}.{end}",
        "",
        "..",
        "ä.1.ö",
        name + "=",
    ):
        assert links.get(forged) is None
    assert other.get(name) is None  # another replica has another secret
    assert links.get(name) is not None


def test_the_bytes_by_accept(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post(ROUTE, json={"prompt": "a", "seed": 3}, headers={"accept": "image/png"})
        assert response.headers["content-type"] == "image/png"
        assert (pixels(response.content) == colour("a", 3)).all()
        any_kind = await client.post(ROUTE, json={"prompt": "a", "seed": 3}, headers={"accept": "image/*"})
        assert any_kind.headers["content-type"] == "image/png"
        assert any_kind.headers["x-seed"] == "3"
        two = await client.post(ROUTE, json={"prompt": "a", "n": 2}, headers={"accept": "image/*"})
        assert len(two.json()["data"]) == 2  # no image file holds two

    front.run(use)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"size": "large"}, "size"),
        ({"size": "513x512"}, "size"),
        ({"size": "64x4096"}, "size"),
        ({"response_format": "file"}, "response_format"),
        ({"quality": "hd"}, "quality"),
        ({"style": "vivid"}, "style"),
        ({"stream": True}, "stream"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_honoured_is_a_400(front: Front, change: dict[str, Any], param: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post(ROUTE, json={"prompt": "a"} | change)
        assert response.status_code == 400
        ErrorBody.model_validate_json(response.content, strict=True)
        assert response.json()["error"]["param"] == param

    front.run(use)
    assert not front.replicas.jobs


def test_one_request_has_a_budget_of_work() -> None:
    front = make_front(max_cost=64 * 64 * 3 * 4)

    async def use(client: httpx.AsyncClient) -> None:
        assert (await client.post(ROUTE, json={"prompt": "a", "n": 4})).status_code == 200
        response = await client.post(ROUTE, json={"prompt": "a", "n": 5})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "too_much_work")

    front.run(use)


def test_one_refused_image_refuses_the_request_and_ends_the_rest(front: Front) -> None:
    front.replicas.refuse = Refusal(400, "content_policy_violation", "refused", "prompt")

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post(ROUTE, json={"prompt": "a", "n": 3})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "content_policy_violation")

    front.run(use)
    assert front.gateway.health()[1]["in_flight"] == 0


def test_models(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        (model,) = (await client.get("/v1/models")).json()["data"]
        assert (model["id"], model["object"]) == ("fake", "model")
        assert (await client.get("/v1/models/fake")).json() == model
        response = await client.get("/v1/models/some/other")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
        assert (await client.post(ROUTE, json={"prompt": "a", "model": "dall-e-2"})).status_code == 404

    front.run(use)
