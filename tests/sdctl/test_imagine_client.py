"""One image from a service, in both dialects; the transport is the only thing that is not real."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import Image

from sdctl import service
from sdctl.dialects import DIALECTS, ImageAsk
from sdctl.errors import Busy, InvalidRequest, SdctlError, Unreachable
from sdctl.imagine.client import ImageClient, Made
from sdctl.retry import Clock
from sdctl.targets.base import Endpoint
from tests.fakes import http_service as fake
from tests.fakes.http_service import Reply

ASK = ImageAsk("a frobnicated sun", seed=7)
URL = "http://127.0.0.1:8000"


class Service:
    """Answers requests from a script, then well; a clock that only sleeping moves."""

    def __init__(self, *script: Reply | Exception, good: Callable[[Any], Reply] = fake.imagine) -> None:
        self.script = list(script)
        self.good = good
        self.requests: list[httpx.Request] = []
        self.now = 0.0
        self.waits: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.script.pop(0) if self.script else self.good(json.loads(request.content or b"{}"))
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def client(self, *optional: str) -> ImageClient:
        endpoint = Endpoint(URL, headers={"Authorization": "Bearer k"})
        http = service.http_client(endpoint, timeout_s=60, transport=httpx.MockTransport(self))
        clock = Clock(now=lambda: self.now, sleep=self.sleep)
        return ImageClient(http, endpoint, optional=frozenset(optional), clock=clock)

    def make(self, ask: ImageAsk = ASK, dialect: str = "sdctl", *, timeout_s: float = 60, optional: str = "") -> Made:
        client = self.client(*optional.split())
        return client.make(DIALECTS[dialect], ask, timeout_s=timeout_s, notify=lambda why, _: self.waits.append(why))

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def test_the_request_goes_by_post_with_its_deadline_and_the_receipt_comes_back() -> None:
    service_ = Service()
    made = service_.make(replace(ASK, num_inference_steps=3), timeout_s=50)
    (request,) = service_.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/imagine")
    assert request.headers["x-request-timeout"] == "50.000"
    assert json.loads(request.content) == {"prompt": ASK.prompt, "seed": 7, "num_inference_steps": 3, "format": "png"}
    receipt = made.picture.receipt
    assert (receipt.prompt, receipt.seed, receipt.model, receipt.batch_size) == (ASK.prompt, 7, fake.MODEL, 1)
    (warning,) = made.picture.warnings
    assert [ASK.prompt[start:end] for start, end in warning.spans] == ["frobnicated"]


def test_trouble_on_the_way_is_repeated_with_the_same_seed() -> None:
    cut = fake.imagine({"prompt": "sun", "seed": 7})
    service_ = Service(
        httpx.ReadError("reset"),
        fake.error(503, "busy", **{"Retry-After": "2"}),
        fake.error(429, "rate_limited"),
        Reply(500, b"Internal Server Error"),
        Reply(200, cut.body[:-4], cut.headers),
        Reply(200, cut.body[:300], cut.headers),
    )
    made = service_.make()
    assert made.tries == 7
    assert {body["seed"] for body in service_.bodies()} == {7}
    assert service_.waits == [
        "dropped the connection",
        "is busy",
        "is busy",
        "lost the request",
        "sent a damaged image",
        "sent a damaged image",
    ]
    deadlines = [float(request.headers["x-request-timeout"]) for request in service_.requests]
    assert deadlines == sorted(deadlines, reverse=True)
    assert deadlines[2] < 58
    assert made.seconds == service_.now


def test_a_busy_service_is_busy_at_the_end_of_the_time() -> None:
    service_ = Service(*[fake.error(503, "busy")] * 99)
    with pytest.raises(Busy):
        service_.make(timeout_s=20)
    assert service_.now <= 20


def test_a_service_that_has_answered_is_waited_for_by_requests_that_begin_while_it_is_away() -> None:
    away = httpx.ConnectError("refused")
    never_seen = Service(*[away] * 99)
    with pytest.raises(Unreachable):
        never_seen.make(timeout_s=300)
    assert never_seen.now <= 10
    known = Service(fake.imagine({"prompt": ASK.prompt, "seed": 7}), *[away] * 12)
    client = known.client()
    for _ in range(2):
        client.make(DIALECTS["sdctl"], ASK, timeout_s=300, notify=lambda *_: None)
    assert known.now > 10


def test_a_lasting_failure_is_not_repeated_for_ever() -> None:
    service_ = Service(*[Reply(500, b"Internal Server Error")] * 99)
    with pytest.raises(SdctlError, match="HTTP 500"):
        service_.make(timeout_s=600)
    assert len(service_.requests) == 6


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), "text/html instead of an image"),
        (Reply(200, b"hello", {"Content-Type": "image/png"}), "is no image"),
        (fake.imagine({"prompt": "x", "width": 64}), "made 64x128 though 128x128"),
        (fake.imagine({"prompt": "x", "format": "jpeg"}), "jpeg though png"),
        (Reply(204), "HTTP 204"),
    ],
)
def test_what_is_not_the_image_that_was_asked_for_is_an_error(reply: Reply, message: str) -> None:
    with pytest.raises(SdctlError, match=message):
        Service(reply).make(replace(ASK, width=128, height=128))


def test_an_image_that_stays_damaged_is_given_up() -> None:
    good = fake.imagine({"prompt": "x"})
    with pytest.raises(Unreachable, match="damaged"):
        Service(*[Reply(200, good.body[:-12], good.headers)] * 9).make()


def test_a_service_without_receipts_still_tells_by_its_headers() -> None:
    reply = Reply(200, fake.draw(7, 64, 64), {"Content-Type": "image/png", "X-Model": "m", "X-Replica": "r"})
    receipt = Service(reply).make().picture.receipt
    assert (receipt.seed, receipt.model, receipt.replica, receipt.width) == (7, "m", "r", 64)
    assert receipt.scheduler is None


def test_openai_is_asked_in_its_own_words() -> None:
    service_ = Service(good=fake.openai)
    ask = ImageAsk("sun", "rain", 64, 96, 4, 2.5, 7, "m", "png")
    made = service_.make(ask, "openai")
    (request,) = service_.requests
    assert request.url.path == "/v1/images/generations"
    assert json.loads(request.content) == {
        "prompt": "sun",
        "negative_prompt": "rain",
        "num_inference_steps": 4,
        "guidance_scale": 2.5,
        "seed": 7,
        "model": "m",
        "size": "64x96",
        "n": 1,
        "response_format": "b64_json",
    }
    assert Image.open(io.BytesIO(made.picture.data)).size == (64, 96)
    assert (made.picture.receipt.seed, made.picture.receipt.model) == (7, "m")


def test_fields_that_a_server_refuses_are_left_out_unless_the_user_gave_them() -> None:
    refusals = [fake.error(400, "unknown_parameter", param=name) for name in ("response_format", "seed")]
    service_ = Service(*refusals, good=fake.openai)
    made = service_.make(dialect="openai", optional="seed response_format")
    assert [sorted(body) for body in service_.bodies()][-1] == ["n", "prompt"]
    assert made.picture.receipt.seed is None
    with pytest.raises(InvalidRequest, match="--seed"):
        Service(refusals[1], good=fake.openai).make(dialect="openai", optional="response_format")


def test_openais_answer_may_be_a_link_and_in_another_format() -> None:
    link = fake.json_reply(200, {"data": [{"url": "/files/1.png", "seed": 99}]})
    service_ = Service(link, Reply(200, fake.draw(1, 64, 64), {"Content-Type": "image/png"}))
    made = service_.make(replace(ASK, format="webp"), "openai")
    assert [request.url.path for request in service_.requests] == ["/v1/images/generations", "/files/1.png"]
    assert Image.open(io.BytesIO(made.picture.data)).format == "WEBP"
    assert made.picture.receipt.seed == 99


@pytest.mark.parametrize(
    "document",
    [{}, {"data": []}, {"data": [{"b64_json": None}]}, [], {"data": [{"b64_json": base64.b64encode(b"x").decode()}]}],
)
def test_an_openai_answer_without_an_image_is_an_error(document: Any) -> None:
    with pytest.raises(SdctlError, match=r"no image"):
        Service(fake.json_reply(200, document)).make(dialect="openai")


@pytest.mark.parametrize(
    ("reply", "dialect"),
    [
        (fake.error(400, "invalid", param="prompt"), "sdctl"),
        (fake.json_reply(422, {"detail": []}), "sdctl"),
        (fake.json_reply(404, {"detail": "Not Found"}), "openai"),
        (Reply(405), "openai"),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), "openai"),
    ],
)
def test_the_dialect_is_found_by_asking(reply: Reply, dialect: str) -> None:
    service_ = Service(fake.error(503, "starting"), reply)
    found = service_.client().find_dialect(60, lambda why, wait_s: None)
    assert found.name == dialect
    assert {(request.method, request.url.path) for request in service_.requests} == {("GET", "/imagine")}
