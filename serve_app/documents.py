"""What the OpenAPI document says of parameters, answers and errors that routes share."""

from typing import Any

from pydantic import BaseModel

from serve_app.errors import Refusal
from serve_app.jobs import MEDIA_TYPES
from serve_app.schemas import (
    HEADER_BATCH_SIZE,
    HEADER_MODEL,
    HEADER_RECEIPT,
    HEADER_REPLICA,
    HEADER_REQUEST_ID,
    HEADER_SEED,
    HEADER_TIMEOUT,
    HEADER_TIMINGS,
    ErrorBody,
)

Responses = dict[int | str, dict[str, Any]]

KEY = "key"
RETRY_AFTER = {"Retry-After": {"description": "Seconds until a repetition makes sense", "schema": {"type": "integer"}}}
LIMIT_HEADERS = {
    f"x-ratelimit-{name}-requests": {"description": text, "schema": {"type": "string"}}
    for name, text in (
        ("limit", "Images a minute, where the service limits them"),
        ("remaining", "Those that are left"),
        ("reset", "Until one more is, such as 20s"),
    )
}
PICTURE_HEADERS = {
    HEADER_SEED: "The seed that was used",
    HEADER_MODEL: "The model",
    HEADER_REPLICA: "Who made it",
    HEADER_BATCH_SIZE: "Images of the same pipeline call",
    HEADER_RECEIPT: "All that made the image except the prompt's text: base64url JSON",
    HEADER_TIMINGS: "Milliseconds of queue, generate, encode",
    HEADER_REQUEST_ID: "The caller's, when it is harmless, else a new one",
}
TIMEOUT = {
    "name": HEADER_TIMEOUT,
    "in": "header",
    "required": False,
    "description": "Seconds after which the answer is a 504 and the work stops",
    "schema": {"type": "number", "exclusiveMinimum": 0},
    "example": 60,
}


def _errors(*refusals: Refusal) -> Responses:
    return {refusal.status: _error(refusal) for refusal in refusals}


def _error(refusal: Refusal) -> dict[str, Any]:
    """The answer of a status; its message stands as an example."""
    example = {"error": {name: getattr(refusal, name) for name in ("message", "type", "param", "code")}}
    said: dict[str, Any] = {"model": ErrorBody, "description": refusal.message}
    said["content"] = {"application/json": {"example": example}}
    if refusal.status in (429, 503):
        said["headers"] = RETRY_AFTER | (LIMIT_HEADERS if refusal.status == 429 else {})
    return said


def _json(description: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


INTERNAL = _errors(Refusal(500, "internal_error", "The service failed; its log has the cause under the request's id."))
KEY_ERRORS = INTERNAL | _errors(
    Refusal(401, "invalid_api_key", "No key, or one that is not known here."),
    Refusal(503, "overloaded", "Starting or busy."),
)
INVALID = _errors(Refusal(400, "invalid_value", "Invalid, more than the model can, or refused content.", "seed"))
ERRORS = (
    KEY_ERRORS
    | INVALID
    | _errors(
        Refusal(404, "model_not_found", "There is no such model here.", "model"),
        Refusal(429, "rate_limit_exceeded", "This key has too many requests in flight, or images in this minute."),
        Refusal(504, "deadline_exceeded", "The image was not ready within the request's time."),
    )
)
MISSING = _errors(Refusal(404, "not_found", "There is no such thing, or no longer."))
GONE = INTERNAL | INVALID | MISSING
HEALTH: Responses = {
    200: _json("A replica can make images, or is busy with it.", {"status": "ok", "replicas": 1, "in_flight": 0}),
    503: _json("Starting, or no replica has answered for 10 s.", {"status": "starting"}),
}
BODY_ERRORS = ERRORS | _errors(
    Refusal(408, "body_timeout", "The body did not come in time."),
    Refusal(413, "request_too_large", "The body is too large."),
    Refusal(415, "unsupported_media_type", "The body is not application/json."),
)
HEADERS = {name: {"description": text, "schema": {"type": "string"}} for name, text in PICTURE_HEADERS.items()}
IMAGE_BYTES: dict[str, Any] = {
    media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()
}
IMAGE: Responses = {200: {"description": "The image", "content": IMAGE_BYTES}}
IMAGE_AND_RECEIPT: Responses = {200: {**IMAGE[200], "headers": HEADERS}}


def query_parameters(model: type[BaseModel], example: dict[str, Any] | None = None) -> dict[str, Any]:
    """The model's fields as parameters of the query."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    examples = {name: {"example": value} for name, value in (example or {}).items()}
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": _in_query(field)}
            | examples.get(name, {})
            for name, field in schema["properties"].items()
        ]
    }


def _in_query(field: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: an absent parameter is one that is not there."""
    choices: list[dict[str, Any]] = [choice for choice in field.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return field
    return {name: value for name, value in field.items() if name not in ("anyOf", "default")} | choices[0]


def drawing(extra: dict[str, Any]) -> dict[str, Any]:
    """What describes a route that draws: its fields, and the header that limits its time."""
    return {**extra, "parameters": [*extra.get("parameters", []), TIMEOUT]}


def json_body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The model as the body."""
    content = {"application/json": {"schema": model.model_json_schema(), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def finished(document: dict[str, Any], *, keys: bool) -> dict[str, Any]:
    """FastAPI's document without its own 422, which no route answers; what answers 401 asks for a key."""
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            if keys and "401" in operation["responses"]:
                operation["security"] = [{KEY: []}]
    if keys:
        document["components"]["securitySchemes"] = {KEY: {"type": "http", "scheme": "bearer"}}
    return document
