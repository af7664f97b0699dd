"""Watching what scales while the load runs: each watcher is asked about once a second, in a thread of its own."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from sdctl.errors import SdctlError
from sdctl.loadtest.autoscaler import Report, parse, report_changes
from sdctl.loadtest.prediction import Scaling, scaling_from
from sdctl.loadtest.room import Group, worker_limit
from sdctl.loadtest.transitions import Transition, node_changes, serve_changes
from sdctl.ray_api import Deployment, RayApi, RayNode, ServeState

GENERATOR = "Generator"


class Watcher(Protocol):
    """Something that scales; `name` is what messages call it."""

    name: str

    def poll(self, observed: float) -> list[Transition]:
        """What changed since the last poll; the first one gives the baseline."""


class ServeWatcher:
    """Serve's replicas and Ray's nodes, through the dashboard."""

    name = "Ray"

    def __init__(self, api: RayApi) -> None:
        self._api = api
        self._deployment: Deployment | None = None
        self._nodes: tuple[RayNode, ...] | None = None
        self._report: Report | None = None

    def poll(self, observed: float) -> list[Transition]:
        """One look at Serve and at the nodes; raises SdctlError when the dashboard cannot be reached."""
        # All are asked before one is compared: what a look told must not be lost because the next one failed.
        found, nodes = generator(self._api.serve()), self._api.nodes()
        report = self._asked_autoscaler(found)
        changes = node_changes(self._nodes, nodes, observed) + report_changes(self._report, report, observed)
        self._nodes, self._report = nodes, report
        if found is not None:
            changes += serve_changes(self._deployment, found, observed)
            self._deployment = found
        return changes

    def _asked_autoscaler(self, found: Deployment | None) -> Report | None:
        """Its report while replicas are missing or nodes pending: at other times it has nothing to say."""
        settled = found is None or found.running >= (found.target or 0)
        if settled and self._report in (None, Report()):
            return self._report
        try:
            return parse(self._api.autoscaler_report())
        except SdctlError:  # a Ray that cannot say; one that is away fails at the next look
            return self._report


def generator(state: ServeState) -> Deployment | None:
    """The deployment that makes the images, whichever application it belongs to."""
    found = (application.deployment(GENERATOR) for application in state.applications.values())
    return next((deployment for deployment in found if deployment is not None), None)


def scaling(api: RayApi, groups: Sequence[Group] = ()) -> tuple[Scaling | None, int]:
    """How the generator scales, within the room of its nodes, and how many of its replicas run now."""
    found = generator(api.serve())
    if found is None:
        return None, 0
    gpus = float((found.config.get("ray_actor_options") or {}).get("num_gpus") or 0.0)
    return scaling_from(found.config, worker_limit(groups, gpus)), found.running


class Watch:
    """Polls the watchers until stopped; losing sight of one is itself recorded, and it is asked again."""

    def __init__(
        self, watchers: Sequence[Watcher], take: Callable[[Transition], None], *, every_s: float = 1.0
    ) -> None:
        self._take = take
        self._every_s = every_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(watcher,), daemon=True) for watcher in watchers]

    def start(self) -> None:
        """Begin to poll."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after one more look, so that the last state is recorded."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _run(self, watcher: Watcher) -> None:
        lost = False
        while True:
            last = self._stop.is_set()
            try:
                for change in watcher.poll(time.time()):
                    self._take(change)
                if lost:
                    self._take(Transition("watcher", watcher.name, "back", time.time()))
                lost = False
            except SdctlError as error:
                if not lost:
                    detail = {"message": error.message}
                    self._take(Transition("watcher", watcher.name, "lost", time.time(), detail=detail))
                lost = True
            if last:
                return
            self._stop.wait(self._every_s)
