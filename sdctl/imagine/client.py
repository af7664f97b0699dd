"""One image from a service: asked for, tried again, checked."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urljoin

from sdctl import answers, dialects, service
from sdctl.answers import FieldRefused
from sdctl.dialects import Dialect, ImageAsk, Link, Picture
from sdctl.errors import SdctlError
from sdctl.retry import Clock, Policy, retry
from sdctl.service import Client
from sdctl.targets.base import Endpoint
from serve_app.schemas import HEADER_TIMEOUT

T = TypeVar("T")
Notify = Callable[[str, float], None]


@dataclass(frozen=True)
class Made:
    """An image and what it took: seconds from the first try to the last byte."""

    picture: Picture
    seconds: float
    tries: int


class ImageClient:
    """Asks a service for images; may be used by many threads at once.

    `optional` names fields of the request that are left out once the service refuses them.
    """

    def __init__(
        self,
        client: Client,
        endpoint: Endpoint,
        *,
        optional: frozenset[str] = frozenset(),
        policy: Policy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._where = endpoint.url
        self._endpoint = endpoint
        self._optional = optional
        self._refused: frozenset[str] = frozenset()
        self._policy = policy or Policy()
        self._clock = clock or Clock()
        self._answered = False

    def find_dialect(self, timeout_s: float, notify: Notify) -> Dialect:
        """Ask the service which API it has; raises NotAllowed, Busy, Unreachable, TimedOut."""

        def attempt(left_s: float) -> str:
            answer = service.exchange(self._client, "GET", "/imagine", timeout_s=left_s)
            if answer.status in (401, 403, 429) or answer.status >= 500:
                raise answers.error(answer, self._where)
            return dialects.detect(answer)

        return dialects.DIALECTS[self._retried(attempt, timeout_s, notify)]

    def make(self, dialect: Dialect, ask: ImageAsk, *, timeout_s: float, notify: Notify) -> Made:
        """The image, within `timeout_s` from now, tries included; raises SdctlError."""
        begin, tries = self._clock.now(), 0

        def attempt(left_s: float) -> Picture:
            nonlocal tries
            tries += 1
            return self._attempt(dialect, ask, left_s)

        picture = self._retried(attempt, timeout_s, notify)
        return Made(picture, self._clock.now() - begin, tries)

    def _attempt(self, dialect: Dialect, ask: ImageAsk, left_s: float) -> Picture:
        if "seed" in self._refused:
            ask = replace(ask, seed=None)
        body = {name: value for name, value in dialect.body(ask).items() if name not in self._refused}
        headers = {HEADER_TIMEOUT: f"{max(left_s, 0.001):.3f}"}
        answer = service.exchange(self._client, "POST", dialect.path, json=body, headers=headers, timeout_s=left_s)
        try:
            if answer.status != 200:
                raise answers.error(answer, self._where)
        except FieldRefused as refused:
            if refused.field not in self._optional or refused.field not in body:
                raise
            self._refused |= {refused.field}
            return self._attempt(dialect, ask, left_s)
        found = dialect.image(answer)
        data = self._follow(found, left_s) if isinstance(found, Link) else found
        return dialects.picture(dialect, ask, data, answer)

    def _follow(self, link: Link, left_s: float) -> bytes:
        """The image behind a link; the key goes only to the service's own host."""
        base = self._where.rstrip("/") + "/"
        url = urljoin(base, link.url)
        answer = service.download(self._client, self._endpoint, url, timeout_s=left_s)
        if answer.status != 200:
            raise SdctlError(f"The image's link was refused (HTTP {answer.status}).", code="wrong_image")
        return answer.body

    def _retried(self, attempt: Callable[[float], T], timeout_s: float, notify: Notify) -> T:
        # A service that has answered once is waited for, also by the requests that begin while it is away.
        policy = replace(self._policy, patience_s=math.inf) if self._answered else self._policy
        result = retry(attempt, timeout_s=timeout_s, policy=policy, clock=self._clock, notify=notify)
        self._answered = True
        return result
