"""`sdctl logs` on Kubernetes: the logs of all pods of a service, and of its Serve replicas."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sdctl.cluster.client import Cluster
from sdctl.cluster.logs_replicas import ReplicaLogs
from sdctl.cluster.objects import Object, at, is_head, name, namespace, role, time_of, uid
from sdctl.cluster.refusals import Attempt
from sdctl.cluster.resources import PODS
from sdctl.cluster.snapshot import pods_of_service
from sdctl.cluster.snapshot_reader import passing
from sdctl.errors import InvalidRequest, NotFound, SdctlError
from sdctl.targets.base import LogLine, LogQuery

ROLES = ("", "head", "worker", "replica")
LOOK_S = 2.0  # how often newcomers are looked for
IDLE_S = 30.0  # a silent log is asked again after this: a connection that died silently is noticed


@dataclass(frozen=True)
class Source:
    """One container's log; `title` is the prefix of its lines."""

    pod: str
    namespace: str
    container: str
    title: str

    def read(self, cluster: Cluster, query: LogQuery, after: datetime | None = None) -> Iterator[LogLine]:
        """Its lines, oldest first; with `follow` until the log ends. Raises SdctlError as the API server says."""
        asked = {"container": self.container, "timestamps": "true", "follow": "true" if query.follow else ""}
        if after is not None:
            asked["sinceTime"] = after.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        else:
            asked["sinceSeconds"] = str(max(1, round(query.since_s))) if query.since_s is not None else ""
            asked["tailLines"] = str(query.tail) if query.tail is not None else ""
        attempt = Attempt("GET", PODS, self.namespace, self.pod, "log")
        wanted = {key: value for key, value in asked.items() if value}
        for line in cluster.lines(attempt, wanted, IDLE_S):
            stamp, _, text = line.partition(" ")
            moment = time_of(_microseconds(stamp))
            if after is None or moment > after:
                yield LogLine(self.title, text, moment)


def logs(
    cluster: Cluster, namespace: str, service: str, query: LogQuery, *, every_s: float = LOOK_S
) -> Iterator[LogLine]:
    """The lines of head, workers and replicas; with `follow` newcomers too, until the caller ends it.

    Raises NotFound where the service has no pods, NotAllowed where pods or their logs may not be read.
    """
    if query.role not in ROLES:
        raise InvalidRequest(f"There is no role {query.role!r}.", hint="Use --role head, worker or replica.")
    pods = pods_of_service(cluster, namespace, service)
    if not pods and not query.follow:
        raise NotFound(f"{service} has no pods in namespace {namespace}.", hint="sdctl status says why.")
    replicas = ReplicaLogs(cluster, namespace, service, query)
    if query.follow:
        return _follow(cluster, lambda: pods_of_service(cluster, namespace, service), replicas, every_s)
    return _once(cluster, pods, replicas)


def sources(pods: list[Object], wanted: str) -> Iterator[tuple[str, Source]]:
    """(key, source) of each container of the pods with this role: heads first, Ray's own container before sidecars."""
    for pod in sorted(pods, key=lambda pod: (not is_head(pod), name(pod))):
        if wanted in ("", role(pod)):
            for index, container in enumerate(at(pod, "spec", "containers") or []):
                title = name(pod) if index == 0 else f"{name(pod)}/{container['name']}"
                yield f"{uid(pod)} {container['name']}", Source(name(pod), namespace(pod), container["name"], title)


def _once(cluster: Cluster, pods: list[Object], replicas: ReplicaLogs) -> Iterator[LogLine]:
    for _, source in sources(pods, replicas.query.role):
        try:
            yield from source.read(cluster, replicas.query)
        except (InvalidRequest, NotFound):
            continue  # a container that has not started, or a pod that has just gone
    yield from replicas.read()


def _follow(
    cluster: Cluster, find: Callable[[], list[Object]], replicas: ReplicaLogs, every_s: float
) -> Iterator[LogLine]:
    lines: queue.Queue[LogLine] = queue.Queue()
    over = threading.Event()
    known: dict[str, threading.Thread] = {}
    failed: list[SdctlError] = []

    def look() -> None:
        for key, source in sources(find(), replicas.query.role):
            if key not in known:
                follower = Follower(cluster, source, replicas.query, lines.put, over, failed)
                known[key] = threading.Thread(target=follower.run, name=f"log {source.title}", daemon=True)
                known[key].start()

    look()
    threading.Thread(target=_repeat, args=(look, over, failed, every_s), daemon=True).start()
    threading.Thread(target=replicas.follow, args=(lines.put, over, failed), daemon=True).start()
    try:
        while not failed:
            try:
                yield lines.get(timeout=0.5)
            except queue.Empty:
                continue
        raise failed[0]
    finally:
        over.set()


def _repeat(look: Callable[[], None], over: threading.Event, failed: list[SdctlError], every_s: float) -> None:
    """Look for new pods until it is over; trouble of the API server is waited out."""
    while not over.wait(every_s):
        try:
            look()
        except SdctlError as error:
            if not passing(error):
                failed.append(error)
                return


@dataclass
class Follower:
    """One thread for one container's log: it goes on after a dropped connection where it was."""

    cluster: Cluster
    source: Source
    query: LogQuery
    give: Callable[[LogLine], None]
    over: threading.Event
    failed: list[SdctlError]
    last: datetime | None = None

    def run(self) -> None:
        """Read until the container is gone or it is over."""
        while not self.over.is_set():
            try:
                for line in self.source.read(self.cluster, self.query, self.last):
                    self.last = line.time or self.last
                    self.give(line)
                    if self.over.is_set():
                        return
            except NotFound:
                return
            except InvalidRequest:
                pass  # the container has not started yet
            except SdctlError as error:
                if not passing(error):
                    self.failed.append(error)
                    return
            self.over.wait(1.0)


def _microseconds(stamp: str) -> str:
    """The kubelet writes nanoseconds, Python reads microseconds."""
    whole, dot, rest = stamp.partition(".")
    digits = rest.rstrip("Z")
    return f"{whole}.{digits[:6]}+00:00" if dot and digits.isdigit() else stamp
