"""The closed-loop load client, a process of its own: a job as JSON on stdin, a record per request as JSON on stdout.

Each user sends its next request on the answer to its last. Pictures are compared with their references on arrival.
"""

import asyncio
import base64
import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

TOLERANCE = 1  # grey levels: what a batch may change in fp32
ANSWER_S = 300.0
LONGEST = 8  # times the wished seconds: then a cell ends with the images that it has


@dataclass(frozen=True)
class Wish:
    """One request: the fields of the query, and which reference picture must come; none is compared where empty."""

    fields: Mapping[str, Any]
    picture: str = ""


@dataclass(frozen=True)
class Crowd:
    """Users of one kind."""

    name: str
    users: int
    wishes: tuple[Wish, ...]


@dataclass(frozen=True)
class Job:
    """One cell: it lasts at least `seconds`, and until `images` have come."""

    url: str
    crowds: tuple[Crowd, ...]
    seconds: float
    images: int = 0
    references: str = ""  # an .npz file
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Record:
    """One request; times in seconds since the cell's start, outcome ok, wrong or missing."""

    crowd: str
    sent: float
    done: float
    outcome: str
    reason: str = ""
    batch: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)


class Cell:
    """One running cell."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._references = np.load(job.references) if job.references else {}
        self._known: dict[str, npt.NDArray[np.uint8]] = {}
        self._start = time.monotonic()
        self.records: list[Record] = []

    async def run(self) -> None:
        """All users, until the cell is over and everything in flight has been answered."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with (
            httpx.AsyncClient(base_url=self._job.url, timeout=ANSWER_S, limits=limits, trust_env=False) as client,
            asyncio.TaskGroup() as users,
        ):
            for crowd in self._job.crowds:
                for number in range(crowd.users):
                    users.create_task(self._user(client, crowd, number))

    async def _user(self, client: httpx.AsyncClient, crowd: Crowd, number: int) -> None:
        first = number % len(crowd.wishes)
        for wish in itertools.cycle(crowd.wishes[first:] + crowd.wishes[:first]):
            if self._is_over():
                return
            self.records.append(await self._ask(client, crowd.name, wish))

    def _is_over(self) -> bool:
        elapsed = time.monotonic() - self._start
        enough = sum(record.outcome == "ok" for record in self.records) >= self._job.images
        return elapsed > self._job.seconds * LONGEST or (elapsed > self._job.seconds and enough)

    async def _ask(self, client: httpx.AsyncClient, crowd: str, wish: Wish) -> Record:
        sent = time.monotonic() - self._start
        try:
            answer = await client.get("/imagine", params=dict(wish.fields))
        except httpx.HTTPError as error:
            return Record(crowd, sent, time.monotonic() - self._start, "missing", type(error).__name__)
        done = time.monotonic() - self._start
        if answer.status_code != 200:
            return Record(crowd, sent, done, "missing", f"HTTP {answer.status_code}")
        receipt = _receipt(answer.headers.get("X-Receipt", ""))
        reason = self.difference(answer.content, wish.picture)
        outcome = "wrong" if reason else "ok"
        return Record(crowd, sent, done, outcome, reason, receipt.get("batch_size", 1), receipt.get("timings_ms", {}))

    def difference(self, body: bytes, picture: str) -> str:
        """What is wrong with an answer's picture; empty when nothing is."""
        try:
            pixels = np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(np.int16)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            return f"not an image: {type(error).__name__}"
        if not picture:
            return ""
        if picture not in self._known:
            self._known[picture] = self._references[picture]
        reference = self._known[picture]
        if pixels.shape != reference.shape:
            return f"{pixels.shape} instead of {reference.shape}"
        most = int(np.abs(pixels - reference).max())
        return f"differs by {most}" if most > TOLERANCE else ""


def _receipt(header: str) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads(base64.urlsafe_b64decode(header + "===")) if header else {}
    return receipt


def run(job: Job) -> list[Record]:
    """Run one cell in a process of its own; raises RuntimeError when that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.benchmarks.serving_load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        timeout=LONGEST * job.seconds + 2 * ANSWER_S,
        check=False,
    )
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if "Error" in line]
        raise RuntimeError(f"the load client failed: {(words or ['no word'])[-1].strip()}")
    return list(_parsed(done.stdout))


def _parsed(text: str) -> Iterator[Record]:
    for line in text.splitlines():
        yield Record(**json.loads(line))


def _job(document: dict[str, Any]) -> Job:
    crowds = tuple(
        Crowd(crowd["name"], crowd["users"], tuple(Wish(**wish) for wish in crowd["wishes"]))
        for crowd in document.pop("crowds")
    )
    return Job(crowds=crowds, cores=tuple(document.pop("cores")), **document)


def main() -> None:
    """One cell, from stdin to stdout."""
    job = _job(json.load(sys.stdin))
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    cell = Cell(job)
    asyncio.run(cell.run())
    for record in cell.records:
        print(json.dumps(asdict(record)))


if __name__ == "__main__":
    main()
