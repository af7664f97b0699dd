"""`imagine` against a server that is not ours: asked in OpenAI's words, over TLS, with its key and nothing more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdctl import receipt
from sdctl.cli import run
from tests.fakes import certificate
from tests.fakes.http_service import Reply, served
from tests.fakes.openai_server import OpenAIServer

pytestmark = pytest.mark.wire


@pytest.fixture(params=[True, False], ids=["links", "base64"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A strict server behind TLS with a certificate of its own; the key is in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDCTL_TOKEN", "sk-theirs")
    fake = OpenAIServer(links=request.param)
    with served(fake, certificate.write(tmp_path)):
        yield fake


def imagine(server: OpenAIServer, *words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = run(["imagine", *words, "--target", f"{server.url}/v1", "--ca-file", "cert.pem", "--json", "-o", "a.png"])
    return code, json.loads(capsys.readouterr().out)


def test_an_image_comes_whatever_the_server_leaves_out(
    server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = imagine(server, "a red star", capsys=capsys)
    assert code == 0
    assert receipt.read("a.png").prompt == "a red star"
    assert receipt.read("a.png").seed is None  # it takes none and tells none
    assert "prompt" not in "".join(seen.path for seen in server.seen)
    assert set(server.posts[-1].body) - {"response_format"} == {"prompt", "n"}


def test_what_the_user_asked_for_and_the_server_has_not_is_an_error(
    server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = imagine(server, "a red star", "--seed", "7", capsys=capsys)
    assert (code, document["error"]["code"]) == (2, "invalid")
    assert "--seed" in document["error"]["message"]
    assert not Path("a.png").exists()


def test_its_refusals_have_their_own_message(server: OpenAIServer, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = imagine(server, "forbidden", capsys=capsys)
    assert (code, document["error"]["code"]) == (2, "content_refused")
    assert "rejected by the safety system" in document["error"]["message"]


def test_a_wrong_key_and_an_unknown_authority_stop_it(
    server: OpenAIServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["imagine", "sun", "--target", server.url, "--json", "-o", "a.png"]) == 5
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "tls"
    assert server.seen == []  # nothing was sent, the key least of all
    monkeypatch.setenv("SDCTL_TOKEN", "sk-wrong")
    assert imagine(server, "sun", capsys=capsys)[0] == 7


def test_a_redirect_elsewhere_gets_neither_key_nor_prompt(
    server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = OpenAIServer(links=False)
    with served(elsewhere):
        server.script.append(Reply(307, b"", {"Location": f"{elsewhere.url}/v1/images/generations"}))
        code, document = imagine(server, "sun", "--dialect", "openai", capsys=capsys)
    assert (code, document["error"]["code"]) == (1, "redirected")
    assert elsewhere.seen == []
