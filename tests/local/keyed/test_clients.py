"""The clients that people have, against the service with keys: what they send, what they see."""

import asyncio
import base64
import io
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from tests.local.cli import DEADLINE_S
from tests.local.keyed.conftest import PER_MINUTE, KeyedService, key_of

pytestmark = pytest.mark.ray

PROMPT = "a blue square on a white background"
QUICK: dict[str, Any] = {"seed": 5, "num_inference_steps": 2}


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def options(keyed: KeyedService, key: str) -> dict[str, Any]:
    return {"base_url": f"{keyed.url}/v1", "api_key": key, "max_retries": 0, "timeout": DEADLINE_S}


def in_order(keyed: KeyedService, key: str, use: Callable[[openai.OpenAI], None]) -> None:
    with openai.OpenAI(**options(keyed, key), http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
        use(client)


def at_once(keyed: KeyedService, key: str, use: Callable[[openai.AsyncOpenAI], Coroutine[Any, Any, None]]) -> None:
    async def body() -> None:
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(**options(keyed, key), http_client=http) as client:
            await use(client)

    asyncio.run(body())


def test_every_supported_field_is_taken_and_the_extensions_too(keyed: KeyedService) -> None:
    def use(client: openai.OpenAI) -> None:
        answer = client.images.generate(
            prompt=PROMPT,
            model="builtin:shapes",
            n=2,
            size="128x128",
            output_format="webp",
            response_format="b64_json",
            quality="auto",
            background="opaque",
            moderation="auto",
            user="somebody",
            extra_body={**QUICK, "negative_prompt": "red", "guidance_scale": 3.5},
        )
        assert (answer.size, answer.output_format) == ("128x128", "webp")
        assert answer.data
        first, second = answer.data
        image = Image.open(io.BytesIO(base64.b64decode(first.b64_json or "")))
        assert (image.format, image.size) == ("WEBP", (128, 128))
        assert first.model_extra
        assert second.model_extra
        assert [first.model_extra["seed"], second.model_extra["seed"]] == [5, 6]
        assert {"queue", "generate", "encode"} == set(first.model_extra["timings_ms"])

    in_order(keyed, key_of("user-0"), use)


def test_the_async_client_gets_the_same_pictures(keyed: KeyedService) -> None:
    async def use(client: openai.AsyncOpenAI) -> None:
        models = await client.models.list()
        assert [model.id for model in models.data] == ["builtin:shapes"]
        calls = (client.images.generate(prompt=PROMPT, extra_body=QUICK) for _ in range(4))
        answers = await asyncio.gather(*calls)
        linked = await client.images.generate(prompt=PROMPT, response_format="url", extra_body=QUICK)
        assert linked.data
        assert linked.data[0].url
        assert linked.data[0].url.startswith(f"{keyed.url}/v1/images/kept/")
        async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S) as anyone:  # the signature is the permission
            kept = await anyone.get(linked.data[0].url)
        reference = pixels(kept.content)
        for answer in answers:
            assert answer.data
            assert np.abs(pixels(base64.b64decode(answer.data[0].b64_json or "")) - reference).max() <= 1

    at_once(keyed, key_of("user-1"), use)


def test_errors_arrive_as_the_clients_own_classes(keyed: KeyedService) -> None:
    def known(client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as missing:
            client.images.generate(prompt=PROMPT, model="dall-e-3")
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.generate(prompt="a circle of gore")
        assert (refused.value.code, refused.value.type) == ("content_policy_violation", "invalid_request_error")
        assert "gore" not in str(refused.value)
        with pytest.raises(openai.BadRequestError) as much:
            client.images.generate(prompt=PROMPT, n=10, size="128x128", extra_body={"num_inference_steps": 150})
        assert much.value.code == "too_much_work"
        with pytest.raises(openai.BadRequestError) as unknown:
            client.images.generate(prompt=PROMPT, style="vivid")
        assert (unknown.value.code, unknown.value.param) == ("unknown_parameter", "style")

    def unknown(client: openai.OpenAI) -> None:
        with pytest.raises(openai.AuthenticationError) as denied:
            client.images.generate(prompt=PROMPT)
        assert (denied.value.code, denied.value.type) == ("invalid_api_key", "authentication_error")

    in_order(keyed, key_of("user-2"), known)
    in_order(keyed, "sk-guessed", unknown)


def test_the_minutes_images_are_counted_in_openais_headers(keyed: KeyedService) -> None:
    wish = {"prompt": "a red circle", "size": "128x128", "num_inference_steps": 1}
    with keyed.client(key_of("counted")) as http:
        left = None
        for _ in range(200):
            answer = http.post("/v1/images/generations", json=wish | {"n": 10})
            assert answer.headers["x-ratelimit-limit-requests"] == str(PER_MINUTE)
            if answer.status_code == 429:
                break
            assert answer.status_code == 200, answer.text
            left = answer.headers["x-ratelimit-remaining-requests"]
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        assert left is not None
    with keyed.client(key_of("user-3")) as other:
        assert other.post("/v1/images/generations", json=wish).status_code == 200


def test_web_pages_that_are_named_may_call_and_others_not(keyed: KeyedService) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    with httpx.Client(base_url=keyed.url, trust_env=False, timeout=DEADLINE_S) as http:
        for origin, allowed in (("https://gallery.example", "https://gallery.example"), ("https://evil.example", None)):
            before = http.options("/imagine", headers={"Origin": origin, **asked})
            assert before.headers.get("access-control-allow-origin") == allowed
            answer = http.post("/imagine", json={"prompt": "a"}, headers={"Origin": origin})
            assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (401, allowed)
        plain = httpx.get(f"{keyed.beside.url}/healthz", headers={"Origin": "https://gallery.example"}, trust_env=False)
        assert "access-control-allow-origin" not in plain.headers


def test_sdctl_takes_its_key_from_the_environment_and_shows_a_refusal(keyed: KeyedService) -> None:
    sdctl, target = keyed.beside.sdctl, ("--target", keyed.url)
    words = ("imagine", *target, "--json", "--steps", "1", "--dialect", "openai")
    out = sdctl.state_home / "keyed.png"
    key_file = sdctl.state_home / "key"
    key_file.write_text(key_of("user-4"), encoding="ascii")
    with_file = (*words, "--token-file", str(key_file), "-o", str(out))
    sdctl(*with_file, "a red circle")
    assert out.read_bytes().startswith(b"\x89PNG")
    refused = sdctl(*with_file, "--force", "a circle of gore", code=2)
    assert '"content_refused"' in refused
    assert "refuses to make this picture" in refused
    assert '"not_allowed"' in sdctl(*words, "-o", str(out), "--force", "a red circle", code=7)
