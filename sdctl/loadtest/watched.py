"""What can be watched of a target, and what its scaling makes of a plan."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from sdctl.errors import SdctlError
from sdctl.loadtest.plan import Plan
from sdctl.loadtest.prediction import Prediction, Scaling, predict
from sdctl.loadtest.room import groups, known_start_s
from sdctl.loadtest.watch import ServeWatcher, Watcher, scaling
from sdctl.ray_api import RayApi
from sdctl.targets.base import Target


@dataclass(frozen=True)
class Watched:
    """The watchers of a target, none where nothing of it can be seen; scaling and prediction where they are known."""

    watchers: Sequence[Watcher] = ()
    scaling: Scaling | None = None
    prediction: Prediction | None = None


def watch_of(target: Target, plan: Plan, stack: ExitStack, note: Callable[[str], None]) -> Watched:
    """Open what can be watched, for as long as `stack` lives; a dashboard out of reach is noted, not fatal."""
    if target.name == "url":
        note("Behind a URL only the client's side can be seen: no replicas, no nodes, no cost.")
        return Watched()
    watchers: list[Watcher] = []
    seen: Scaling | None = None
    prediction: Prediction | None = None
    try:
        api = stack.enter_context(RayApi(stack.enter_context(target.dashboard())))
        seen, running = scaling(api, groups(target))
        prediction = predict(plan, seen, running=running, start_s=known_start_s(target))
        watchers.append(ServeWatcher(api))
    except SdctlError as error:
        note(f"Replicas and nodes are not watched: {error.message}")
    if target.name == "kubernetes":
        from sdctl.cluster.watching import KubernetesWatcher, cluster_of

        watchers.append(KubernetesWatcher(cluster_of(target)))
    return Watched(watchers, seen, prediction)
