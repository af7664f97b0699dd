"""Requests made from the OpenAPI document against the real service: what it answers is documented."""

from urllib.parse import urlsplit

import httpx
import pytest
import schemathesis

from tests import openapi_cases
from tests.local.cli import DEADLINE_S
from tests.local.keyed.conftest import KeyedService, key_of

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

LATE = ("504",)  # the document lets a request say how long it waits


def answers(keyed: KeyedService, examples: int, *, boundaries: bool) -> openapi_cases.Answers:
    document = httpx.get(f"{keyed.url}/openapi.json", timeout=DEADLINE_S, trust_env=False).json()
    prefix = urlsplit(keyed.url).path
    assert document.pop("servers", [{"url": prefix}]) == [{"url": prefix}]
    config = openapi_cases.configured(examples, key_of("fuzz"), url=keyed.url, expected=LATE, boundaries=boundaries)
    return openapi_cases.run(schemathesis.openapi.from_dict(openapi_cases.with_links(document), config=config))


def test_some_requests(keyed: KeyedService) -> None:
    """Few: the same application answers thousands without Serve in tests/serve_app/test_openapi.py."""
    found = answers(keyed, 8, boundaries=False)
    assert found.failures == []
    assert found.phases["FUZZING"]
    assert found.phases["STATEFUL_TESTING"]
    assert {("POST /imagine", 200), ("POST /v1/images/generations", 200)} <= set(found.statuses)


@pytest.mark.soak
def test_thousands_of_requests(keyed: KeyedService) -> None:
    found = answers(keyed, 100, boundaries=True)
    assert found.failures == []
    assert found.phases.total() > 1500
