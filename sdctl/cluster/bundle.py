"""What a debug bundle holds about a service on Kubernetes: objects, events, Serve's state, the operator's log."""

import base64
import binascii
from collections.abc import Iterator

from sdctl.bundle import TAIL, as_json, without_secrets
from sdctl.cluster.client import Cluster
from sdctl.cluster.diagnosis import diagnose
from sdctl.cluster.objects import (
    Object,
    at,
    event_count,
    event_time,
    message,
    name,
    namespace,
)
from sdctl.cluster.refusals import Attempt
from sdctl.cluster.resources import CONFIGMAPS, PODS, QUOTAS, SECRETS, SERVICES, selector
from sdctl.cluster.snapshot import Snapshot, take
from sdctl.cluster.snapshot_reader import OPERATOR_LABEL, Reader, references
from sdctl.errors import NotAllowed, NotFound, SdctlError

File = tuple[str, str]  # name in the archive, text


def evidence(cluster: Cluster, place: str, service: str) -> Iterator[File]:
    """(name, text) of everything but logs, masked; what may not be read is named in `forbidden.json`."""
    snapshot = take(cluster, place, service)
    reader = Reader(cluster)
    yield "diagnosis.json", as_json(vars(cause) if (cause := diagnose(snapshot, snapshot.now)) else {})
    yield "operator.json", as_json(vars(snapshot.operator))
    yield "events.txt", "\n".join(event_line(event) for event in snapshot.events)
    for pod, lines in snapshot.logs.items():
        yield f"last-lines/{pod}.log", "\n".join(lines)
    for item in (*_objects(snapshot), *_companions(reader, place, service)):
        yield f"objects/{item.get('kind', 'object')}-{name(item)}.json", as_json(without_secrets(item))
    yield from _operator_log(cluster, reader)
    forbidden = {"forbidden": sorted(snapshot.forbidden | reader.forbidden), "missing": sorted(snapshot.missing)}
    yield "forbidden.json", as_json(forbidden)


def secret_values(cluster: Cluster, place: str, service: str) -> Iterator[str]:
    """The values of the service's Secrets, so that they can be masked wherever they turn up."""
    snapshot = take(cluster, place, service)
    named = {called for kind, called in references(at(snapshot.rayservice, "spec")) if kind == "Secret"}
    found = list(Reader(cluster).items(SECRETS, place, selector(service)))
    found += [item for called in sorted(named) if (item := _readable(cluster, called, place))]
    for item in found:
        for value in (item.get("data") or {}).values():
            try:
                yield base64.b64decode(value).decode().strip()
            except (binascii.Error, UnicodeDecodeError):
                continue
            yield value


def event_line(event: Object) -> str:
    """`2026-11-20 12:00:00 Warning Pod/x Failed (3): message`."""
    about = event.get("involvedObject") or event.get("regarding") or {}
    subject = f"{about.get('kind')}/{about.get('name')}"
    times = f" ({count})" if (count := event_count(event)) > 1 else ""
    return f"{event_time(event):%F %T} {event.get('type')} {subject} {event.get('reason')}{times}: {message(event)}"


def _objects(snapshot: Snapshot) -> Iterator[Object]:
    if snapshot.rayservice is not None:
        yield snapshot.rayservice
    yield from (*snapshot.rayclusters, *snapshot.pods)
    yield from (*snapshot.nodes, *snapshot.nodeclaims, *snapshot.nodepools, *snapshot.nodeclasses)


def _companions(reader: Reader, place: str, service: str) -> Iterator[Object]:
    for resource in (SERVICES, QUOTAS):
        yield from reader.items(resource, place)
    for resource in (SECRETS, CONFIGMAPS):
        for item in reader.items(resource, place, selector(service)):
            if item.get("kind") == "ConfigMap":  # the package's code: its size says enough
                item["data"] = {key: f"({len(value)} characters)" for key, value in (item.get("data") or {}).items()}
            yield item


def _operator_log(cluster: Cluster, reader: Reader) -> Iterator[File]:
    for pod in reader.items(PODS, "", OPERATOR_LABEL):
        attempt = Attempt("GET", PODS, namespace(pod), name(pod), "log")
        try:
            yield f"operator/{name(pod)}.log", "\n".join(cluster.lines(attempt, {"tailLines": str(TAIL)}, 10.0))
        except SdctlError as error:
            yield f"operator/{name(pod)}.error.txt", error.message


def _readable(cluster: Cluster, called: str, place: str) -> Object | None:
    try:
        return cluster.get(SECRETS, called, place)
    except (NotAllowed, NotFound):
        return None
