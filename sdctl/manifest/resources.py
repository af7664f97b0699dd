"""How many CPUs and GPUs the pods of a manifest have, and how many its replicas ask for."""

import math
from dataclasses import dataclass
from typing import Any

from sdctl.manifest import Object, ray_container

GPU_RESOURCE = "nvidia.com/gpu"
_UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


@dataclass(frozen=True)
class Amount:
    """Logical Ray resources of one pod or one replica."""

    cpus: float = 0.0
    gpus: float = 0.0


def quantity(value: Any) -> float | None:
    """A Kubernetes quantity (`2`, `500m`, `12Gi`) as a number; None where it is none."""
    text = str(value).strip()
    digits = text.rstrip("mkMGTi")
    try:
        return float(digits) * (_UNITS[text[len(digits) :]] if len(digits) < len(text) else 1.0)
    except (ValueError, KeyError):
        return None


def of_group(group: Object) -> Amount:
    """What one pod of the group offers Ray: rayStartParams first, else the container's limits, else its requests."""
    started = group.get("rayStartParams") or {}
    resources = ray_container(group).get("resources") or {}
    asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    cpus, gpus = quantity(asked.get("cpu", 0)), quantity(asked.get(GPU_RESOURCE, 0))
    if "num-cpus" in started:
        cpus = quantity(started["num-cpus"])
    if "num-gpus" in started:
        gpus = quantity(started["num-gpus"])
    return Amount(float(math.ceil(cpus or 0.0)), gpus or 0.0)


def of_replica(deployment: Object) -> Amount:
    """What one replica asks of Ray; Serve's default is one CPU."""
    options = deployment.get("ray_actor_options") or {}
    return Amount(float(options.get("num_cpus", 1) or 0), float(options.get("num_gpus", 0) or 0))


def fits(replica: Amount, pod: Amount) -> int:
    """How many such replicas one such pod can hold; a large number for a replica that asks for nothing."""
    by = [int(have / need + 1e-9) for need, have in ((replica.cpus, pod.cpus), (replica.gpus, pod.gpus)) if need > 0]
    return min(by, default=1000)


def bounds(deployment: Object) -> tuple[int, int] | None:
    """The smallest and largest number of replicas; None where the manifest leaves it to the code."""
    scaling = deployment.get("autoscaling_config")
    if isinstance(scaling, dict):
        low, high = scaling.get("min_replicas", 1), scaling.get("max_replicas", 1)
        return (low, high) if isinstance(low, int) and isinstance(high, int) else None
    number = deployment.get("num_replicas")
    return (number, number) if isinstance(number, int) else None
