"""A few small questions to the service before the load: is it there, is it idle, what does its clock say."""

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from sdctl import service
from sdctl.errors import SdctlError
from sdctl.loadtest.clocks import Look, Skew, date, estimate
from sdctl.retry import Again
from sdctl.targets.base import Endpoint

QUESTIONS = 5
APART_S = 0.21  # spread over a second: see clocks.estimate
BEHIND_S = 2.2  # Serve's web server renews its Date once a second, when it comes to it, and cuts it to its second
PAIRS = 20
DIRECT_S = 0.5  # an address that takes longer to connect to is not reachable from here


@dataclass(frozen=True)
class Probe:
    """What /healthz said: the quickest round trip in seconds, how far its clock is from ours, whether it was busy."""

    round_trip_s: float
    skew: Skew | None
    busy: bool | None  # None: the service does not tell


def probe(endpoint: Endpoint) -> Probe:
    """Ask /healthz; raises SdctlError when nothing answers there."""
    trips: list[float] = []
    looks: list[Look] = []
    busy: bool | None = None
    with service.http_client(endpoint, timeout_s=10) as client:
        for place in range(QUESTIONS):
            time.sleep(APART_S if place else 0.0)
            sent = time.time()
            try:
                answer = service.exchange(client, "GET", "/healthz", timeout_s=10)
            except Again as again:
                raise again.error from None
            received = time.time()
            trips.append(received - sent)
            told = date(answer.headers.get("date", ""))
            if told is not None:
                looks.append(Look(sent, received, told, BEHIND_S))
            health = answer.json()
            told_busy = health.get("in_flight") if isinstance(health, dict) else None
            busy = busy if told_busy is None else bool(busy) or bool(told_busy)
    return Probe(min(trips), estimate(looks), busy)


def added(endpoint: Endpoint, direct: Iterable[str]) -> float | None:
    """Seconds that the way of `endpoint` adds to a question, against a pod that answers at its own address.

    None where no pod can be reached from here. /healthz needs no key, so none is sent to an address.
    """
    for url in direct:
        try:
            return _difference(endpoint, Endpoint(url)) if _connects(url) else None
        except (SdctlError, Again):
            return None
    return None


def _connects(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=DIRECT_S).close()
    except OSError:
        return False
    return True


def _difference(one: Endpoint, other: Endpoint) -> float:
    """The difference of the median round trips, asked in turn over kept connections."""
    with service.http_client(other, timeout_s=10) as there, service.http_client(one, timeout_s=10) as here:
        pairs = [(_trip(there), _trip(here)) for _ in range(PAIRS + 1)][1:]  # the first one connects
    return median(mine - theirs for theirs, mine in pairs)


def _trip(client: service.Client) -> float:
    began = time.monotonic()
    if service.exchange(client, "GET", "/healthz", timeout_s=10).status != 200:
        raise SdctlError("What answers there is not the service.")
    return time.monotonic() - began
