"""What the OpenAPI document says of answers that routes share."""

from typing import Any

from pydantic import BaseModel

from serve_app.jobs import MEDIA_TYPES
from serve_app.schemas import ErrorBody

Responses = dict[int | str, dict[str, Any]]


def _errors(descriptions: dict[int, str]) -> Responses:
    return {status: {"model": ErrorBody, "description": text} for status, text in descriptions.items()}


KEY_ERRORS = _errors({401: "No key, or an unknown one", 503: "Starting or busy: Retry-After says when to come back"})
ERRORS = KEY_ERRORS | _errors(
    {
        400: "Invalid, unsupported by the model, or refused content",
        404: "No such model",
        429: "This key has too many requests in flight",
        500: "The service failed",
        504: "Not ready within the request's time",
    }
)
GONE = _errors({404: "No such thing, or no longer"})
BODY_ERRORS = ERRORS | _errors({413: "The body is too large", 415: "The body is not application/json"})
IMAGE: Responses = {
    200: {"description": "The image", "content": {media_type: {} for media_type in MEDIA_TYPES.values()}}
}


def query_parameters(model: type[BaseModel]) -> dict[str, Any]:
    """The model's fields as parameters of the query."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    fields = schema["properties"].items()
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": field} for name, field in fields
        ]
    }


def json_body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The model as the body."""
    content = {"application/json": {"schema": model.model_json_schema(), "example": example}}
    return {"requestBody": {"required": True, "content": content}}
