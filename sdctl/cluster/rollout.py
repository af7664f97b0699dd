"""Wait for a deployment until it has made an image, or until it is clear that it cannot."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sdctl import service, state
from sdctl.cluster.client import Cluster
from sdctl.cluster.diagnosis import Cause, diagnose
from sdctl.cluster.forward import dashboard_endpoint, serve_endpoint
from sdctl.cluster.rollout_stages import Clock, settled, stages, target_cluster
from sdctl.cluster.snapshot import Snapshot, take
from sdctl.cluster.status_drift import covers
from sdctl.errors import Busy, NotAllowed, NotFound, SdctlError, TimedOut, Unreachable
from sdctl.manifest import deployments, serve_config
from sdctl.manifest.change import is_ours
from sdctl.ray_api import RayApi, ServeState
from sdctl.retry import Again
from sdctl.targets.base import Step
from sdctl.targets.forwarding import Listen

EVERY_S = 2.0
CERTAIN_S = 10.0  # KubeRay's status tells of the past for some seconds after a change
ASK_S = 15.0
IMAGE_S = 300.0
PROMPT = "a red circle on a white background"
ADVICE = ("idle_workers", "forbidden")


@dataclass
class Rollout:
    """One wait; the clock and the pauses are the cluster's and the caller's, so tests can have their own."""

    cluster: Cluster
    timeout_s: float
    clock: Callable[[], float] = time.monotonic
    certain_s: float = CERTAIN_S
    _since: datetime | None = None
    _suspect: tuple[Cause, float] | None = None
    _last: Snapshot | None = None
    _shown: tuple[Step, ...] = field(default=())

    def steps(self) -> Iterator[tuple[Step, ...]]:
        """The stages, whenever one changes; raises with the cause when it cannot work, TimedOut when time is up."""
        begin = self.clock()
        times = Clock(begin)
        served = False
        while True:
            snapshot = self._look()
            if snapshot is not None:
                served = settled(snapshot) and self._serves(snapshot)
                image = served and self._image(snapshot, begin + self.timeout_s - self.clock())
                current = stages(snapshot, served=served, image=image)
                if current != self._shown:
                    self._shown = current
                    yield times.timed(current, self.clock())
                if image:
                    return
                self._give_up_if_certain(snapshot)
            if self.clock() - begin > self.timeout_s:
                raise self._timed_out()
            self.cluster.pause(EVERY_S)

    def _look(self) -> Snapshot | None:
        """A snapshot; None while the API server does not answer, which ends by itself or by the time-out."""
        try:
            snapshot = take(self.cluster, earlier=self._last)
        except (Unreachable, Busy):
            return None
        if snapshot.rayservice is None and "rayservices" not in snapshot.missing and self._last is not None:
            raise NotFound(
                f"RayService {self.cluster.name} was deleted while it was awaited.",
                hint="`sdctl deploy` makes it again.",
            )
        self._since = self._since or snapshot.now
        self._last = snapshot
        return snapshot

    def _serves(self, snapshot: Snapshot) -> bool:
        """Whether Serve itself runs what the manifest says: KubeRay's status may still be of the config before."""
        listen = Listen(ready_s=ASK_S, patience_s=ASK_S)
        try:
            with (
                dashboard_endpoint(self.cluster, self.cluster.namespace, self.cluster.name, listen) as endpoint,
                RayApi(endpoint) as ray,
            ):
                return runs(serve_config(snapshot.rayservice or {}), ray.serve())
        except NotAllowed as error:
            raise NotAllowed(
                f"Whether Serve runs the new configuration cannot be seen: {error.message}",
                hint=f"{error.hint} Or deploy with --no-wait.",
            ) from None
        except SdctlError:
            return False

    def _image(self, snapshot: Snapshot, left_s: float) -> bool:
        """Ask for one image; false when the service is busy or restarting and should be asked again."""
        ours = all(is_ours(one) for one in serve_config(snapshot.rayservice or {})["applications"])
        try:
            with (
                serve_endpoint(
                    self.cluster, self.cluster.namespace, self.cluster.name, Listen(ready_s=ASK_S)
                ) as endpoint,
                service.http_client(endpoint, timeout_s=IMAGE_S) as client,
            ):
                query = {"prompt": PROMPT, "img_size": "512"} if not ours else {"prompt": PROMPT}
                path = "/imagine?" + "&".join(f"{key}={value.replace(' ', '%20')}" for key, value in query.items())
                answer = service.exchange(client, "GET", path, timeout_s=max(1.0, min(IMAGE_S, left_s)))
        except NotAllowed:
            raise
        except (Again, SdctlError):
            return False
        if answer.status in (401, 403):
            raise NotAllowed(
                "The service runs, but refuses the key of its Secret.",
                hint="`sdctl keys show` shows it; pods take a minute to see a rotated one.",
            )
        if answer.status in (404, 405) and not ours:
            return True  # another application, which makes its images elsewhere
        return answer.status == 200 and answer.headers.get("content-type", "").startswith("image/")

    def _give_up_if_certain(self, snapshot: Snapshot) -> None:
        cause = diagnose(snapshot, snapshot.now, since=self._since)
        if cause is None or not cause.fatal:
            self._suspect = None
            return
        known = self._suspect[0].code if self._suspect else ""
        if known != cause.code:
            self._suspect = (cause, self.clock())
        elif self._suspect and self.clock() - self._suspect[1] >= self.certain_s:
            raise self._failed(cause, snapshot)

    def _failed(self, cause: Cause, snapshot: Snapshot) -> SdctlError:
        kept = keep_evidence(snapshot, cause)
        logs = [line for lines in snapshot.logs.values() for line in lines[-5:]]
        text = "".join(f"\n  | {line}" for line in logs[-10:])
        return SdctlError(
            f"It cannot become ready: {cause.reason}{text}",
            hint=f"{cause.hint} What was seen is kept in {kept}.",
            code=cause.code,
        )

    def _timed_out(self) -> SdctlError:
        late = next((step for step in self._shown if step.state == "running"), None)
        where = f" It waits at: {late.name}{' (' + late.detail + ')' if late.detail else ''}." if late else ""
        cause = diagnose(self._last, self._last.now) if self._last else None
        why = f" {cause.reason}" if cause and cause.code not in ADVICE else ""
        hint = cause.hint if cause and cause.hint else "`sdctl status --watch` goes on watching."
        return TimedOut(f"Not ready after {self.timeout_s:.0f} s.{where}{why}", hint=hint)


def wait_ready(cluster: Cluster, timeout_s: float) -> Iterator[tuple[Step, ...]]:
    """The stages of the cluster's service until it has made an image."""
    return Rollout(cluster, timeout_s).steps()


def runs(wanted: dict[str, Any], serve: ServeState) -> bool:
    """Whether Serve has every application of the config, in this version, running with replicas."""
    for application in wanted["applications"]:
        deployed = serve.applications.get(str(application.get("name", "default")))
        if deployed is None or deployed.status != "RUNNING" or not covers(application, deployed.config):
            return False
        if any(found.status not in ("HEALTHY", "UPSCALING", "DOWNSCALING") for found in deployed.deployments):
            return False
        for deployment in deployments(application):
            found = deployed.deployment(str(deployment.get("name")))
            least = (deployment.get("autoscaling_config") or {}).get("min_replicas", 1)
            if found is not None and found.target != 0 and least and found.running < 1:
                return False
    return True


def keep_evidence(snapshot: Snapshot, cause: Cause) -> str:
    """Write what KubeRay will delete (pods, events, last log lines) into our state folder; gives the file."""
    name = f"evidence-{snapshot.namespace}-{snapshot.name}.json"
    state.write(
        name,
        {
            "time": snapshot.now.isoformat(),
            "cause": {"code": cause.code, "reason": cause.reason, "hint": cause.hint},
            "cluster": target_cluster(snapshot),
            "status": (snapshot.rayservice or {}).get("status"),
            "pods": [{"name": pod["metadata"]["name"], "status": pod.get("status")} for pod in snapshot.pods],
            "events": [
                {key: event.get(key) for key in ("reason", "message", "type", "involvedObject")}
                for event in snapshot.events
            ],
            "logs": {pod: list(lines) for pod, lines in snapshot.logs.items()},
        },
    )
    return str(state.home() / name)
