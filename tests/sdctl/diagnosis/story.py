"""A story of a service that is not ready, and what must be said about it."""

from dataclasses import dataclass

from sdctl.cluster.diagnosis import diagnose
from sdctl.cluster.snapshot import Snapshot
from tests.sdctl.diagnosis.builders import NOW


@dataclass(frozen=True)
class Story:
    """A snapshot, the code of its cause, and words that its reason and its next step have."""

    name: str
    seen: Snapshot
    code: str
    reason: str
    hint: str
    fatal: bool = True
    more: tuple[str, ...] = ()

    def check(self) -> None:
        """Diagnose, and compare."""
        cause = diagnose(self.seen, NOW)
        assert cause is not None
        assert (cause.code, cause.fatal) == (self.code, self.fatal)
        assert self.reason in cause.reason
        assert self.hint in cause.hint
        assert all(text in cause.reason for text in self.more)
        assert "\n" not in cause.reason
