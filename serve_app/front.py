"""What every route does first: who calls, for how long, and a body that is small, JSON and valid."""

import asyncio
import json
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from serve_app.config import ServiceConfig
from serve_app.errors import Refusal, ServiceError, invalid
from serve_app.keys import OPEN_TENANT, KeyRing
from serve_app.resolve import Call
from serve_app.schemas import HEADER_REQUEST_ID, HEADER_TIMEOUT, Format

MAX_BODY_BYTES = 1024 * 1024
SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
BY_MEDIA_TYPE: dict[str, Format] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp", "image/*": "png"}

M = TypeVar("M", bound=BaseModel)


def request_id(headers: Mapping[str, str]) -> str:
    """The caller's id when it is harmless, else a new one."""
    given = headers.get(HEADER_REQUEST_ID, "")
    return given if SAFE_ID.fullmatch(given) else uuid.uuid4().hex


def open_call(request: Request, config: ServiceConfig, keys: KeyRing | None) -> Call:
    """Authenticate and read the transport's part of a request; raises ServiceError (401, 400)."""
    tenant = keys.tenant(request.headers.get("authorization")) if keys else OPEN_TENANT
    request.state.tenant = tenant
    return Call(
        request_id=request.state.request_id,
        tenant=tenant,
        timeout_s=_timeout_s(request.headers.get(HEADER_TIMEOUT), config.max_timeout_s),
        accepted_format=_accepted(request.headers.get("accept", "")),
    )


def _timeout_s(header: str | None, most: float) -> float:
    if header is None:
        return most
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise invalid(f"{HEADER_TIMEOUT} is a positive number of seconds.", HEADER_TIMEOUT)
    return min(seconds, most)


def _accepted(header: str) -> Format | None:
    """The image format that the Accept header names first, if any."""
    for part in header.split(","):
        found = BY_MEDIA_TYPE.get(part.partition(";")[0].strip().lower())
        if found:
            return found
    return None


async def json_body(request: Request, model: type[M]) -> M:
    """The validated body; raises ServiceError (408, 413, 415, 400)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ServiceError(Refusal(415, "unsupported_media_type", "Send the body as application/json."))
    patience_s = request.app.state.service.gateway.config.body_timeout_s
    try:
        async with asyncio.timeout(patience_s):  # a client that sends no further byte must not keep its place for ever
            raw = await _read(request)
    except TimeoutError:
        raise ServiceError(Refusal(408, "body_timeout", f"The body did not come within {patience_s:g} s.")) from None
    try:
        document = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON.", code="invalid_json") from None
    if not isinstance(document, dict):
        raise invalid("The body is a JSON object.", code="invalid_json")
    return validated(model, document)


async def _read(request: Request) -> bytes:
    too_large = ServiceError(Refusal(413, "request_too_large", f"A body has at most {MAX_BODY_BYTES} bytes."))
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def query(request: Request, model: type[M]) -> M:
    """The validated query; raises ServiceError (400)."""
    pairs = request.query_params.multi_items()
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"{name[:50]!r} is given more than once.", name[:50])
    return validated(model, dict(pairs))


def validated(model: type[M], values: dict[str, Any]) -> M:
    """The values as the model; raises ServiceError (400) that names the field but no value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"])[:100] or None
        code = "unknown_parameter" if first["type"] == "extra_forbidden" else "invalid_value"
        problem = "is not a field of this request" if code == "unknown_parameter" else first["msg"]
        raise invalid(f"{param or 'The request'}: {problem}.", param, code) from None
