"""A target that says what a test wants to hear."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from sdctl.targets.base import (
    DeploySpec,
    Endpoint,
    Finding,
    Leftover,
    LogLine,
    LogQuery,
    ServiceStatus,
    Step,
)


def _silent(steps: tuple[Step, ...]) -> None:
    """Tell nobody."""


@dataclass
class FakeTarget:
    """Scripted answers; what commands passed is kept in `spec` and `query`."""

    name: str = "local"
    state: ServiceStatus = field(default_factory=lambda: ServiceStatus("local", "stable-diffusion", "ready"))
    waits: list[tuple[Step, ...] | BaseException] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    left: list[tuple[Leftover, ...]] = field(default_factory=list)
    spec: DeploySpec | None = None
    query: LogQuery | None = None
    report: Callable[[tuple[Step, ...]], None] = _silent

    def deploy(self, spec: DeploySpec) -> None:
        self.spec = spec
        self.report((Step("Ray", "done", seconds=7.25),))

    def wait_ready(self, timeout_s: float) -> Iterator[tuple[Step, ...]]:
        for each in self.waits:
            if isinstance(each, BaseException):
                raise each
            yield each

    def status(self) -> ServiceStatus:
        return self.state

    def endpoint(self) -> AbstractContextManager[Endpoint]:
        return nullcontext(Endpoint("http://127.0.0.1:8000"))

    def dashboard(self) -> AbstractContextManager[Endpoint]:
        return nullcontext(Endpoint("http://127.0.0.1:8265", {"Authorization": "Bearer opensesame"}))

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        self.query = query
        yield from self.lines

    def cleanup(self) -> Iterator[tuple[Leftover, ...]]:
        yield from self.left

    def doctor(self) -> Iterator[Finding]:
        yield Finding("ok", "fake")
