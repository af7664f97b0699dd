"""Read Kubernetes objects, as plain dicts, without tripping over what is absent."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

CLUSTER_LABEL = "ray.io/cluster"
NODE_TYPE_LABEL = "ray.io/node-type"
GROUP_LABEL = "ray.io/group"
NODEPOOL_LABEL = "karpenter.sh/nodepool"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
GPU = "nvidia.com/gpu"
BEGINNING = datetime.fromtimestamp(0, UTC)


def at(value: Any, *path: str | int) -> Any:
    """What lies at `path`, or None where a step is missing or null."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def name(item: Object) -> str:
    """The object's name."""
    return str(at(item, "metadata", "name") or "")


def namespace(item: Object) -> str:
    """The object's namespace; empty for one that belongs to the whole cluster."""
    return str(at(item, "metadata", "namespace") or "")


def uid(item: Object) -> str:
    """The object's UID: a name may come back with another object behind it, a UID never."""
    return str(at(item, "metadata", "uid") or "")


def label(item: Object, key: str) -> str:
    """The label's value; empty when it is not there."""
    return str(at(item, "metadata", "labels", key) or "")


def time_of(text: Any) -> datetime:
    """An API time as an aware datetime; the epoch where there is none."""
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return BEGINNING


def created(item: Object) -> datetime:
    """When the object was made."""
    return time_of(at(item, "metadata", "creationTimestamp"))


def deleting(item: Object) -> bool:
    """Whether the object was deleted and only waits for its finalizers or its grace period."""
    return bool(at(item, "metadata", "deletionTimestamp"))


def age_s(item: Object, now: datetime) -> float:
    """Seconds since the object was made."""
    return (now - created(item)).total_seconds()


def condition(item: Object, kind: str) -> Object:
    """The status condition of this type; an empty dict when it is not there."""
    for entry in at(item, "status", "conditions") or []:
        if entry.get("type") == kind:
            return dict(entry)
    return {}


def is_true(item: Object, kind: str) -> bool:
    """Whether the condition of this type is there and True."""
    return condition(item, kind).get("status") == "True"


def quantity(text: Any) -> float:
    """A resource quantity (`1`, `500m`, `16Gi`) as a number; 0 where it cannot be read."""
    units = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    digits = str(text or "0").strip()
    suffix = digits.lstrip("0123456789.-+")
    try:
        return float(digits[: len(digits) - len(suffix)] or 0) * units.get(suffix, 1.0)
    except ValueError:
        return 0.0


def containers(pod: Object) -> list[Object]:
    """The statuses of init containers and containers, in that order."""
    return [*(at(pod, "status", "initContainerStatuses") or []), *(at(pod, "status", "containerStatuses") or [])]


def is_head(pod: Object) -> bool:
    """Whether KubeRay made this pod as a head."""
    return label(pod, NODE_TYPE_LABEL) == "head"


def role(pod: Object) -> str:
    """`head` or `worker`."""
    return "head" if is_head(pod) else "worker"


def pod_phase(pod: Object) -> str:
    """One word for a pod's state, the most telling one, as kubectl's STATUS column does it."""
    if deleting(pod):
        return "Terminating"
    for status in containers(pod):
        why = at(status, "state", "waiting", "reason")
        if why and why not in ("PodInitializing", "ContainerCreating"):
            return str(why)
        end = at(status, "state", "terminated")
        if end and end.get("exitCode"):
            return str(end.get("reason") or "Error")
    return str(at(pod, "status", "reason") or at(pod, "status", "phase") or "Unknown")


def gpus(pod: Object) -> float:
    """How many GPUs the pod asks for."""
    wanted = (at(entry, "resources", "limits", GPU) for entry in at(pod, "spec", "containers") or [])
    return sum(quantity(value) for value in wanted)


def event_time(event: Object) -> datetime:
    """When an event last happened: KubeRay records through events.k8s.io, where lastTimestamp is null."""
    for path in (("series", "lastObservedTime"), ("eventTime",), ("lastTimestamp",), ("metadata", "creationTimestamp")):
        found = at(event, *path)
        if found:
            return time_of(found)
    return BEGINNING


def event_count(event: Object) -> int:
    """How often an event happened."""
    return int(at(event, "series", "count") or event.get("count") or 1)


def concerns(event: Object, kind: str, subject: str = "") -> bool:
    """Whether the event is about an object of this kind (and of this name, when one is given)."""
    about = event.get("involvedObject") or event.get("regarding") or {}
    return about.get("kind") == kind and subject in ("", about.get("name"))


def message(event: Object) -> str:
    """An event's text, in either of the two APIs."""
    return str(event.get("message") or event.get("note") or "")


def sorted_events(events: Iterable[Object]) -> tuple[Object, ...]:
    """Events, oldest first."""
    return tuple(sorted(events, key=event_time))
