"""Pure: a manifest's Serve config, overlaid for one machine, and what differs between two of them."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdctl.errors import InvalidRequest, NotFound

OURS = "serve_app.app:build"
GENERATOR = "Generator"
UPSCALE_DELAY_S, DOWNSCALE_DELAY_S, LOOK_BACK_S = 2, 20, 2
SHUTDOWN_S = 30
# Simulated nodes are there to be seen coming and going: a few users are a burst, and what it brought goes soon.
SIMULATED_ONGOING, SIMULATED_DOWNSCALE_DELAY_S = 2, 10


@dataclass(frozen=True)
class Machine:
    """What there is to share among replicas; `simulated` when the GPUs are Ray's fake nodes."""

    cpus: int
    gpus: int = 0
    simulated: bool = False


@dataclass(frozen=True)
class Wish:
    """What the command line asks for; None and empty: as the manifest says."""

    port: int
    model: str = ""
    replicas: tuple[int, int] | None = None


def overlay(config: Mapping[str, Any], wish: Wish, machine: Machine) -> dict[str, Any]:
    """The config that goes to Serve on this machine: loopback, open, one proxy, no resources to wait for."""
    local: dict[str, Any] = copy.deepcopy(dict(config))
    local["proxy_location"] = "HeadOnly"  # a proxy on every simulated node would share the port, and die with it
    local["http_options"] = {**(local.get("http_options") or {}), "host": "127.0.0.1", "port": wish.port}
    local.pop("grpc_options", None)
    for application in local["applications"]:
        _overlay_application(application, wish, machine)
    return local


def _overlay_application(application: dict[str, Any], wish: Wish, machine: Machine) -> None:
    ours = application.get("import_path") == OURS
    if ours:
        application.pop("runtime_env", None)  # the code is this package, on PYTHONPATH
        arguments = {**(application.get("args") or {}), "auth": "open", "key_folder": ""}
        arguments["device"] = "auto" if machine.gpus and not machine.simulated else "cpu"
        if wish.model:
            arguments["model"] = model(wish.model)
        application["args"] = arguments
    elif wish.model:
        raise InvalidRequest(f"--model does not fit {application.get('import_path')}.", hint="Set it in the manifest.")
    for deployment in application.get("deployments") or []:
        scales = deployment.get("name") == GENERATOR
        deployment["graceful_shutdown_timeout_s"] = SHUTDOWN_S
        deployment["ray_actor_options"] = _resources(deployment, machine, scales=scales)
        if "autoscaling_config" in deployment or (scales and wish.replicas):
            _overlay_scaling(deployment, wish.replicas if scales else None, machine)


def _resources(deployment: Mapping[str, Any], machine: Machine, *, scales: bool) -> dict[str, Any]:
    """No CPU is reserved: the machine is one pool, and what does not fit would never start and not say why."""
    options = {**(deployment.get("ray_actor_options") or {}), "num_cpus": 0}
    for name in ("num_gpus", "resources", "accelerator_type", "memory", "label_selector"):
        options.pop(name, None)
    if scales and machine.simulated:
        options["num_gpus"] = 1  # what makes Ray add a simulated node for each replica
    elif scales and machine.gpus:
        options["num_gpus"] = 1 if machine.gpus > 1 else 0.1
    if machine.simulated and not scales:
        options["resources"] = {"node:__internal_head__": 0.001}  # a simulated node that goes takes nobody with it
    return options


def _overlay_scaling(deployment: dict[str, Any], replicas: tuple[int, int] | None, machine: Machine) -> None:
    scaling = dict(deployment.get("autoscaling_config") or {})
    most = machine.gpus if machine.simulated else max(1, machine.cpus)
    low, high = replicas or (
        min(int(scaling.get("min_replicas", 1)), most),
        min(int(scaling.get("max_replicas", 1)), most),
    )
    deployment.pop("num_replicas", None)
    delay = SIMULATED_DOWNSCALE_DELAY_S if machine.simulated else DOWNSCALE_DELAY_S
    if machine.simulated:
        scaling["target_ongoing_requests"] = min(
            SIMULATED_ONGOING, scaling.get("target_ongoing_requests", SIMULATED_ONGOING)
        )
    deployment["autoscaling_config"] = {
        **scaling,
        "min_replicas": low,
        "max_replicas": high,
        "upscale_delay_s": min(UPSCALE_DELAY_S, scaling.get("upscale_delay_s", UPSCALE_DELAY_S)),
        "downscale_delay_s": min(delay, scaling.get("downscale_delay_s", delay)),
        "metrics_interval_s": 1,  # Serve wants it below the period that it looks back
        "look_back_period_s": min(LOOK_BACK_S, scaling.get("look_back_period_s", LOOK_BACK_S)),
    }


def model(name: str) -> str:
    """A model as the replicas take it: a folder by its absolute path, an id as it is.

    Raises NotFound for something that can only be a folder and is none with a diffusers model.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise NotFound(f"{name} has no model_index.json.", hint="Give the folder of a diffusers pipeline.")
        return str(path.resolve())
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise NotFound(f"There is no folder {name}.", hint="--model takes a folder, a model id, or builtin:shapes.")
    return name


def replica_bounds(config: Mapping[str, Any]) -> tuple[int, int]:
    """The smallest and largest number of generator replicas that a config allows."""
    for application in config.get("applications") or []:
        for deployment in application.get("deployments") or []:
            scaling = deployment.get("autoscaling_config") or {}
            if deployment.get("name") == GENERATOR and scaling:
                return int(scaling["min_replicas"]), int(scaling["max_replicas"])
    return 1, 1


def model_of(config: Mapping[str, Any]) -> str:
    """The model that a config serves; empty when it is not our application."""
    applications = config.get("applications") or [{}]
    return str((applications[0].get("args") or {}).get("model", ""))


def port_of(config: Mapping[str, Any]) -> int | None:
    """The HTTP port of a config."""
    port = (config.get("http_options") or {}).get("port")
    return int(port) if port is not None else None


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a new config changes, for people; empty when nothing differs."""
    found = []
    if model_of(old) != model_of(new):
        found.append(f"model: {model_of(old)} → {model_of(new)} (its replicas restart)")
    if replica_bounds(old) != replica_bounds(new):
        found.append(f"replicas: {_range(replica_bounds(old))} → {_range(replica_bounds(new))}")
    if port_of(old) != port_of(new):
        found.append(f"port: {port_of(old)} → {port_of(new)} (Serve restarts)")
    if not found and dict(old) != dict(new):
        found.append("the Serve config of the manifest")
    return found


def _range(bounds: tuple[int, int]) -> str:
    return str(bounds[0]) if bounds[0] == bounds[1] else f"{bounds[0]}:{bounds[1]}"
