"""Images kept for a short while under names that nobody can guess."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from serve_app.jobs import Picture

LIFETIME_S = 600.0
MAX_BYTES = 64 * 1024 * 1024


class Links:
    """The name is the permission: 256 random bits. One ingress replica's memory; the oldest go when it is full."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Picture]] = OrderedDict()
        self._bytes = 0

    def keep(self, picture: Picture) -> str:
        """Keep a picture for ten minutes; gives its name."""
        name = secrets.token_urlsafe(32)
        self._kept[name] = (self._clock() + LIFETIME_S, picture)
        self._bytes += len(picture.data)
        while self._bytes > MAX_BYTES or next(iter(self._kept.values()))[0] <= self._clock():
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= len(oldest.data)
        return name

    def get(self, name: str) -> Picture | None:
        """The picture, unless its time is over."""
        until, picture = self._kept.get(name, (0.0, None))
        return picture if picture is not None and self._clock() < until else None
