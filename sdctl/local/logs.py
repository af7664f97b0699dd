"""The log files of the Ray on this machine, read in place: also when Ray itself is dead."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sdctl.errors import InvalidRequest
from sdctl.targets.base import LogLine, LogQuery

POLL_S = 0.3
PATTERNS = {
    "head": (
        "serve/controller_*.log",
        "serve/proxy_*.log",
        "raylet.err",
        "gcs_server.err",
        "dashboard.err",
        "monitor.*",
    ),
    "worker": ("worker-*.out", "worker-*.err"),
    "replica": ("serve/replica_*.log",),
}
TIME = re.compile(r"(?:^|\s|\[)(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})")
WORKER = re.compile(r"worker-[0-9a-f]+-[0-9a-f]+-(?P<pid>\d+)$")
REPLICA = re.compile(r"replica_(?P<application>.+)_(?P<deployment>[^_]+)_(?P<id>[^_]+)$")


@dataclass
class _File:
    """How far one file has been read."""

    path: Path
    position: int = 0
    rest: bytes = b""
    time: datetime | None = field(default=None)

    def read(self) -> Iterator[LogLine]:
        """The whole lines that came since the last call; a file that shrank is read from its start."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self.position:
                    self.position, self.rest = 0, b""
                file.seek(self.position)
                data = self.rest + file.read()
                self.position = file.tell()
        except OSError:
            return
        *lines, self.rest = data.split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            self.time = line_time(text) or self.time
            if not (self.path.name.startswith("worker-") and _is_told_elsewhere(text)):
                yield LogLine(source(self.path), text, self.time)


def _is_told_elsewhere(text: str) -> bool:
    """Whether a line of a worker's output is Ray's own mark, or stands in a log of Serve's too."""
    return text.startswith((":job_id:", ":actor_name:", ":task_name:")) or (" -- " in text and bool(TIME.search(text)))


def source(path: Path) -> str:
    """What to call a file: `Generator abc123` for a replica's, `worker 4711` for what it printed, else its name."""
    if match := REPLICA.match(path.stem):
        return f"{match['deployment']} {match['id']}"
    match = WORKER.match(path.stem)
    return f"worker {match['pid']}" if match else path.stem


def line_time(text: str) -> datetime | None:
    """The time that a line of Ray's or Serve's begins with, in this machine's zone."""
    match = TIME.search(text[:80])
    try:
        return datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").astimezone() if match else None
    except ValueError:
        return None


def read(folder: str, query: LogQuery, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[LogLine]:
    """Lines of all files that a query names, then, with `follow`, what comes, until the folder is removed."""
    patterns = _patterns(query.role)
    logs = Path(folder, "session_latest", "logs")
    files: dict[Path, _File] = {}
    since = datetime.now().astimezone() - timedelta(seconds=query.since_s) if query.since_s else None
    for file in _newcomers(logs, patterns, files):
        yield from _limited(file, query.tail, since)
    while query.follow and Path(folder).exists():
        sleep(POLL_S)
        _newcomers(logs, patterns, files)
        for file in tuple(files.values()):
            yield from file.read()


def _patterns(role: str) -> tuple[str, ...]:
    if role and role not in PATTERNS:
        raise InvalidRequest(f"There is no role {role!r}.", hint=f"Use one of {', '.join(PATTERNS)}.")
    return PATTERNS[role] if role else tuple(pattern for patterns in PATTERNS.values() for pattern in patterns)


def _newcomers(logs: Path, patterns: tuple[str, ...], files: dict[Path, _File]) -> list[_File]:
    """The files that match and were not known; known from now on."""
    found = sorted({path for pattern in patterns for path in logs.glob(pattern)} - files.keys())
    new = {path: _File(path) for path in found}
    files.update(new)
    return list(new.values())


def _limited(file: _File, tail: int | None, since: datetime | None) -> Iterator[LogLine]:
    lines = (line for line in file.read() if since is None or (line.time is not None and line.time >= since))
    yield from lines if tail is None else deque(lines, maxlen=tail)
