"""A service behind a URL: how it is called, what status and doctor say of it, what it cannot do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdctl.cli import run
from sdctl.errors import InvalidRequest, NotFound
from sdctl.targets.base import Selection
from sdctl.targets.select import select
from sdctl.targets.url import UrlTarget, authorization
from tests.fakes import certificate
from tests.fakes import http_service as fake
from tests.fakes.http_service import HttpService, Reply, http_service

URL = "https://images.example/team"


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDCTL_TOKEN", "SDCTL_TARGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("given", [URL, f"{URL}/", f"{URL}/v1", f"{URL}/v1/"])
def test_a_base_url_as_openais_clients_have_it_is_understood(given: str) -> None:
    with UrlTarget(given, Selection()).endpoint() as endpoint:
        assert endpoint.url == URL


@pytest.mark.parametrize(
    "target",
    ["ftp://host", "http://", "http://[::1", "host:8000", "http://host:99999", "http://u:p@host", f"{URL}?key=1"],
)
def test_what_is_no_target_is_refused_and_a_password_not_repeated(target: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        select(Selection(target=target))
    assert "u:p" not in caught.value.message


def test_the_key_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert authorization("") == {}
    monkeypatch.setenv("SDCTL_TOKEN", " k1\n")
    assert authorization("") == {"Authorization": "Bearer k1"}
    (tmp_path / "key").write_text("k2\n")
    assert authorization(str(tmp_path / "key")) == {"Authorization": "Bearer k2"}


@pytest.mark.parametrize("content", [b"", b" \n", "ключ".encode(), b"two\nlines"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        authorization(str(tmp_path / "key"))
    assert "lines" not in caught.value.message


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("none", "binary"):
        with pytest.raises(NotFound, match=name):
            authorization(str(tmp_path / name))


def test_the_key_is_never_printed() -> None:
    with UrlTarget(URL, Selection()).endpoint() as endpoint:
        assert "headers" not in repr(endpoint)


@pytest.fixture
def service() -> Iterator[HttpService]:
    with http_service() as running:
        yield running


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.wire
@pytest.mark.parametrize(
    ("get", "state"),
    [
        (fake.json_reply(200, {"status": "ok"}), "ready"),
        (fake.error(503, "starting", "the first replica loads its model"), "starting"),
        (fake.error(401, "invalid_api_key"), "unknown"),
        (Reply(404), "unknown"),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), "unknown"),
    ],
)
def test_status_says_what_healthz_says(
    service: HttpService, get: Reply, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.gets = get
    assert run(["status", "--target", service.url, "--json"]) == 0
    found = document(capsys)
    assert (found["target"], found["state"]) == ("url", state)
    assert found["endpoint"]["url"] == service.url
    assert bool(found["reason"]) is (state != "ready")


@pytest.mark.wire
def test_an_openai_server_and_nobody_have_a_status_too(capsys: pytest.CaptureFixture[str]) -> None:
    with http_service("openai") as other:
        assert run(["status", "--target", other.url, "--json"]) == 0
        assert document(capsys)["state"] == "ready"
    assert run(["status", "--target", "http://127.0.0.1:1", "--json"]) == 0
    assert document(capsys)["state"] == "unreachable"


@pytest.mark.wire
def test_doctor_names_reach_key_and_dialect(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--target", service.url, "--json"]) == 0
    findings = {each["what"]: each for each in document(capsys)["findings"]}
    assert set(findings) == {"reachable", "encrypted", "key", "dialect", "ready"}
    assert findings["dialect"]["detail"] == "sdctl"
    service.gets = fake.error(401, "invalid_api_key")
    assert run(["doctor", "--target", service.url, "--json"]) == 1
    key = next(each for each in document(capsys)["findings"] if each["what"] == "key")
    assert (key["level"], key["detail"]) == ("fail", "The service wants a key.")
    assert run(["doctor", "--target", "http://127.0.0.1:1", "--json"]) == 1


@pytest.mark.wire
@pytest.mark.parametrize(
    "arguments",
    [["deploy"], ["dashboard", "--no-browser"], ["logs"], ["cleanup", "--yes"], ["forward"]],
    ids=lambda a: a[0],
)
def test_what_a_url_does_not_have_is_exit_2(
    service: HttpService, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--target", service.url, "--json"]) == 2
    error = document(capsys)["error"]
    assert error["code"] == "unsupported"
    assert service.url in error["message"]


@pytest.mark.wire
def test_certificates_are_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pem, key = certificate.write(tmp_path)
    with http_service(certificate=(pem, key)) as secure:
        command = ["imagine", "sun", "--target", secure.url, "-o", str(tmp_path / "x.png"), "--json"]
        assert run(command) == 5
        error = document(capsys)["error"]
        assert error["code"] == "tls"
        assert "--ca-file" in error["hint"]
        assert secure.seen == []
        assert run([*command, "--ca-file", str(pem)]) == 0
        assert run([*command, "--ca-file", str(key), "--force"]) == 3
