"""Somebody else's Images API: takes OpenAI's own request, by the types of OpenAI's client, and nothing else."""

import base64
from typing import Any, get_type_hints

from openai.types.image_generate_params import ImageGenerateParamsNonStreaming
from pydantic import TypeAdapter, ValidationError

from tests.fakes.http_service import HttpService, Reply, Seen, draw, error, json_reply

SIDE = 64
PNG = {"Content-Type": "image/png"}
REQUEST = TypeAdapter(ImageGenerateParamsNonStreaming)


class OpenAIServer(HttpService):
    """Wants a key. Answers with links, or as newer models do: with base64, refusing `response_format`."""

    def __init__(self, *, links: bool, key: str = "sk-theirs") -> None:
        super().__init__("openai")
        self._links = links
        self._key = key
        self._fields = set(get_type_hints(ImageGenerateParamsNonStreaming)) - {"style"}
        if not links:
            self._fields.discard("response_format")

    def reply(self, seen: Seen) -> Reply:
        """The answer to one request."""
        self.seen.append(seen)
        if seen.path.startswith("/files/"):
            return Reply(200, draw(1, SIDE, SIDE), PNG)
        if seen.headers.get("authorization") != f"Bearer {self._key}":
            return error(401, "invalid_api_key", "Incorrect API key provided.")
        if (seen.method, seen.path) == ("GET", "/v1/models"):
            return json_reply(200, {"object": "list", "data": [{"id": "house-model", "object": "model"}]})
        if (seen.method, seen.path) == ("POST", "/v1/images/generations"):
            return self.script.popleft() if self.script else self._generate(seen.body)
        return error(404, "unknown_url", f"Unknown request URL: {seen.method} {seen.path}.")

    def _generate(self, body: dict[str, Any]) -> Reply:
        for name in body:
            if name not in self._fields:
                return error(400, "unknown_parameter", f"Unknown parameter: '{name}'.", name)
        try:
            REQUEST.validate_python(body, strict=True)
        except ValidationError as failed:
            return error(400, "invalid_value", "Invalid value.", str(failed.errors()[0]["loc"][0]))
        if "forbidden" in body["prompt"]:
            return error(400, "moderation_blocked", "Your request was rejected by the safety system.")
        if self._links:
            return json_reply(200, {"created": 1, "data": [{"url": f"{self.url}/files/one.png"}]})
        picture = base64.b64encode(draw(1, SIDE, SIDE)).decode()
        return json_reply(200, {"created": 1, "data": [{"b64_json": picture, "revised_prompt": None}]})
