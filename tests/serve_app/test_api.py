"""The HTTP routes: what is answered, with which headers, and every error in the documented shape."""

import asyncio
import base64
import io
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serve_app.errors import Refusal
from serve_app.schemas import ErrorBody, Receipt
from tests.fakes.service_painter import colour
from tests.serve_app.conftest import Front, make_front

GOOD = {"prompt": "a red circle"}


def error_of(response: httpx.Response) -> Any:
    """The error, checked to be the documented shape and nothing else."""
    ErrorBody.model_validate_json(response.content, strict=True)
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    return response.json()["error"]


def test_post_gives_the_picture_and_what_made_it(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD | {"seed": 7, "width": 128, "height": 64})
        assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
        image = np.asarray(Image.open(io.BytesIO(response.content)))
        assert (image == colour("a red circle", 7, 128, 64)).all()
        headers = response.headers
        assert (headers["x-seed"], headers["x-model"], headers["x-replica"]) == ("7", "fake", "replica-1")
        assert headers["x-batch-size"] == "2"
        assert headers["server-timing"] == "queue;dur=1.0, generate;dur=20.5, encode;dur=3.0"
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        receipt = Receipt.model_validate_json(base64.urlsafe_b64decode(headers["x-receipt"]))
        assert (receipt.seed, receipt.width, receipt.num_inference_steps) == (7, 128, 3)
        assert receipt.request_id == headers["x-request-id"]
        assert "red" not in receipt.model_dump_json()

    front.run(use)
    assert front.answered == [("ok", "anyone")]


def test_get_takes_the_same_fields_from_the_query(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        query: dict[str, str | int] = {"prompt": "ä & ö?", "img_size": 128, "format": "webp", "guidance_scale": "2.5"}
        response = await client.get("/imagine", params=query)
        assert (response.status_code, response.headers["content-type"]) == (200, "image/webp")

    front.run(use)
    (job,) = front.replicas.jobs
    assert (job.prompt, job.width, job.height, job.guidance) == ("ä & ö?", 128, 128, 2.5)


def test_defaults_and_a_drawn_seed_that_is_told(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        seeds = {(await client.post("/imagine", json=GOOD)).headers["x-seed"] for _ in range(3)}
        assert len(seeds) == 3

    front.run(use)
    job = front.replicas.jobs[0]
    assert (job.width, job.height, job.steps, job.guidance, job.format) == (64, 64, 3, 3.0, "png")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("image/webp, */*", "image/webp"),
        ("image/jpeg;q=0.9", "image/jpeg"),
        ("*/*", "image/png"),
        ("text/html", "image/png"),
    ],
)
def test_format_by_accept(front: Front, accept: str, media_type: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD, headers={"accept": accept})
        assert response.headers["content-type"] == media_type

    front.run(use)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"img_size": 513}, "img_size"),
        ({"img_size": -8}, "img_size"),
        ({"width": "abc"}, "width"),
        ({"width": 100000}, "width"),
        ({"img_size": 64, "width": 64}, "img_size"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 151}, "num_inference_steps"),
        ({"guidance_scale": 31}, "guidance_scale"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"format": "gif"}, "format"),
        ({"propmt": "x"}, "propmt"),
    ],
)
def test_bad_values_are_a_400_that_names_the_field(front: Front, change: dict[str, Any], param: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = json.dumps(GOOD | change)
        response = await client.post("/imagine", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 400
        error = error_of(response)
        assert (error["param"], error["type"]) == (param, "invalid_request_error")
        assert "red circle" not in error["message"]

    front.run(use)
    assert not front.replicas.jobs


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "invalid_json"),
        (b"\xff\xfe", "application/json", 400, "invalid_json"),
        (b'{"prompt":"a","guidance_scale":NaN}', "application/json", 400, "invalid_json"),
        (b'{"prompt":"a","guidance_scale":1e999}', "application/json", 400, "invalid_value"),
        (b"[" * 100_000, "application/json", 400, "invalid_json"),
        (b'{"prompt":"a"}', "text/plain", 415, "unsupported_media_type"),
        (b"", "", 415, "unsupported_media_type"),
        (b"x" * (1024 * 1024 + 1), "application/json", 413, "request_too_large"),
    ],
)
def test_bodies_that_are_no_request(front: Front, body: bytes, content_type: str, status: int, code: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", content=body, headers={"content-type": content_type})
        assert response.status_code == status
        assert error_of(response)["code"] == code

    front.run(use)


def test_a_large_body_without_a_length_is_refused(front: Front) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 65536

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", content=chunks(), headers={"content-type": "application/json"})
        assert response.status_code == 413
        error_of(response)

    front.run(use)


def test_a_body_that_stops_half_way_gives_its_place_back() -> None:
    front = make_front(body_timeout_s=0.05)

    async def half() -> Any:
        yield b'{"prompt":'
        await asyncio.Event().wait()

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", content=half(), headers={"content-type": "application/json"})
        assert response.status_code == 408
        assert response.headers["connection"] == "close"
        assert error_of(response)["code"] == "body_timeout"

    front.run(use)


def test_unknown_routes_methods_models_and_repeated_fields(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for response, status, code in [
            (await client.get("/nothing"), 404, "not_found"),
            (await client.delete("/imagine"), 405, "method_not_allowed"),
            (await client.post("/imagine", json=GOOD | {"model": "other"}), 404, "model_not_found"),
            (await client.get("/imagine?prompt=a&prompt=b"), 400, "invalid_value"),
            (await client.get("/imagine"), 400, "invalid_value"),
            (await client.get("/imagine?prompt=a&seed=x"), 400, "invalid_value"),
        ]:
            assert (response.status_code, error_of(response)["code"]) == (status, code)
            assert response.headers["x-request-id"]
            assert response.headers["x-content-type-options"] == "nosniff"
        assert (await client.delete("/imagine")).headers["allow"]

    front.run(use)


def test_request_ids_are_taken_over_when_harmless(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for given, kept in (("my-id.7", True), ("a b", False), ("x" * 101, False)):
            response = await client.post("/imagine", json=GOOD, headers={"x-request-id": given})
            assert (response.headers["x-request-id"] == given) is kept

    front.run(use)


def test_a_bug_is_a_500_with_the_request_id_and_without_the_prompt(front: Front) -> None:
    front.replicas.crash = True

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD)
        assert response.status_code == 500
        error = error_of(response)
        assert response.headers["x-request-id"] in error["message"]
        assert "red" not in error["message"]

    front.run(use)


def test_refused_content_has_its_own_code(front: Front) -> None:
    front.replicas.refuse = Refusal(400, "content_policy_violation", "refused", "prompt")

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.post("/imagine", json=GOOD)
        assert (response.status_code, error_of(response)["code"]) == (400, "content_policy_violation")

    front.run(use)


def test_prompts_stay_out_of_the_log(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for front.replicas.crash, front.replicas.losses in ((False, 0), (False, 1), (True, 0)):
            response = await client.post("/imagine", json={"prompt": "my secret wish"})
            assert (response.status_code == 500) is front.replicas.crash

    with caplog.at_level(logging.DEBUG, logger="ray.serve"):
        front.run(use)
    assert "a prompt of 14 characters" in caplog.text
    assert "secret" not in caplog.text


def test_keys_open_the_routes_and_name_the_tenant(tmp_path: Path) -> None:
    (tmp_path / "ann").write_text("ann-key\nann-next-key\n", encoding="utf-8")
    (tmp_path / "bob").write_text("bob-key", encoding="utf-8")
    front = make_front(tmp_path)

    async def use(client: httpx.AsyncClient) -> None:
        for header in (None, "Bearer", "Bearer ", "Bearer wrong", "Basic ann-key", "ann-key", "Bearer ännä"):
            headers = [] if header is None else [(b"authorization", header.encode())]
            response = await client.post("/imagine", json=GOOD, headers=headers)
            assert response.status_code == 401
            assert error_of(response)["type"] == "authentication_error"
            assert response.headers["www-authenticate"] == "Bearer"
        for key in ("ann-key", "ann-next-key", "bob-key"):
            response = await client.post("/imagine", json=GOOD, headers={"authorization": f"Bearer {key}"})
            assert response.status_code == 200
        assert (await client.get("/healthz")).status_code == 200

    front.run(use)
    assert [job.tenant for job in front.replicas.jobs] == ["ann", "ann", "bob"]


def test_openapi_names_the_fields_of_both_routes(front: Front) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        names = [parameter["name"] for parameter in paths["/imagine"]["get"]["parameters"]]
        body = paths["/imagine"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert set(names) - {"download", "X-Request-Timeout"} == set(body["properties"]) >= {"prompt", "img_size"}
        assert {"200", "400", "401", "503", "504"} <= set(paths["/imagine"]["post"]["responses"])

    front.run(use)
