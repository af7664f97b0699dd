"""The service behind a real Serve: pictures under load, real clients, hang-ups, garbage at the socket."""

import base64
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import openai
import pytest

from serve_app.schemas import ErrorBody, Receipt
from tests.local.cli import DEADLINE_S, wait_for
from tests.local.conftest import LocalService
from tests.local.users import pixels

pytestmark = pytest.mark.ray

BACKLOG = 64  # users: several times what a generator takes at once
SECRET = "zyzzyva"  # in no dictionary of the service


@pytest.fixture
def http(local_service: LocalService) -> Any:
    with httpx.Client(
        base_url=local_service.url, headers=local_service.headers, timeout=DEADLINE_S, trust_env=False
    ) as client:
        yield client


def receipt_of(response: httpx.Response) -> Receipt:
    return Receipt.model_validate_json(base64.urlsafe_b64decode(response.headers["X-Receipt"]))


def idle(http: httpx.Client) -> bool:
    return bool(http.get("/healthz").json().get("in_flight") == 0)


def test_under_load_everyone_gets_the_picture_that_the_request_gives_alone(http: httpx.Client) -> None:
    colours = ("red", "green", "blue", "yellow", "purple", "orange")
    wishes: list[dict[str, Any]] = [
        {
            "prompt": f"a {colour} circle on a black background",
            "seed": number,
            "guidance_scale": 2.0 + number / 10,
            "img_size": 192 if number % 5 == 4 else 128,
            "num_inference_steps": 4 + number % 2,
        }
        for number, colour in enumerate(colours * 3)
    ]
    alone = [http.post("/imagine", json=wish) for wish in wishes]
    with ThreadPoolExecutor(len(wishes)) as pool:
        together = list(pool.map(lambda wish: http.post("/imagine", json=wish), wishes))
    for wish, one, two in zip(wishes, alone, together, strict=True):
        assert (one.status_code, two.status_code) == (200, 200)
        assert np.abs(pixels(one.content) - pixels(two.content)).max() <= 1
        made = receipt_of(two)
        assert (made.seed, made.width, made.num_inference_steps) == (
            wish["seed"],
            wish["img_size"],
            wish["num_inference_steps"],
        )
        assert made.request_id == two.headers["X-Request-Id"]  # once, and the same on both sides
        assert 1 <= made.batch_size <= 8


def test_a_backlog_fills_every_batch(http: httpx.Client) -> None:
    wish = {"prompt": "a red circle on a white background", "num_inference_steps": 2}

    def ask(user: int) -> list[int]:
        answers = [http.post("/imagine", json=wish | {"seed": user * 10 + number}) for number in range(3)]
        return [receipt_of(answer.raise_for_status()).batch_size for answer in answers]

    with ThreadPoolExecutor(BACKLOG) as pool:
        sizes = [size for user in pool.map(ask, range(BACKLOG)) for size in user]
    full = sum(size == 8 for size in sizes)  # all but the first ones, and the last
    assert full > len(sizes) / 2, sorted(sizes)


def test_errors_of_every_kind_have_one_shape(http: httpx.Client) -> None:
    json_type = {"content-type": "application/json"}
    large = b'{"prompt": "' + b"x" * 1024 * 1024 + b'"}'
    for response, status in [
        (http.get("/nothing"), 404),
        (http.put("/imagine"), 405),
        (http.get("/imagine"), 400),
        (http.get("/imagine?prompt=a&img_size=513"), 400),
        (http.post("/imagine", json={"prompt": "a", "img_size": 512}), 400),
        (http.post("/imagine", json={"prompt": "a", "model": "other"}), 404),
        (http.post("/imagine", content=b"{", headers=json_type), 400),
        (http.post("/imagine", content=large, headers=json_type), 413),
        (http.post("/imagine", content=b"prompt=a"), 415),
        (http.post("/v1/images/generations", json={"prompt": "a", "style": "vivid"}), 400),
        (http.get("/v1/models/other"), 404),
        (http.get("/v1/images/kept/nothing"), 404),
    ]:
        assert response.status_code == status, response.text
        ErrorBody.model_validate_json(response.content, strict=True)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Request-Id"]


def test_unknown_words_are_told(http: httpx.Client) -> None:
    prompt = f"a red circle and a {SECRET}"
    response = http.post("/imagine", json={"prompt": prompt, "num_inference_steps": 1})
    (warning,) = receipt_of(response).warnings
    assert [prompt[start:end] for start, end in warning.spans] == [SECRET]
    assert SECRET not in str(response.headers)


def test_prompts_are_in_no_log(local_service: LocalService, http: httpx.Client) -> None:
    assert http.post("/imagine", json={"prompt": f"a {SECRET}", "num_inference_steps": 1}).status_code == 200
    assert http.get("/imagine", params={"prompt": SECRET, "num_inference_steps": 1}).status_code == 200
    assert http.get("/imagine", params={"prompt": SECRET, "img_size": 513}).status_code == 400
    logs = [path for path in Path(local_service.sdctl.record["folder"]).rglob("logs/**/*") if path.is_file()]
    assert any("characters (" in path.read_text(errors="replace") for path in logs)
    assert not [path for path in logs if SECRET in path.read_text(errors="replace")]


def test_a_deadline_and_a_hang_up_end_the_work(http: httpx.Client) -> None:
    wish = {"prompt": "a red star", "num_inference_steps": 150, "img_size": 192}
    late = http.post("/imagine", json=wish, headers={"X-Request-Timeout": "0.2"})
    assert late.status_code == 504
    ErrorBody.model_validate_json(late.content, strict=True)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/imagine", json=wish, timeout=httpx.Timeout(DEADLINE_S, read=0.5))
    wait_for(lambda: idle(http), "nothing was in flight")
    assert http.post("/imagine", json={"prompt": "a red star"}).status_code == 200


def test_many_hang_ups_and_garbage_harm_nobody(local_service: LocalService, http: httpx.Client) -> None:
    address = urlsplit(local_service.url)
    assert address.hostname
    assert address.port
    body = b'{"prompt": "a red circle"}'
    post = b"POST /imagine HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for raw in (
        b"\x00\xff garbage\r\n\r\n",
        b"GET /imagine HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        post % 1000 + body,  # cut short
        post % 5 + body,  # too long
        b"POST /imagine HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        *[post % len(body) + body] * 40,  # good requests whose callers go at once
    ):
        with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S) as connection:
            connection.sendall(raw)
    assert http.post("/imagine", json={"prompt": "a red circle"}).status_code == 200
    wait_for(lambda: idle(http), "nothing was in flight")
    assert http.get("/healthz").status_code == 200


def test_the_openai_client_is_served(local_service: LocalService) -> None:
    client = openai.OpenAI(
        base_url=f"{local_service.url}/v1",
        api_key="any",
        max_retries=0,
        timeout=DEADLINE_S,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    )
    with client:
        assert [model.id for model in client.models.list()] == ["builtin:shapes"]
        assert client.models.retrieve("builtin:shapes").owned_by == "sdctl"
        prompt = "a blue square on a white background"
        answer = client.images.generate(prompt=prompt, n=2, size="128x128", extra_body={"seed": 5})
        assert answer.data
        first, second = (pixels(base64.b64decode(image.b64_json or "")) for image in answer.data)
        assert first.shape == (128, 128, 3)
        assert np.abs(first - second).max() > 8
        linked = client.images.generate(prompt=prompt, response_format="url", extra_body={"seed": 5})
        assert linked.data
        assert linked.data[0].url
        image = httpx.get(linked.data[0].url, trust_env=False, timeout=DEADLINE_S)
        assert np.abs(pixels(image.content) - first).max() <= 1
        with pytest.raises(openai.NotFoundError) as missing:
            client.images.generate(prompt=prompt, model="dall-e-2")
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.generate(prompt=prompt, size="512x512")
        assert (refused.value.code, refused.value.param) == ("unsupported_size", "size")
