"""What a command line changes in a manifest: --set, --name, --model, --replicas, --image."""

import copy
import math
import re
from dataclasses import replace
from typing import Any

import yaml

from sdctl.errors import InvalidRequest
from sdctl.manifest import Manifest, Object, deployments, groups, head, ray_container, serve_config
from sdctl.manifest.resources import fits, of_group, of_replica

SECRET_SUFFIXES = ("-api-keys", "-dashboard-token", "-hub-token")
_OF_THE_MODEL = ("revision", "variant", "dtype", "default_steps", "default_guidance", "default_width", "default_height")


def changed(
    manifest: Manifest,
    *,
    name: str = "",
    model: str = "",
    replicas: tuple[int, int] | None = None,
    image: str = "",
    overrides: tuple[str, ...] = (),
) -> Manifest:
    """The manifest with these changes; the given one stays as it is. Raises InvalidRequest for what does not fit."""
    documents = copy.deepcopy([_without_aliases(document) for document in manifest.documents])
    new = replace(manifest, documents=tuple(documents))
    rayservice = new.rayservice
    if name:
        _rename(rayservice, name)
    if model:
        _set_model(rayservice, model)
    if replicas:
        set_replicas(rayservice, replicas)
    if image:
        set_image(rayservice, image)
    for override in overrides:
        set_path(rayservice, override)
    return new


def is_ours(application: Object) -> bool:
    """Whether the application is built by this project's serve_app."""
    return str(application.get("import_path", "")).startswith("serve_app.")


def set_image(rayservice: Object, image: str) -> None:
    """Make head and workers run `image`."""
    for group in (head(rayservice), *groups(rayservice)):
        ray_container(group)["image"] = image


def write_serve_config(rayservice: Object, config: Object) -> None:
    """Put a changed Serve config back as text."""
    rayservice["spec"]["serveConfigV2"] = yaml.safe_dump(config, sort_keys=False, width=120)


def generator(config: Object) -> Object:
    """The deployment that makes the images: the one that asks for GPUs, else the one that scales.

    Raises InvalidRequest when there is no such one, or more than one.
    """
    listed = [deployment for application in config["applications"] for deployment in deployments(application)]
    with_gpus = [deployment for deployment in listed if of_replica(deployment).gpus > 0]
    scaling = [deployment for deployment in listed if "autoscaling_config" in deployment]
    for found in (with_gpus, scaling, listed):
        if len(found) == 1:
            return found[0]
    raise InvalidRequest(
        f"--replicas fits a manifest with one scaling deployment; this one lists {len(listed)}.",
        hint="Use --set spec.serveConfigV2.applications.APP.deployments.NAME.autoscaling_config.max_replicas=N.",
    )


def set_replicas(rayservice: Object, bounds: tuple[int, int]) -> None:
    """Scale the generator between `bounds`, and the worker groups that carry it with it."""
    config = serve_config(rayservice)
    deployment = generator(config)
    low, high = bounds
    scaling = {**(deployment.get("autoscaling_config") or {}), "min_replicas": low, "max_replicas": high}
    scaling.pop("initial_replicas", None)
    deployment.pop("num_replicas", None)
    deployment["autoscaling_config"] = scaling
    write_serve_config(rayservice, config)
    group, each = _carrier(rayservice, deployment)
    smallest, largest = math.ceil(low / each), math.ceil(high / each)
    group["minReplicas"], group["maxReplicas"] = smallest, largest
    group["replicas"] = min(max(int(group.get("replicas") or 0), smallest), largest)


def _carrier(rayservice: Object, deployment: Object) -> tuple[Object, int]:
    need = of_replica(deployment)
    for group in groups(rayservice):
        each = fits(need, of_group(group))
        if each:
            return group, each
    raise InvalidRequest(
        f"No worker group has a pod for a replica of {deployment.get('name')} ({need.cpus:g} CPU, {need.gpus:g} GPU).",
        hint="Give a worker group's Ray container that much in its limits.",
    )


def _rename(rayservice: Object, name: str) -> None:
    """Change the service's name, and those of its Secrets where they follow it."""
    old = str(rayservice["metadata"].get("name", ""))
    rayservice["metadata"]["name"] = name
    renamed = {f"{old}{suffix}": f"{name}{suffix}" for suffix in SECRET_SUFFIXES}

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        return renamed.get(value, value) if isinstance(value, str) else value

    rayservice["spec"] = walk(rayservice.get("spec") or {})


def _set_model(rayservice: Object, model: str) -> None:
    config = serve_config(rayservice)
    ours = [application for application in config["applications"] if is_ours(application)]
    if not ours:
        raise InvalidRequest(
            "--model works for manifests whose application is serve_app.app:build; this one has its own code.",
            hint="Use --set for the argument that its code reads.",
        )
    for application in ours:
        arguments = application.setdefault("args", {})
        if arguments.get("model") != model:  # what belongs to one model would be wrong for another
            for key in _OF_THE_MODEL:
                arguments.pop(key, None)
        arguments["model"] = model
    write_serve_config(rayservice, config)


def set_path(rayservice: Object, override: str) -> None:
    """Apply `a.b=c`: keys, list items by index or by their name; the Serve config is entered like any mapping.

    A dot in a key is written `\\.`; the value is read as YAML.
    """
    path, equals, text = override.partition("=")
    steps = [step.replace("\\.", ".") for step in re.split(r"(?<!\\)\.", path)]
    if not equals or not all(steps):
        raise InvalidRequest(f"--set {override} is not of the form a.b=value.", hint="See `sdctl deploy --help`.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InvalidRequest(f"--set {override}: the value is not YAML.", hint="Quote it.") from None
    _set(rayservice, steps, value, override)


def _set(holder: Any, steps: list[str], value: Any, override: str) -> None:
    key = _key(holder, steps[0], override)
    if len(steps) == 1:
        holder[key] = value
    elif steps[0] == "serveConfigV2" and isinstance(holder.get(key), str):
        config = yaml.safe_load(holder[key])
        _set(config, steps[1:], value, override)
        holder[key] = yaml.safe_dump(config, sort_keys=False, width=120)
    else:
        if isinstance(holder, dict) and holder.get(key) is None:
            holder[key] = {}
        _set(holder[key], steps[1:], value, override)


def _key(holder: Any, step: str, override: str) -> Any:
    if isinstance(holder, dict):
        return step
    if isinstance(holder, list):
        if step.isdigit() and int(step) < len(holder):
            return int(step)
        for index, item in enumerate(holder):
            if isinstance(item, dict) and step in (item.get("name"), item.get("groupName")):
                return index
        raise InvalidRequest(f"--set {override}: the list has no item {step!r}.", hint="Use an index or a name in it.")
    raise InvalidRequest(f"--set {override}: there is nothing below the step before {step!r}.", hint="Check the path.")


def _without_aliases(value: Any) -> Any:
    """A copy in which what YAML aliases shared is separate, so that a change in one place stays in it."""
    if isinstance(value, dict):
        return {key: _without_aliases(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_aliases(inner) for inner in value]
    return value
