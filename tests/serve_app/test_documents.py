"""What browsers meet: the documents, links to save from, and pages of other origins."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve_app.conftest import Front, make_front

PAGE = "https://gallery.example"


def test_every_route_has_a_description_examples_and_errors_with_their_shape(tmp_path: Path) -> None:
    (tmp_path / "ann").write_text("ann-key", encoding="utf-8")
    document = make_front(tmp_path).api.openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            assert "422" not in operation["responses"]  # FastAPI's own shape, which no route answers
            for status, said in operation["responses"].items():
                if int(status) >= 400 and path != "/healthz":
                    content = said["content"]["application/json"]
                    assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
                    assert {"message", "type", "code"} <= set(content["example"]["error"])  # a null param is left out
            asks = "401" in operation["responses"]
            assert operation.get("security", []) == ([{"key": []}] if asks else [])
    for path in ("/imagine", "/v1/images/generations"):
        operation = document["paths"][path]["post"]
        assert operation["requestBody"]["content"]["application/json"]["example"]["prompt"]
        assert "X-Seed" in operation["responses"]["200"]["headers"]
        assert "Retry-After" in operation["responses"]["503"]["headers"]
        assert [parameter["name"] for parameter in operation["parameters"]] == ["X-Request-Timeout"]


def test_a_service_without_keys_documents_none(front: Front) -> None:
    assert "securitySchemes" not in front.api.openapi()["components"]


def test_the_docs_are_one_page_that_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "ann").write_text("ann-key", encoding="utf-8")
    front = make_front(tmp_path)

    async def use(client: httpx.AsyncClient) -> None:
        response = await client.get("/docs")
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        page = response.text
        assert not re.search(r"<script|src=|https?://", page)
        for route in ("GET /imagine", "POST /imagine", "POST /v1/images/generations", "GET /v1/models/{model_id}"):
            assert f"<code>{route}</code>" in page
        assert "num_inference_steps" in page
        assert "Authorization: Bearer" in page
        assert (await client.get("/redoc")).status_code == 404

    front.run(use)


@pytest.mark.parametrize(("query", "saved"), [("", False), ("download=false", False), ("download=true", True)])
def test_links_save_where_asked(front: Front, query: str, saved: bool) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = {"prompt": "a", "response_format": "url", "output_format": "webp"}
        (one,) = (await client.post("/v1/images/generations", json=body)).json()["data"]
        kept = await client.get(f"{one['url']}?{query}")
        drawn = await client.get(f"/imagine?prompt=a&format=webp&{query}")
        for response in (kept, drawn):
            assert response.status_code == 200
            asked = response.headers.get("content-disposition")
            assert asked == ('attachment; filename="image.webp"' if saved else None)
        assert (await client.get(f"{one['url']}?width=8")).json()["error"]["param"] == "width"

    front.run(use)


@pytest.mark.parametrize(
    ("headers", "begin"),
    [
        ({}, "http://127.0.0.1/v1/images/kept/"),
        ({"host": "images.example", "x-forwarded-proto": "https"}, "https://images.example/v1/images/kept/"),
        ({"host": "images.example", "x-forwarded-proto": "https, http"}, "https://images.example/v1/images/kept/"),
        ({"host": "images.example", "x-forwarded-proto": "javascript"}, "http://images.example/v1/images/kept/"),
    ],
)
def test_links_and_prompts_stay_on_tls_behind_a_load_balancer(
    front: Front, headers: dict[str, str], begin: str
) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = {"prompt": "a", "response_format": "url"}
        answer = await client.post("/v1/images/generations", json=body, headers=headers)
        assert answer.json()["data"][0]["url"].startswith(begin)
        assert (await client.get("/imagine/?prompt=a", headers=headers)).status_code == 404  # not a redirect to http

    front.run(use)


def test_pages_of_other_origins_may_call_only_where_they_are_named() -> None:
    allowed: tuple[str, ...] = ()

    async def use(client: httpx.AsyncClient) -> None:
        asked: dict[str, Any] = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-request-timeout",
        }
        for origin in (PAGE, "https://evil.example"):
            before = await client.options("/imagine", headers={"Origin": origin, **asked})
            good = await client.post("/imagine", json={"prompt": "a"}, headers={"Origin": origin})
            bad = await client.post("/imagine", json={}, headers={"Origin": origin})
            assert (good.status_code, bad.status_code) == (200, 400)
            for response in (before, good, bad):
                assert response.headers.get("access-control-allow-origin") == (origin if origin in allowed else None)
            assert ("X-Seed" in good.headers.get("access-control-expose-headers", "")) is bool(allowed)

    make_front().run(use)
    allowed = (PAGE,)
    make_front(cors_origins=allowed).run(use)
