"""HTTP: what an exchange gives and raises, redirects, keys, proxies; the client code is real, the transport is not."""

import socket
import ssl
from collections.abc import Callable, Iterator

import httpx
import pytest

from sdctl import service
from sdctl.errors import InvalidRequest, NotFound, SdctlError, TimedOut, Unreachable
from sdctl.retry import Again
from sdctl.targets.base import Endpoint
from tests.fakes.http_service import http_service

URL = "https://images.example/team"
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, url: str = URL) -> httpx.Client:
    endpoint = Endpoint(url, headers={"Authorization": "Bearer k"})
    return service.http_client(endpoint, timeout_s=5, transport=httpx.MockTransport(handler))


def raising(error: Exception) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    return handler


def test_paths_are_relative_to_the_endpoint_and_the_key_goes_along() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{URL}/imagine"
        assert request.headers["authorization"] == "Bearer k"
        assert request.headers["user-agent"].startswith("sdctl/")
        return httpx.Response(200, content=b"body", headers={"X-Seed": "7"})

    answer = service.exchange(client(handler), "POST", "/imagine", json={"prompt": "x"}, timeout_s=5)
    assert (answer.status, answer.headers["x-seed"], answer.body) == (200, "7", b"body")


@pytest.mark.parametrize(
    ("error", "connected"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("too long"), False),
        (httpx.ReadError("reset"), True),
        (httpx.WriteError("broken pipe"), True),
        (httpx.RemoteProtocolError("peer closed connection without sending complete message body"), True),
    ],
)
def test_no_connection_and_a_dropped_one_are_worth_another_try(error: Exception, connected: bool) -> None:
    with pytest.raises(Again) as caught:
        service.exchange(client(raising(error)), "GET", "/", timeout_s=5)
    assert caught.value.connected is connected
    assert isinstance(caught.value.error, Unreachable)
    assert URL in caught.value.error.message


def test_silence_is_a_time_out() -> None:
    with pytest.raises(TimedOut, match="within 5 s"):
        service.exchange(client(raising(httpx.ReadTimeout("silence"))), "GET", "/", timeout_s=5)


def test_a_bad_certificate_is_not_tried_again() -> None:
    error = httpx.ConnectError("handshake")
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed certificate")
    with pytest.raises(Unreachable, match="no valid certificate") as caught:
        service.exchange(client(raising(error)), "GET", "/", timeout_s=5)
    assert "--ca-file" in caught.value.hint


def test_an_unknown_name_is_not_tried_again() -> None:
    error = httpx.ConnectError("[Errno -2] Name or service not known")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(Unreachable, match="cannot be reached"):
        service.exchange(client(raising(error)), "GET", "/", timeout_s=5)


def test_a_refusing_proxy_is_named() -> None:
    with pytest.raises(Unreachable, match="proxy"):
        service.exchange(client(raising(httpx.ProxyError("407"))), "GET", "/", timeout_s=5)


def test_a_redirect_on_the_same_host_keeps_the_request() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/old"):
            return httpx.Response(307, headers={"Location": "/team/new"})
        return httpx.Response(200, content=request.method.encode() + request.content)

    answer = service.exchange(client(handler), "POST", "/old", json=1, timeout_s=5)
    assert answer.body == b"POST1"


@pytest.mark.parametrize(
    ("status", "location"),
    [(307, "https://elsewhere.example/x"), (308, "http://images.example/x"), (302, "/team/x")],
    ids=["another host", "no TLS", "POST becomes GET"],
)
def test_redirects_that_would_leak_or_lose_the_request_are_not_followed(status: int, location: str) -> None:
    hosts: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.append(str(request.url))
        return httpx.Response(status, headers={"Location": location})

    with pytest.raises(SdctlError, match="redirects") as caught:
        service.exchange(client(handler), "POST", "/imagine", json={"prompt": "secret"}, timeout_s=5)
    assert hosts == [f"{URL}/imagine"]
    assert caught.value.code == "redirected"
    assert "secret" not in caught.value.message


def test_a_circle_of_redirects_ends() -> None:
    handler: Handler = lambda request: httpx.Response(307, headers={"Location": str(request.url)})  # noqa: E731
    with pytest.raises(SdctlError, match="circle"):
        service.exchange(client(handler), "GET", "/", timeout_s=5)


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_BODY_BYTES", 1000)

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 300

    with pytest.raises(SdctlError, match="more than 1000 bytes"):
        service.exchange(client(lambda request: httpx.Response(200, content=endless())), "GET", "/", timeout_s=5)


def test_an_answer_that_drips_is_cut_off_at_the_deadline() -> None:
    def dripping() -> Iterator[bytes]:
        while True:
            yield b"x"

    handler: Handler = lambda request: httpx.Response(200, content=dripping())  # noqa: E731
    with pytest.raises(TimedOut):
        service.exchange(client(handler), "GET", "/", timeout_s=-service.GRACE_S)


def test_a_link_to_another_host_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str | None] = {}
    real = service.http_client
    own = client(lambda request: handler(request))

    def handler(request: httpx.Request) -> httpx.Response:
        seen[request.url.host] = request.headers.get("authorization")
        return httpx.Response(200, content=b"image")

    def recording(endpoint: Endpoint, *, timeout_s: float) -> httpx.Client:
        return real(endpoint, timeout_s=timeout_s, transport=httpx.MockTransport(handler))

    monkeypatch.setattr(service, "http_client", recording)
    with own:
        for host in ("images.example", "bucket.example"):
            service.download(own, Endpoint(URL), f"https://{host}/signed", timeout_s=5)
        with pytest.raises(SdctlError, match="not http"):
            service.download(own, Endpoint(URL), "file:///etc/passwd", timeout_s=5)
    assert seen == {"images.example": "Bearer k", "bucket.example": None}


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8000", True),
        ("https://localhost", True),
        ("http://app.localhost:1", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example.com", False),
    ],
)
def test_loopback_is_recognised(url: str, loopback: bool) -> None:
    assert service.is_loopback(url) is loopback


@pytest.mark.wire
def test_proxies_come_from_the_environment_but_never_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with http_service() as proxy, http_service() as local:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for url in ("http://images.invalid", local.url):
            with service.http_client(Endpoint(url), timeout_s=60) as http:
                assert service.exchange(http, "GET", "/healthz", timeout_s=60).status == 200
        assert [seen.path for seen in proxy.seen] == ["http://images.invalid/healthz"]
        assert [seen.path for seen in local.seen] == ["/healthz"]


def test_what_http_cannot_carry_is_the_users_error(tmp_path: object) -> None:
    with pytest.raises(InvalidRequest, match="cannot be called"):
        service.http_client(Endpoint("http://ho\x7fst"), timeout_s=1)
    with pytest.raises(InvalidRequest, match="cannot be called"):
        service.http_client(Endpoint("http://host", headers={"Authorization": "Bearer ключ"}), timeout_s=1)
    with pytest.raises(NotFound, match="certificate authorities"):
        service.http_client(Endpoint("https://host", ca_file=f"{tmp_path}/none.pem"), timeout_s=1)
