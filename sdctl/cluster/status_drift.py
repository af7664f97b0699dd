"""Where the running cluster differs from its manifest: KubeRay takes some changes only into a new RayCluster."""

from collections.abc import Iterator
from typing import Any

import yaml

from sdctl.cluster.objects import Object, at
from sdctl.cluster.snapshot import Snapshot
from sdctl.ray_api import ServeState

BOUNDS = ("minReplicas", "maxReplicas")


def drift(snapshot: Snapshot, serve: ServeState | None) -> list[str]:
    """One line for each difference between the RayService and the RayCluster that serves; empty where they agree."""
    running = next((item for item in snapshot.rayclusters if item["metadata"]["name"] == snapshot.active_cluster), None)
    if running is None or snapshot.pending_cluster not in ("", snapshot.active_cluster):
        return []
    wanted = at(snapshot.rayservice, "spec", "rayClusterConfig") or {}
    lines = list(_groups(wanted, at(running, "spec") or {}))
    if serve is not None and serve.running:
        lines += _serve(str(at(snapshot.rayservice, "spec", "serveConfigV2") or ""), serve)
    return lines


def _groups(wanted: Object, running: Object) -> Iterator[str]:
    yield from _templates("the head", wanted.get("headGroupSpec"), running.get("headGroupSpec"))
    there = {group.get("groupName"): group for group in running.get("workerGroupSpecs") or []}
    for group in wanted.get("workerGroupSpecs") or []:
        called = group.get("groupName")
        title = f"worker group {called}"
        if called not in there:
            yield f"{title} is in the manifest and not in the running cluster"
            continue
        ours, theirs = (tuple(each.get(key) for key in BOUNDS) for each in (group, there[called]))
        if ours != theirs:
            yield f"{title}: the manifest says {_range(ours)} workers, the running cluster has {_range(theirs)}"
        yield from _templates(title, group, there[called])


def _range(bounds: tuple[Any, ...]) -> str:
    return ":".join("-" if bound is None else str(bound) for bound in bounds)


def _templates(title: str, wanted: Object | None, running: Object | None) -> Iterator[str]:
    for what, path in (
        ("image", ("containers", 0, "image")),
        ("resources", ("containers", 0, "resources")),
        ("tolerations", ("tolerations",)),
        ("nodeSelector", ("nodeSelector",)),
    ):
        ours, theirs = (at(group, "template", "spec", *path) for group in (wanted, running))
        if (ours or None) != (theirs or None):
            yield f"{title}: {what} is {_brief(ours)} in the manifest, {_brief(theirs)} in the running cluster"


def _brief(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _serve(config: str, serve: ServeState) -> Iterator[str]:
    try:
        document = yaml.safe_load(config)
    except yaml.YAMLError:
        return
    for application in at(document, "applications") or []:
        called = str(application.get("name", "default"))
        deployed = serve.applications.get(called)
        if deployed is None:
            yield f"Serve does not have application {called}"
        elif not covers(application, deployed.config):
            yield f"application {called}: Serve runs an older config than the manifest has"


def covers(wanted: Any, deployed: Any) -> bool:
    """Whether all that `wanted` says holds in `deployed`, which may say more (Serve fills in defaults)."""
    if isinstance(wanted, dict) and isinstance(deployed, dict):
        return all(covers(value, deployed.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(deployed, list):
        return len(wanted) == len(deployed) and all(map(covers, wanted, deployed))
    return bool(wanted == deployed)
