"""Images kept for a short while behind signed names that end by themselves."""

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from serve_app.jobs import Picture

LIFETIME_S = 600
MAX_BYTES = 64 * 1024 * 1024


class Links:
    """One ingress replica's memory: its secret signs the names, the oldest images go when it is full.

    A name is `<128 random bits>.<end, Unix seconds>.<HMAC-SHA256 of both>`: whoever holds it may see the image, until
    its end, and nobody can make or prolong one.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[str, tuple[int, Picture]] = OrderedDict()
        self._bytes = 0

    def keep(self, picture: Picture) -> str:
        """Keep a picture for ten minutes; gives its name."""
        end = int(self._clock()) + LIFETIME_S
        name = self._signed(f"{secrets.token_urlsafe(16)}.{end}")
        self._kept[name] = (end, picture)
        self._bytes += len(picture.data)
        while self._bytes > MAX_BYTES or next(iter(self._kept.values()))[0] <= self._clock():
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= len(oldest.data)
        return name

    def get(self, name: str) -> Picture | None:
        """The picture, unless the name is not ours or its time is over."""
        said = name.rpartition(".")[0]
        if not hmac.compare_digest(self._signed(said).encode(), name.encode("utf-8", "surrogateescape")):
            return None
        end, picture = self._kept.get(name, (0, None))
        return picture if picture is not None and self._clock() < end else None

    def _signed(self, said: str) -> str:
        digest = hmac.new(self._secret, said.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
        return f"{said}.{base64.urlsafe_b64encode(digest).decode('ascii').rstrip('=')}"
