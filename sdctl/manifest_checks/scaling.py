"""Replicas against the pods that can hold them, and requests against batches."""

from collections.abc import Iterator

from sdctl.manifest import Object
from sdctl.manifest.change import is_ours
from sdctl.manifest.lines import Path
from sdctl.manifest.resources import Amount, bounds, fits, of_group, of_replica
from sdctl.manifest_checks.subject import CLUSTER, Subject, label, mapping, number
from sdctl.targets.base import Finding

SERVE_DEFAULT_ONGOING = 5
OUR_DEFAULT_BATCH = 4


def check(subject: Subject) -> Iterator[Finding]:
    """Bounds in order, enough GPUs, room for every replica, requests that can fill a batch."""
    for path, deployment in subject.deployments:
        yield from _bounds(subject, path, deployment)
        yield from _room(subject, path, deployment)
        yield from _requests(subject, path, deployment)
    for index, group in enumerate(subject.groups):
        yield from _group(subject, (*CLUSTER, "workerGroupSpecs", index), group)
    yield from _gpus(subject)
    yield from _autoscaler(subject)


def _bounds(subject: Subject, path: Path, deployment: Object) -> Iterator[Finding]:
    scaling = mapping(deployment.get("autoscaling_config"))
    named, below = label(deployment), (*path, "autoscaling_config")
    low, high = scaling.get("min_replicas", 1), scaling.get("max_replicas", 1)
    if isinstance(low, int) and isinstance(high, int) and low > high:
        yield subject.fail(
            f"{named}: min_replicas {low} > max_replicas {high}",
            "Serve accepts it and fails later.",
            f"Set max_replicas to {low} or more.",
            *below,
            "min_replicas",
        )
    initial = scaling.get("initial_replicas")
    if isinstance(initial, int) and isinstance(low, int) and isinstance(high, int) and not low <= initial <= high:
        yield subject.fail(
            f"{named}: initial_replicas {initial}",
            f"lies outside {low} to {high}.",
            "Put it inside, or leave it out.",
            *below,
            "initial_replicas",
        )
    if scaling and isinstance(deployment.get("num_replicas"), int):
        yield subject.fail(
            f"{named}: num_replicas and autoscaling_config",
            "exclude each other: Serve refuses the config.",
            "Keep one of them.",
            *path,
            "num_replicas",
        )


def _group(subject: Subject, path: Path, group: Object) -> Iterator[Finding]:
    named = f"worker group {group.get('groupName', '?')}"
    low, high, now = group.get("minReplicas", 0), group.get("maxReplicas"), group.get("replicas")
    if not isinstance(low, int) or not isinstance(high, int):
        return
    if low > high:
        fix = f"Set maxReplicas to {low} or more."
        yield subject.fail(
            f"{named}: minReplicas {low} > maxReplicas {high}", "KubeRay refuses it.", fix, *path, "minReplicas"
        )
    elif isinstance(now, int) and not low <= now <= high:
        yield subject.warn(
            f"{named}: replicas {now}",
            f"lies outside {low} to {high}; the autoscaler corrects it.",
            "Put it inside.",
            *path,
            "replicas",
        )


def _room(subject: Subject, path: Path, deployment: Object) -> Iterator[Finding]:
    """One replica must fit into one pod, else it waits for ever."""
    need = of_replica(deployment)
    pods = [of_group(group) for group in subject.groups] + [of_group(subject.head)]
    if not pods or any(fits(need, pod) for pod in pods):
        return
    largest = Amount(max(pod.cpus for pod in pods), max(pod.gpus for pod in pods))
    yield subject.fail(
        f"{label(deployment)} asks for {need.cpus:g} CPU and {need.gpus:g} GPU per replica",
        f"no pod offers that (at most {largest.cpus:g} CPU, {largest.gpus:g} GPU): it would wait for ever.",
        "Lower ray_actor_options, or raise the worker container's limits.",
        *path,
        "ray_actor_options",
    )


def _gpus(subject: Subject) -> Iterator[Finding]:
    have = sum(of_group(group).gpus * (number(group.get("maxReplicas")) or 0) for group in subject.groups)
    have += of_group(subject.head).gpus
    asking = [(path, one, of_replica(one).gpus, bounds(one)) for path, one in subject.deployments]
    asking = [entry for entry in asking if entry[2] > 0 and entry[3]]
    least = sum(gpus * (limits or (0, 0))[0] for _, _, gpus, limits in asking)
    most = sum(gpus * (limits or (0, 0))[1] for _, _, gpus, limits in asking)
    if not asking or most <= have:
        return
    path, deployment, _, _ = max(asking, key=lambda entry: entry[2] * (entry[3] or (0, 0))[1])
    where = (*path, "autoscaling_config", "max_replicas")
    if least > have:
        yield subject.fail(
            f"{label(deployment)}: its replicas need at least {least:g} GPUs",
            f"the worker groups give at most {have:g}: it can never be ready.",
            "Raise maxReplicas of the worker group, or lower min_replicas.",
            *where,
        )
    else:
        yield subject.warn(
            f"{label(deployment)}: up to {most:g} GPUs",
            f"the worker groups give at most {have:g}: further replicas stay pending and requests queue.",
            f"Set max_replicas so that it needs {have:g} GPUs, or raise maxReplicas.",
            *where,
        )


def _requests(subject: Subject, path: Path, deployment: Object) -> Iterator[Finding]:
    named = label(deployment)
    target = number(mapping(deployment.get("autoscaling_config")).get("target_ongoing_requests"))
    ongoing = number(deployment.get("max_ongoing_requests"))
    if target is not None and target > (ongoing or SERVE_DEFAULT_ONGOING):
        yield subject.fail(
            f"{named}: target_ongoing_requests {target:g} > max_ongoing_requests {ongoing or SERVE_DEFAULT_ONGOING:g}",
            "a replica never holds as many, so Serve never scales up.",
            "Raise max_ongoing_requests (to twice the target, say).",
            *path,
            "autoscaling_config",
            "target_ongoing_requests",
        )
    application = _application(subject, path)
    meant = ongoing if ongoing is not None else number(deployment.get("max_concurrent_queries"))
    if of_replica(deployment).gpus > 0 and meant is None and not is_ours(application):
        yield subject.warn(
            f"{named} has no max_ongoing_requests",
            "Serve's default lets 5 requests into one replica at once, and diffusers' pipelines are not thread-safe.",
            "Set max_ongoing_requests: 1 unless its code batches or queues them.",
            *path,
        )
    batch = number(mapping(application.get("args")).get("max_batch")) or OUR_DEFAULT_BATCH
    scales = "autoscaling_config" in deployment or of_replica(deployment).gpus > 0
    if is_ours(application) and scales and (ongoing or SERVE_DEFAULT_ONGOING) < batch:
        yield subject.fail(
            f"{named}: max_ongoing_requests {ongoing or SERVE_DEFAULT_ONGOING:g}",
            f"cannot fill a batch of {batch:g}.",
            f"Set it to {2 * batch:g}: one batch that runs and one that waits.",
            *path,
            "max_ongoing_requests",
        )


def _application(subject: Subject, path: Path) -> Object:
    return next(application for above, application in subject.applications if path[: len(above)] == above)


def _autoscaler(subject: Subject) -> Iterator[Finding]:
    if subject.cluster.get("enableInTreeAutoscaling"):
        return
    varying = [group for group in subject.groups if group.get("minReplicas") != group.get("maxReplicas")]
    scaling = [one for _, one in subject.deployments if (bounds(one) or (0, 0))[0] != (bounds(one) or (0, 0))[1]]
    if varying or scaling:
        yield subject.warn(
            "enableInTreeAutoscaling is off",
            "worker pods stay at `replicas`, whatever minReplicas, maxReplicas and Serve's autoscaling say.",
            "Set spec.rayClusterConfig.enableInTreeAutoscaling: true.",
            *(CLUSTER if not subject.groups else (*CLUSTER, "workerGroupSpecs", 0)),
        )
