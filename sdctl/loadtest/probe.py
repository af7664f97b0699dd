"""A few small questions to the service before the load: is it there, is it idle, what does its clock say."""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from sdctl import service
from sdctl.answers import Answer
from sdctl.retry import Again
from sdctl.targets.base import Endpoint

QUESTIONS = 3


@dataclass(frozen=True)
class Probe:
    """What /healthz said: the quickest round trip in seconds, the server's clock minus ours, whether it was busy."""

    round_trip_s: float
    skew_s: float | None  # HTTP dates have whole seconds: right to about half a second
    busy: bool | None  # None: the service does not tell


def probe(endpoint: Endpoint) -> Probe:
    """Ask /healthz; raises SdctlError when nothing answers there."""
    trips: list[float] = []
    skew: float | None = None
    busy: bool | None = None
    with service.http_client(endpoint, timeout_s=10) as client:
        for _ in range(QUESTIONS):
            sent = time.time()
            try:
                answer = service.exchange(client, "GET", "/healthz", timeout_s=10)
            except Again as again:
                raise again.error from None
            received = time.time()
            trips.append(received - sent)
            told = served_at(answer)
            skew = skew if told is None else told + 0.5 - (sent + received) / 2
            health = answer.json()
            told_busy = health.get("in_flight") if isinstance(health, dict) else None
            busy = busy if told_busy is None else bool(busy) or bool(told_busy)
    return Probe(min(trips), skew, busy)


def served_at(answer: Answer) -> float | None:
    """The server's time (epoch s, cut to whole seconds) from the Date header."""
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return None
