"""How long things have been as they are."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass
class Timers:
    """A clock for each key, started by the first question."""

    _since: dict[Hashable, float] = field(default_factory=dict)

    def passed(self, seconds: float, *key: Hashable) -> bool:
        """Whether the first question with this key is at least so long ago."""
        return time.monotonic() - self._since.setdefault(key, time.monotonic()) >= seconds

    def reset(self, *key: Hashable) -> None:
        """Start anew at the next question."""
        self._since.pop(key, None)
