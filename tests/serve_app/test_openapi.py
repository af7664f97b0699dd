"""Requests made from the OpenAPI document: documented answers only, never a server error, never a broken image."""

import asyncio
from pathlib import Path

import pytest
import schemathesis

from tests import openapi_cases
from tests.openapi_cases import Answers
from tests.serve_app.conftest import make_front

ROUTES = {
    "GET /imagine",
    "POST /imagine",
    "POST /v1/images/generations",
    "GET /v1/images/kept/{name}",
    "GET /v1/models",
    "GET /v1/models/{model_id}",
    "GET /healthz",
}


def answers(folder: Path, examples: int) -> Answers:
    """What a service with keys answers."""
    (folder / "ann").write_text("ann-key", encoding="utf-8")
    front = make_front(folder)
    asyncio.run(front.gateway.refresh())
    config = openapi_cases.configured(examples, "ann-key")
    document = openapi_cases.with_links(front.api.openapi())
    schema = schemathesis.openapi.from_asgi("/openapi.json", front.api, config=config)
    assert schema.raw_schema == document
    return openapi_cases.run(schema)


def check(found: Answers, cases: int) -> None:
    """Enough was asked, everything was answered as documented."""
    assert found.failures == []
    assert found.phases.total() >= cases
    assert found.phases["STATEFUL_TESTING"]
    assert {route for route, status in found.statuses if status == 200} == ROUTES
    assert max(status for _, status in found.statuses) < 500


@pytest.mark.wire  # seconds, not milliseconds
def test_two_thousand_requests(tmp_path: Path) -> None:
    check(answers(tmp_path, 150), 2000)


@pytest.mark.soak
def test_twenty_thousand_requests(tmp_path: Path) -> None:
    check(answers(tmp_path, 1800), 20_000)
