"""HTTP to the service and to Ray's dashboard: the only importer of httpx."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from sdctl import __version__
from sdctl.answers import Answer
from sdctl.errors import InvalidRequest, NotFound, SdctlError, TimedOut, Unreachable
from sdctl.retry import Again
from sdctl.targets.base import Endpoint

MAX_BODY_BYTES = 128 * 2**20  # a 2048 x 2048 PNG in base64 has at most 22 MB
MAX_REDIRECTS = 5
CONNECT_S = 10.0  # then the host is taken for unreachable
GRACE_S = 5.0  # the service's own 504 should arrive before we give up waiting for it

Client = httpx.Client


def http_client(endpoint: Endpoint, *, timeout_s: float, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client whose paths are relative to the endpoint: TLS verified, proxies by environment except for loopback.

    Redirects are not followed: the caller sees them. Raises InvalidRequest for a URL or header that HTTP cannot carry.
    """
    local = is_loopback(endpoint.url)
    try:
        return httpx.Client(
            base_url=endpoint.url,
            headers={"User-Agent": f"sdctl/{__version__}", **endpoint.headers},
            timeout=timeout_s,
            verify=_authorities(endpoint),
            trust_env=not local,
            follow_redirects=False,
            transport=transport,
        )
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidRequest(
            f"{endpoint.url} cannot be called: {type(error).__name__}.",
            hint="Check the URL, HTTPS_PROXY, and that the key is plain ASCII on one line.",
        ) from None


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine by its name or number."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _authorities(endpoint: Endpoint) -> ssl.SSLContext | bool:
    if not endpoint.ca_file:
        # Loading the certificate authorities takes 30 ms, which plain HTTP on this machine need not pay.
        return not (endpoint.url.startswith("http://") and is_loopback(endpoint.url))
    try:
        return ssl.create_default_context(cafile=endpoint.ca_file)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        raise NotFound(
            f"The certificate authorities in {endpoint.ca_file} cannot be read: {reason}.",
            hint="--ca-file takes a PEM file.",
        ) from None


def exchange(
    client: httpx.Client,
    method: str,
    path: str,
    *,
    json: Any = None,
    headers: dict[str, str] | None = None,
    timeout_s: float,
) -> Answer:
    """One request and its whole answer, whatever its status, within `timeout_s`.

    Raises Again where a repetition may help (no connection, a dropped one), TimedOut, Unreachable (TLS, name, proxy),
    and SdctlError for a redirect to another host or an answer without end.
    """
    longest_s = timeout_s + GRACE_S
    limits = httpx.Timeout(longest_s, connect=min(CONNECT_S, longest_s))
    request = client.build_request(method, path, json=json, headers=headers, timeout=limits)
    deadline = time.monotonic() + longest_s
    try:
        for _ in range(MAX_REDIRECTS):
            answer, following = _send(client, request, deadline)
            if following is None:
                return answer
            request = _checked_redirect(request, following, answer.status)
    except httpx.TransportError as error:
        raise _translated(error, client, timeout_s) from None
    raise SdctlError(f"{_origin(request.url)} redirects in a circle.", hint="Check the target's URL.")


def download(client: httpx.Client, endpoint: Endpoint, url: str, *, timeout_s: float) -> Answer:
    """GET an absolute http(s) URL that the service named; another host gets none of the endpoint's headers.

    Raises as `exchange` does.
    """
    target = urlsplit(url)
    if target.scheme not in ("http", "https"):
        raise SdctlError("The service names an image by a link that is not http.", code="wrong_image")
    own = urlsplit(endpoint.url)
    if (target.scheme, target.netloc) == (own.scheme, own.netloc):
        return exchange(client, "GET", url, timeout_s=timeout_s)
    elsewhere = Endpoint(f"{target.scheme}://{target.netloc}", ca_file=endpoint.ca_file)
    with http_client(elsewhere, timeout_s=timeout_s) as other:
        return exchange(other, "GET", url, timeout_s=timeout_s)


def _send(client: httpx.Client, request: httpx.Request, deadline: float) -> tuple[Answer, httpx.Request | None]:
    response = client.send(request, stream=True)
    try:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise SdctlError(f"{_origin(request.url)} answers with more than {MAX_BODY_BYTES} bytes.")
            if time.monotonic() > deadline:  # the client's own time-out is for each read
                raise httpx.ReadTimeout("the answer came too slowly", request=request)
    finally:
        response.close()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, bytes(body)), response.next_request


def _checked_redirect(request: httpx.Request, following: httpx.Request, status: int) -> httpx.Request:
    """The redirected request, if it goes to the same place by the same method: else keys or prompts would leak."""
    if _origin(following.url) == _origin(request.url) and following.method == request.method:
        return following
    raise SdctlError(
        f"{_origin(request.url)} redirects (HTTP {status}) to {_origin(following.url)}, which is not followed.",
        hint=f"If you trust it, use --target {_origin(following.url)}.",
        code="redirected",
    )


def _origin(url: httpx.URL) -> str:
    return str(url.copy_with(raw_path=b"/")).rstrip("/")


def _translated(error: httpx.TransportError, client: httpx.Client, timeout_s: float) -> Exception:
    where = str(client.base_url).rstrip("/")
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return TimedOut(
            f"{where} did not answer within {timeout_s:.0f} s.",
            hint="`sdctl status` shows whether it is overloaded; --timeout waits longer.",
        )
    if (refused := next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)) is not None:
        return Unreachable(
            f"{where} has no valid certificate: {getattr(refused, 'verify_message', '') or refused}.",
            hint="Give its certificate authority with --ca-file, and check the host's name.",
            code="tls",
        )
    if isinstance(error, httpx.ProxyError):
        return Unreachable(f"The proxy on the way to {where} refuses: {error}.", hint="Check HTTPS_PROXY and NO_PROXY.")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        unknown = any(
            isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN for cause in _causes(error)
        )
        gone = Unreachable(
            f"{where} cannot be reached: {error}.",
            hint="Check the URL." if unknown else "`sdctl status` shows whether the service runs.",
        )
        return gone if unknown else Again(gone, reason="cannot be reached", connected=False)
    dropped = Unreachable(
        f"The connection to {where} broke: {error or type(error).__name__}.",
        hint="`sdctl status` shows whether the service runs.",
    )
    return Again(dropped, reason="dropped the connection")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
