"""One request to the service, from scheduled to its one outcome."""

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from loadtests import images
from loadtests.job import RECORDS_VARIABLE, Job, Prompt

Emit = Callable[[dict[str, Any]], None]
# Epoch time from the monotonic clock: durations stay right when the machine's clock is set during a run.
_EPOCH = time.time() - time.monotonic()
# An idle connection may be closed by the server at any moment, and a POST on it would be lost without being sent.
IDLE_S = 3.0


def now() -> float:
    """Seconds since 1970, never going back."""
    return _EPOCH + time.monotonic()


def emitter() -> Emit:
    """Where records go: the parent's pipe, or nowhere when Locust runs alone."""
    descriptor = os.environ.get(RECORDS_VARIABLE)
    if descriptor is None:
        return _nowhere
    number = int(descriptor)

    def emit(record: dict[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        while line:  # os.write on a pipe may take a part
            line = line[os.write(number, line) :]

    return emit


def _nowhere(_record: dict[str, Any]) -> None:
    """Drop a record: Locust runs alone and keeps its own statistics."""


class Requests:
    """Sends the requests of one stream over one connection; each ends as exactly one record."""

    _numbers = itertools.count(1)
    _samples = itertools.count(0)

    def __init__(self, job: Job, host: str, emit: Emit) -> None:
        self._job = job
        self._emit = emit
        self._path = urlsplit(host).path.rstrip("/") + job.path
        self._host = host
        self._http = self._client()
        self._used = now()

    def _client(self) -> HTTPClient:
        job = self._job
        options: dict[str, Any] = {"ssl_options": {"ca_certs": job.ca_file}} if job.ca_file else {}
        return HTTPClient.from_url(
            self._host, concurrency=1, connection_timeout=job.timeout_s, network_timeout=job.timeout_s, **options
        )

    def _renew(self) -> None:
        self._http.close()
        self._http = self._client()

    def send(self, prompt: Prompt, scheduled: float | None = None) -> dict[str, Any]:
        """Send one request and give its record; `scheduled` is when it should have been sent (epoch seconds)."""
        sent = now()
        record: dict[str, Any] = {
            "event": "done",
            "id": next(self._numbers),
            "prompt_id": prompt.id,
            "scheduled": sent if scheduled is None else scheduled,
            "sent": sent,
            "outcome": "unfinished",
        }
        self._emit({key: record[key] for key in ("id", "prompt_id", "scheduled", "sent")} | {"event": "sent"})
        try:
            self._exchange(prompt, record)
        finally:  # also when the greenlet is killed at stop: the request then stays `unfinished`
            record.setdefault("done", now())
            self._emit(record)
        return record

    def _exchange(self, prompt: Prompt, record: dict[str, Any]) -> None:
        if now() - self._used > IDLE_S:
            self._renew()
        body = json.dumps({"prompt": prompt.text, **prompt.fields})
        headers = {
            "Content-Type": "application/json",
            "X-Request-Timeout": str(self._job.timeout_s),
            **self._job.headers,
        }
        try:
            with gevent.Timeout(self._job.timeout_s + 1):  # the service's own deadline answers first
                response = self._http.post(self._path, body=body, headers=headers)
                record["first_byte"] = now()
                content = bytes(response.read())
            record["done"] = now()  # looking at the picture is our time, not the service's
            self._judge(prompt, record, response, content)
        except gevent.Timeout:
            record["outcome"] = "timed_out"
            self._renew()
        except (OSError, HTTPParseError, ValueError) as error:
            record |= {"outcome": "connection_lost", "error": f"{type(error).__name__}: {error}"[:200]}
            self._renew()
        finally:
            self._used = now()

    def _judge(self, prompt: Prompt, record: dict[str, Any], response: Any, content: bytes) -> None:
        record |= {"status": response.status_code, "bytes": len(content), **_said(response)}
        expected = response.get("content-length")
        if expected is not None and int(expected) != len(content):
            record |= {"outcome": "connection_lost", "error": "the body was cut"}
        elif response.status_code == 200:
            width, height = prompt.fields.get("width"), prompt.fields.get("height")
            # A reference holds for the model that drew it, and for nothing else.
            reference = prompt.reference if response.get("x-model") == "builtin:shapes" else ""
            outcome, reason = images.verdict(content, width=width, height=height, reference=reference)
            record |= {"outcome": outcome, "verified": bool(reference) and outcome == "ok"}
            if reason:
                record["error"] = reason
            self._keep(record, content)
        else:
            record["outcome"] = _refusal(response.status_code)
            with contextlib.suppress(ValueError, TypeError, KeyError):
                record["error"] = str(json.loads(content)["error"]["code"])[:200]

    def _keep(self, record: dict[str, Any], content: bytes) -> None:
        if not self._job.sample_folder or (record["outcome"] == "ok" and next(self._samples) >= self._job.samples):
            return
        name = f"{record['id']}.{record['outcome']}.img"
        with contextlib.suppress(OSError):  # a sample is a courtesy: a full disk must not end the run
            Path(self._job.sample_folder, name).write_bytes(content)


def _refusal(status: int) -> str:
    if status in (429, 503):
        return "refused_busy"
    return "timed_out" if status in (408, 504) else "http_error"


def _said(response: Any) -> dict[str, Any]:
    """What the service says about an answer: who made it, from which seed, in what batch, in what time."""
    said: dict[str, Any] = {}
    for key, header in (("replica", "x-replica"), ("request_id", "x-request-id"), ("timing", "server-timing")):
        value = response.get(header)
        if isinstance(value, str):
            said[key] = value[:300]
    for key, header in (("seed", "x-seed"), ("batch_size", "x-batch-size")):
        with contextlib.suppress(TypeError, ValueError):
            said[key] = int(response.get(header))
    return said
