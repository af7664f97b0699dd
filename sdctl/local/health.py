"""From Serve's state and the service's own word to stages and one status."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from sdctl import service
from sdctl.errors import NotFound, SdctlError, TimedOut, Unreachable
from sdctl.local import config, ray_start, record
from sdctl.local.record import Record
from sdctl.local.stages import PHASES, REPLICA, Stages
from sdctl.ray_api import Application, RayApi, ServeState
from sdctl.retry import Again
from sdctl.targets.base import Endpoint, Step

POLL_S = 0.2
HEALTH_S = 10.0
SILENCE_S = 90.0
ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b.*: ")
BROKEN = ("DEPLOY_FAILED", "UNHEALTHY")


def endpoint(kept: Record) -> Endpoint:
    """The service of a record: on loopback and open."""
    return Endpoint(f"http://127.0.0.1:{kept.serve_port}")


def healthz(kept: Record) -> tuple[int, Mapping[str, Any]]:
    """Status code and document of the service's own health answer; code 0 while nothing answers."""
    with service.http_client(endpoint(kept), timeout_s=HEALTH_S) as client:
        try:
            answer = service.exchange(client, "GET", "/healthz", timeout_s=HEALTH_S)
            value = json.loads(answer.body)
        except (Again, SdctlError):
            return 0, {}
        except ValueError:
            return answer.status, {}
    return answer.status, value if isinstance(value, dict) else {}


def wait_ready(kept: Record, stages: Stages, timeout_s: float) -> Iterator[tuple[Step, ...]]:
    """Stages, each time one changes, until a replica has made an image; raises TimedOut, or SdctlError with the cause.

    `timeout_s` counts from here. A foreign application may have no /healthz: there, running is enough.
    """
    deadline = time.monotonic() + timeout_s
    last: tuple[tuple[str, str, str], ...] = ()
    with RayApi(ray_start.endpoint(kept)) as ray:
        heard = time.monotonic()
        while True:
            try:
                now = ray.serve()
            except (Unreachable, TimedOut):
                if record.load() is None:
                    raise NotFound("The deployment was removed meanwhile.", hint="Deploy it again.") from None
                # A busy machine's dashboard answers late; one that stays away is dead.
                if time.monotonic() - heard > SILENCE_S or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
                continue
            heard = time.monotonic()
            done = _look(kept, now, stages)
            seen = tuple((step.name, step.state, step.detail) for step in stages.steps)
            if seen != last:
                yield stages.steps
            last = seen
            if done:
                return
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"No image within {timeout_s:.0f} s: {stages.steps[-1].detail or 'the replica is still starting'}.",
                    hint="`sdctl logs --local` shows the replica's log; deploy again with a longer --timeout.",
                )
            time.sleep(POLL_S)


def _look(kept: Record, now: ServeState, stages: Stages) -> bool:
    failed = failure(now, ("DEPLOY_FAILED",))  # an unhealthy one is being mended by Serve
    if failed:
        stages.set(REPLICA, "failed", failed.splitlines()[0])
        raise SdctlError(f"The application did not start: {failed}", hint="`sdctl logs --local` shows more.")
    stages.set(REPLICA, "running", _doing(now))
    if not is_running(now):
        return False
    status, said = healthz(kept)
    if config.model_of(kept.config) and status != 200:
        return False
    stages.drop(REPLICA)
    for name, seconds in (said.get("phases_s") or {}).items():
        stages.set(PHASES.get(name, name), "done", seconds=float(seconds))
    return True


def is_running(now: ServeState) -> bool:
    """Whether every application runs."""
    return bool(now.applications) and all(each.status == "RUNNING" for each in now.applications.values())


def failure(now: ServeState, states: tuple[str, ...] = BROKEN) -> str:
    """Why an application does not run, in Serve's words; empty when none is in one of those states."""
    for application in now.applications.values():
        if application.status in states:
            return explanation(application) or application.status
    return ""


def explanation(application: Application) -> str:
    """What Serve says of an application that does not run: the error at the end of a traceback, else the last lines."""
    texts = [application.message, *(each.message for each in application.deployments if each.status != "HEALTHY")]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    return errors[-1].removeprefix("serve_app.errors.StartupError: ") if errors else "\n".join(lines[-4:])


def _doing(now: ServeState) -> str:
    for application in now.applications.values():
        for deployment in application.deployments:
            if deployment.running < max(1, deployment.target or 1):
                trouble = explanation(application).partition("\n")[0]  # Serve tries a failed start again, three times
                return f"{deployment.name} is starting{': ' if trouble else ''}{trouble}"
        if not application.deployments:
            return "importing the application"
    return "waiting for the first image"
