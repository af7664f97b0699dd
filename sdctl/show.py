"""How stages, status and logs look: text for people; the documents for --json are on the values themselves."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sdctl.output import Output
from sdctl.targets.base import Leftover, LogLine, ServiceStatus, Step

if TYPE_CHECKING:
    from sdctl.output import Renderable

Report = Callable[[tuple[Step, ...]], None]

MARKS = {"done": "✓", "failed": "✗", "running": "…", "waiting": " "}


def seconds(value: float | None) -> str:
    """A duration for people: one decimal below a minute, then minutes and seconds."""
    if value is None:
        return ""
    return f"{value:.1f} s" if value < 60 else f"{int(value) // 60} min {int(value) % 60} s"


@contextmanager
def stages(output: Output) -> Iterator[Report]:
    """Show the stages of a deployment on stderr: redrawn in a terminal, else one line for each that ends."""
    if not output.live:
        yield _Lines(output)
        return
    picture = _Picture(output)
    with output.redrawn(picture.render):
        yield picture
    output.messages().print(picture.render())


class _Lines:
    """One line for each stage that ended or has something new to say."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said: dict[str, str] = {}

    def __call__(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            line = step_line(step)
            if step.state == "waiting" or self._said.get(step.name) == line:
                continue
            if step.state == "running" and not step.detail:
                continue
            self._said[step.name] = line
            self._output.info(line)


def step_line(step: Step) -> str:
    """`Ray: done in 7.1 s`, `load: running, downloading`."""
    text = f"{step.name}: {step.state}"
    if step.state in ("done", "failed") and step.seconds is not None:
        text += f" in {seconds(step.seconds)}"
    return f"{text}, {step.detail}" if step.detail else text


class _Picture:
    """The stages as a table whose running clocks go on between two calls."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._steps: tuple[Step, ...] = ()
        self._at = time.monotonic()

    def __call__(self, steps: tuple[Step, ...]) -> None:
        self._steps, self._at = steps, time.monotonic()

    def render(self) -> "Renderable":
        since = time.monotonic() - self._at
        rows = []
        for step in self._steps:
            passed = step.seconds
            if step.state == "running" and passed is not None:
                passed += since
            rows.append((MARKS.get(step.state, "?"), step.name, seconds(passed), step.detail))
        return self._output.table(("", "stage", "time", ""), rows)


def status_view(output: Output, status: ServiceStatus) -> "Renderable":
    """A status as two columns: only what is known."""
    rows = [(name, value) for name, value in _status_rows(status) if value]
    return output.table(("service", f"{status.name} on {status.target}"), rows)


def _status_rows(status: ServiceStatus) -> Iterator[tuple[str, str]]:
    yield "state", status.state
    yield "reason", status.reason
    yield "next", status.hint
    yield "endpoint", status.endpoint_url
    yield "dashboard", status.dashboard_url
    if status.replicas_target is not None or status.replicas_running is not None:
        yield "replicas", f"{_count(status.replicas_running)} running of {_count(status.replicas_target)}"
    for node in status.nodes:
        gpus = f"{node.gpus:g} GPU" if node.gpus else ""
        yield "node", "  ".join(part for part in (node.name, node.kind, node.state, gpus, node.detail) if part)
    for name, value in status.details.items():
        yield from _detail_rows(name, value)


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


def _detail_rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield name, _plain(item)
    elif isinstance(value, dict):
        yield name, "  ".join(f"{key} {_plain(item)}" for key, item in value.items())
    else:
        yield name, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{_plain(item)}" for item in value.values() if item not in (None, ""))
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)


def log_line(line: LogLine) -> str:
    """`source | text`."""
    return f"{line.source} | {line.text}"


def log_document(line: LogLine) -> dict[str, Any]:
    """One line of `sdctl logs --json`."""
    return {"source": line.source, "time": line.time.isoformat() if line.time else None, "text": line.text}


def leftover_line(leftover: Leftover) -> str:
    """`Node gpu-1 (costs money): waits for a pod`."""
    money = " (costs money)" if leftover.costs_money else ""
    why = f": {leftover.why}" if leftover.why else ""
    return f"{leftover.kind} {leftover.name}{money}{why}"


def leftover_document(leftover: Leftover) -> dict[str, Any]:
    """One entry of `sdctl cleanup --json`."""
    return asdict(leftover)
