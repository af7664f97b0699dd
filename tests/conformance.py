"""How the service answers OpenAI's clients, field by field: from their types and the service's own models."""

from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from openai.types import Image, ImagesResponse, Model
from openai.types.image_generate_params import ImageGenerateParamsNonStreaming, ImageGenerateParamsStreaming
from pydantic import BaseModel

from serve_app.dialects import openai

GENERATE = "POST /v1/images/generations"
OTHER_ROUTES = ("POST /v1/images/edits", "POST /v1/images/variations")  # OpenAI's, which this service has not
SAME_LIMITS = ("n",)  # what our own limits are in OpenAI's document too

Row = tuple[str, str, str, str]


def values(annotation: Any) -> set[Any]:
    """The literal values that a type names; empty when it takes others too."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if get_origin(annotation) is None or get_origin(annotation) is list or not parts:
        return set()
    found = [values(part) for part in parts]
    return set().union(*found) if all(found) else set()


def asked() -> dict[str, set[Any]]:
    """OpenAI's request fields, each with the values that its type names."""
    kinds = (ImageGenerateParamsNonStreaming, ImageGenerateParamsStreaming)
    found: dict[str, set[Any]] = {}
    for name, annotation in (item for kind in kinds for item in get_type_hints(kind).items()):
        found[name] = found.get(name, set()) | values(annotation)
    return found


def request_rows() -> Iterator[Row]:
    """Each field that OpenAI or this service knows in a request."""
    ours, theirs = openai.ImagesRequest.model_fields, asked()
    for name in (*theirs, *(name for name in ours if name not in theirs)):
        if name not in ours:
            yield GENERATE, name, "refused", "400 `unknown_parameter`"
            continue
        note = _note(name)
        if name not in theirs:
            yield GENERATE, name, "added", note
            continue
        taken = values(ours[name].annotation)
        if taken and theirs[name] - taken:
            note = f"only {_listed(taken)}"
        yield GENERATE, name, "differs" if note else "supported", note


def _note(name: str) -> str:
    field = openai.ImagesRequest.model_fields[name]
    if name in SAME_LIMITS:
        return ""
    limit = {key: value for each in field.metadata for key, value in vars_of(each).items()}
    parts = [field.description or ""]
    if "max_length" in limit:
        parts.append(f"{limit.get('min_length', 0)}–{limit['max_length']} characters")
    if "le" in limit:
        parts.append(
            f"{limit['ge']}–{limit['le']:g}" if isinstance(limit["le"], float) else f"{limit['ge']}–{limit['le']}"
        )
    return ", ".join(part for part in parts if part)


def vars_of(limit: Any) -> dict[str, Any]:
    """The limits that one piece of a field's metadata sets."""
    return {key: getattr(limit, key) for key in ("min_length", "max_length", "ge", "le") if hasattr(limit, key)}


def _listed(these: set[Any]) -> str:
    return ", ".join(
        f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in sorted(these, key=str)
    )


def answer_rows(route: str, theirs: type[BaseModel], ours: type[BaseModel], prefix: str = "") -> Iterator[Row]:
    """Each field of an answer."""
    for name in (*theirs.model_fields, *(name for name in ours.model_fields if name not in theirs.model_fields)):
        shown = f"answer: {prefix}{name}"
        if name not in ours.model_fields:
            yield route, shown, "absent", ""
        else:
            yield route, shown, "supported" if name in theirs.model_fields else "added", ""


def rows() -> Iterator[Row]:
    """The whole table."""
    yield from request_rows()
    yield from answer_rows(GENERATE, ImagesResponse, openai.ImagesResponse)
    yield from answer_rows(GENERATE, Image, openai.ImageData, "data[].")
    yield from answer_rows("GET /v1/models, GET /v1/models/{id}", Model, openai.Model)
    for route in OTHER_ROUTES:
        yield route, "all", "refused", "404 `not_found`"


def table() -> str:
    """The table for the README."""
    lines = ["| route | field | here | |", "|---|---|---|---|"]
    lines += [f"| `{route}` | `{name}` | {here} | {note} |" for route, name, here, note in rows()]
    return "\n".join(lines) + "\n"
