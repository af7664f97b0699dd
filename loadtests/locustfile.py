"""Users who ask for images. Alone: `locust -f loadtests/locustfile.py -H http://127.0.0.1:8000`; key in SDCTL_TOKEN."""

import contextlib
import itertools
import os
import signal
from typing import Any

import gevent
import gevent.event
import gevent.pool
from locust import LoadTestShape, User, constant, events, task
from locust.env import Environment
from locust.exception import StopUser

from loadtests.client import Requests, emitter, now
from loadtests.job import CONFIG_VARIABLE, load

JOB = load()
EMIT = emitter()
_streams = itertools.count()
EARLY_S = 0.001  # the event loop's timers are up to a millisecond late: the rest is waited for awake
# Locust's own end on SIGTERM kills requests in flight; the end of a plan lets them finish, so a stop is made to be one.
STOP = gevent.event.Event()
if CONFIG_VARIABLE in os.environ:
    gevent.signal_handler(signal.SIGUSR1, STOP.set)


def _told(environment: Environment, record: dict[str, Any]) -> None:
    """Tell Locust's own statistics, which its web page shows; our report is computed from the records."""
    failure = None if record["outcome"] == "ok" else RuntimeError(f"{record['outcome']} {record.get('error', '')}")
    environment.events.request.fire(
        request_type="POST",
        name=JOB.path,
        response_time=(record["done"] - record["scheduled"]) * 1000,
        response_length=record.get("bytes", 0),
        exception=failure,
        context={},
    )


class ImageUser(User):  # type: ignore[misc]  # locust ships no types that mypy follows here
    """Closed loop: asks, waits for the image, asks again."""

    wait_time = constant(0)
    abstract = bool(JOB.arrivals)

    def on_start(self) -> None:
        stream = next(_streams)
        self._mix = JOB.mix(stream)
        self._requests = Requests(JOB, self.host or self.environment.host, EMIT)

    @task
    def imagine(self) -> None:
        record = self._requests.send(next(self._mix))
        _told(self.environment, record)
        if record["outcome"] in ("connection_lost", "refused_busy"):
            gevent.sleep(0.5)  # a closed loop against a dead or full service must not become a busy loop


class ArrivalUser(User):  # type: ignore[misc]
    """Open loop: one scheduler that starts each request at its time, however slow the service is."""

    abstract = not JOB.arrivals
    fixed_count = 1

    @task
    def schedule(self) -> None:
        host, started, mix = self.host or self.environment.host, now(), JOB.mix(0)
        idle: list[Requests] = []
        flying = gevent.pool.Group()
        try:
            for offset in JOB.arrivals:
                due = started + offset
                if STOP.wait(timeout=max(0.0, due - now() - EARLY_S)):
                    break
                while now() < due:
                    gevent.sleep(0)
                flying.add(gevent.spawn(self._one, idle, host, next(mix), due))
            flying.join(timeout=JOB.grace_s)
        finally:
            flying.kill()
        self.environment.runner.quit()
        raise StopUser

    def _one(self, idle: list[Requests], host: str, prompt: Any, due: float) -> None:
        requests = idle.pop() if idle else Requests(JOB, host, EMIT)
        _told(self.environment, requests.send(prompt, scheduled=due))
        idle.append(requests)


if os.environ.get(CONFIG_VARIABLE) and JOB.stages:

    class PlannedUsers(LoadTestShape):  # type: ignore[misc]
        """The plan's stages; exists only under `sdctl loadtest`, so that -u and -r count when Locust runs alone."""

        def tick(self) -> tuple[int, float] | None:
            elapsed = self.get_run_time()
            for users, rate, seconds in () if STOP.is_set() else JOB.stages:
                if elapsed < seconds:
                    return users, rate
                elapsed -= seconds
            return None


@events.test_start.add_listener
def follow_parent(**_: Any) -> None:
    """End with the parent: a load that nobody counts must not go on."""
    if CONFIG_VARIABLE not in os.environ:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            gevent.sleep(1.0)
        os._exit(1)

    gevent.spawn(watch)
    with contextlib.suppress(BrokenPipeError):
        EMIT({"event": "started", "time": now()})
