"""A service behind a URL: an ingress, a colleague's forward, or any OpenAI-compatible image server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from sdctl.errors import InvalidRequest, NotFound, SdctlError
from sdctl.targets.base import (
    DeploySpec,
    Endpoint,
    Finding,
    Leftover,
    LogLine,
    LogQuery,
    Selection,
    ServiceStatus,
    Step,
)
from sdctl.targets.forwarding import Listen

if TYPE_CHECKING:
    from sdctl.answers import Answer

TIMEOUT_S = 10.0  # for questions that no model is behind


class UrlTarget:
    """A service that somebody else runs: it can be used and looked at, not changed."""

    name = "url"

    def __init__(self, url: str, selection: Selection) -> None:
        parts = urlsplit(url)
        try:
            parts.port  # noqa: B018
        except ValueError:
            raise InvalidRequest(f"{url} has no valid port.", hint="Ports go from 1 to 65535.") from None
        if parts.username or parts.password or parts.query:
            raise InvalidRequest(
                "A target's URL holds no user, password or query.", hint="Give the key in SDCTL_TOKEN or --token-file."
            )
        # OpenAI's clients are configured with a base URL that ends in /v1.
        self._url = url.rstrip("/").removesuffix("/v1")
        self._selection = selection

    @contextmanager
    def endpoint(self) -> Iterator[Endpoint]:
        """The URL with the key of SDCTL_TOKEN or --token-file."""
        yield Endpoint(self._url, headers=authorization(self._selection.token_file), ca_file=self._selection.ca_file)

    def status(self) -> ServiceStatus:
        """What `/healthz` says, or whether the models of an OpenAI-compatible server are listed."""
        try:
            state, reason, hint = self._health()
        except SdctlError as error:
            state, reason, hint = "unreachable", error.message, error.hint
        return ServiceStatus("url", self._url, state, reason, hint, endpoint_url=self._url)

    def _health(self) -> tuple[str, str, str]:
        from sdctl import answers

        answer = self._get("/healthz")
        if not _is_api(answer):
            answer = self._get("/v1/models")
        said = answers.refusal(answer).message
        if answer.status == 200 and _is_api(answer):
            return "ready", "", ""
        if answer.status in (401, 403):
            return "unknown", said or "It wants a valid key.", "Give it in SDCTL_TOKEN or with --token-file."
        if answer.status == 503:
            return "starting", said or "It is not ready (HTTP 503).", "`sdctl imagine` keeps trying until --timeout."
        return "unknown", f"It has no /healthz and lists no models (HTTP {answer.status}).", "Check the URL's path."

    def _get(self, path: str) -> "Answer":
        from sdctl import service
        from sdctl.retry import Again

        with self.endpoint() as endpoint, service.http_client(endpoint, timeout_s=TIMEOUT_S) as client:
            try:
                return service.exchange(client, "GET", path, timeout_s=TIMEOUT_S)
            except Again as again:
                raise again.error from None

    def doctor(self) -> Iterator[Finding]:
        """Whether the URL answers, over TLS, with this key, and in which dialect."""
        from sdctl import dialects

        try:
            answer = self._get("/imagine")
        except SdctlError as error:
            yield Finding("fail", "reachable", error.message, error.hint)
            return
        yield Finding("ok", "reachable", self._url)
        yield self._encryption()
        yield self._key(answer)
        if answer.status not in (401, 403):
            yield Finding("ok", "dialect", dialects.detect(answer))
        status = self.status()
        level = {"ready": "ok", "starting": "warn"}.get(status.state, "unknown")
        yield Finding(level, "ready", status.reason or "It serves.", status.hint)

    def _encryption(self) -> Finding:
        from sdctl import service

        if self._url.startswith("https://"):
            return Finding("ok", "encrypted", "The certificate is valid.")
        if service.is_loopback(self._url):
            return Finding("ok", "encrypted", "Not needed: the host is this machine.")
        return Finding("warn", "encrypted", "Keys and prompts travel in the clear over http.", "Use https.")

    def _key(self, answer: "Answer") -> Finding:
        given = bool(authorization(self._selection.token_file))
        if answer.status in (401, 403):
            detail = "The service refuses the key." if given else "The service wants a key."
            return Finding("fail", "key", detail, "Give a valid one in SDCTL_TOKEN or with --token-file.")
        return Finding("ok", "key", "Accepted." if given else "None is needed.")

    def deploy(self, spec: DeploySpec) -> None:  # noqa: ARG002
        """Raise InvalidRequest."""
        self._refuse("deploy to")

    def wait_ready(self, timeout_s: float) -> Iterator[tuple[Step, ...]]:  # noqa: ARG002
        """Raise InvalidRequest."""
        self._refuse("deploy to")

    def forward(self, what: str, listen: Listen) -> NoReturn:  # noqa: ARG002
        """Raise InvalidRequest."""
        self._refuse("forward")

    def dashboard(self) -> NoReturn:
        """Raise InvalidRequest."""
        self._refuse("show the dashboard of")

    def logs(self, query: LogQuery) -> Iterator[LogLine]:  # noqa: ARG002
        """Raise InvalidRequest."""
        self._refuse("read the logs of")

    def cleanup(self) -> Iterator[tuple[Leftover, ...]]:
        """Raise InvalidRequest."""
        self._refuse("clean up")

    def _refuse(self, verb: str) -> NoReturn:
        raise InvalidRequest(
            f"sdctl cannot {verb} {self._url}: behind a URL it can only use a service and look at it.",
            hint="Use --target kubernetes or --target local where the service runs.",
            code="unsupported",
        )


def _is_api(answer: "Answer") -> bool:
    """Whether the path exists; web pages answer every path with HTML."""
    return answer.status not in (404, 405) and "html" not in answer.headers.get("content-type", "")


def authorization(token_file: str) -> dict[str, str]:
    """The header with the key in `token_file`, else in SDCTL_TOKEN; empty without either.

    Raises NotFound for a file that cannot be read, InvalidRequest for a key that no header can carry.
    """
    source, token = "SDCTL_TOKEN", os.environ.get("SDCTL_TOKEN", "")
    if token_file:
        source = token_file
        try:
            token = Path(token_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise NotFound(f"The key in {token_file} cannot be read: {reason}.", hint="Check --token-file.") from None
    token = token.strip()
    if not token:
        if token_file:
            raise InvalidRequest(f"{token_file} is empty.", hint="Write the key into it.")
        return {}
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InvalidRequest(f"The key in {source} is not one line of ASCII.", hint="Check it.")
    return {"Authorization": f"Bearer {token}"}
