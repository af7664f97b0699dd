"""From an HTTP answer to an error and its exit code."""

import json
from typing import Any

import pytest

from sdctl import answers
from sdctl.answers import Answer, FieldRefused
from sdctl.errors import Busy, NotFound, SdctlError
from sdctl.retry import Again


def answer(status: int, document: Any = None, *, body: bytes = b"", **headers: str) -> Answer:
    names = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, names, json.dumps(document).encode() if document is not None else body)


def ours(status: int, code: str, param: str | None = None, **headers: str) -> Answer:
    document = {"error": {"message": "so it is", "type": "t", "param": param, "code": code}}
    return answer(status, document, body=b"", **headers)


def unwrapped(found: SdctlError | Again) -> SdctlError:
    return found.error if isinstance(found, Again) else found


@pytest.mark.parametrize(
    ("given", "exit_code", "code", "again"),
    [
        (ours(400, "invalid", "num_inference_steps"), 2, "invalid", False),
        (ours(400, "content_policy_violation"), 2, "content_refused", False),
        (answer(422, {"detail": [{"loc": ["body", "seed"], "msg": "too big"}]}), 2, "invalid", False),
        (ours(413, "too_large"), 2, "invalid", False),
        (ours(401, "invalid_api_key"), 7, "not_allowed", False),
        (answer(403, body=b"RBAC: access denied"), 7, "not_allowed", False),
        (ours(404, "model_not_found"), 3, "not_found", False),
        (answer(404, {"detail": "Not Found"}), 3, "not_found", False),
        (answer(408), 4, "timed_out", False),
        (ours(504, "deadline"), 4, "timed_out", False),
        (ours(503, "starting", Retry_After="3"), 8, "busy", True),
        (ours(429, "rate_limited"), 8, "busy", True),
        (ours(429, "insufficient_quota"), 8, "busy", False),
        (answer(502, body=b"<html>", content_type="text/html"), 5, "unreachable", True),
        (answer(500, body=b"Internal Server Error"), 1, "service_failed", True),
        (ours(500, "internal"), 1, "service_failed", False),
    ],
)
def test_every_status_has_its_error(given: Answer, exit_code: int, code: str, again: bool) -> None:
    found = answers.error(given, "http://host")
    assert isinstance(found, Again) is again
    error = unwrapped(found)
    assert (error.exit_code, error.code) == (exit_code, code)
    assert "http://host" in error.message
    assert error.hint


def test_a_refused_field_is_named_as_the_option_it_came_from() -> None:
    found = answers.error(ours(400, "invalid", "guidance_scale"), "http://host")
    assert unwrapped(found).message == "http://host refuses --guidance: so it is"


def test_a_refused_field_is_found_where_only_the_message_names_it() -> None:
    """LiteLLM's proxy answers so."""
    said = "UnsupportedParamsError: Setting `response_format` is not supported by openai, house-model."
    body = {"error": {"message": said, "type": "None", "param": None, "code": "400"}}
    found = answers.error(answer(400, body), "http://host")
    assert isinstance(found, FieldRefused)
    assert found.field == "response_format"


def test_a_failure_of_the_service_names_the_request() -> None:
    assert "abc-1" in unwrapped(answers.error(ours(500, "internal", x_request_id="abc-1"), "http://host")).hint


def test_a_missing_model_and_a_missing_service_are_told_apart() -> None:
    model, route = (answers.error(ours(404, code), "http://host") for code in ("model_not_found", "not_found"))
    assert isinstance(model, NotFound)
    assert "--model" in model.hint
    assert isinstance(route, NotFound)
    assert "--dialect" in route.hint


def test_what_a_server_says_cannot_drive_the_terminal() -> None:
    said = answers.refusal(answer(500, body=b"a\x1b[2J\x07\nb" + b"x" * 5000)).message
    assert said.isprintable()
    assert len(said) <= answers.MAX_SHOWN + 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Sat, 28 Nov 2026 12:00:10 GMT", 10.0),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("1e400", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    now = 1795867200.0  # 2026-11-28 12:00:00 UTC
    assert answers.retry_after_s(answer(503, Retry_After=header), now) == seconds


def test_busy_carries_the_services_wait() -> None:
    found = answers.error(ours(503, "busy", Retry_After="4"), "http://host")
    assert isinstance(found, Again)
    assert found.after_s == 4.0
    assert isinstance(found.error, Busy)
