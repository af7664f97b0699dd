"""The logs of Serve replicas: they lie in files of Ray's, not in the pods' logs, so Ray is asked for them."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sdctl.cluster.client import Cluster
from sdctl.errors import NotAllowed, NotFound, SdctlError
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint, LogLine, LogQuery

MOST_LINES = 1000
STAMP = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3})\b")
DASHBOARD_S = 15.0
EVERY_S = 2.0


def _dashboard(cluster: Cluster, namespace: str, service: str) -> AbstractContextManager[Endpoint]:
    from sdctl.cluster.forward import dashboard_endpoint
    from sdctl.targets.forwarding import Listen

    return dashboard_endpoint(cluster, namespace, service, Listen(ready_s=DASHBOARD_S, patience_s=DASHBOARD_S))


@dataclass
class ReplicaLogs:
    """Reads what is new in every replica's log file since it was read last."""

    cluster: Cluster
    namespace: str
    service: str
    query: LogQuery
    open_dashboard: Callable[[Cluster, str, str], AbstractContextManager[Endpoint]] = _dashboard
    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self) -> Iterator[LogLine]:
        """New lines of all replicas.

        Where Ray cannot be asked: raises when only replicas are wanted, else gives none (pods' logs tell why).
        """
        if not self._wanted:
            return
        try:
            with self.open_dashboard(self.cluster, self.namespace, self.service) as endpoint, RayApi(endpoint) as ray:
                yield from self._read(ray)
        except SdctlError:
            if self.query.role == "replica":
                raise

    def follow(self, give: Callable[[LogLine], None], over: threading.Event, failed: list[SdctlError]) -> None:
        """Hand new lines to `give` until it is over, through restarts of the head; what cannot pass is in `failed`."""
        while self._wanted and not over.is_set():
            try:
                with (
                    self.open_dashboard(self.cluster, self.namespace, self.service) as endpoint,
                    RayApi(endpoint) as ray,
                ):
                    while not over.is_set():
                        for line in self._read(ray):
                            give(line)
                        over.wait(EVERY_S)
            except SdctlError as error:
                if isinstance(error, NotAllowed):  # without these lines the pods' are still worth following
                    failed.extend([error] if self.query.role == "replica" else [])
                    return
            over.wait(EVERY_S)

    @property
    def _wanted(self) -> bool:
        return self.query.role in ("", "replica")

    def _read(self, ray: RayApi) -> Iterator[LogLine]:
        for application in ray.serve().applications.values():
            for deployment in application.deployments:
                for replica in deployment.replicas:
                    if replica.log_file:
                        yield from self._of(ray, f"{deployment.name}#{replica.id}", replica.node_id, replica.log_file)

    def _of(self, ray: RayApi, title: str, node_id: str, file: str) -> Iterator[LogLine]:
        first = title not in self.seen
        wanted = self.query.tail if first and self.query.tail is not None else MOST_LINES
        try:
            tail = ray.log_tail(node_id, file, wanted) if wanted else ()
        except NotFound:
            return  # the replica has not written yet, or has just gone
        lines = tail if first else news(self.seen[title], tail)
        self.seen[title] = tail or self.seen.get(title, ())
        yield from _since(title, lines, self.query.since_s if first else None)


def news(before: Sequence[str], tail: Sequence[str]) -> Sequence[str]:
    """The lines of `tail` that come after those of `before`, where both are the end of one growing file."""
    for start in range(len(before)):
        overlap = before[start:]
        if tuple(tail[: len(overlap)]) == tuple(overlap):
            return tail[len(overlap) :]
    return tail


def _since(title: str, lines: Sequence[str], since_s: float | None) -> Iterator[LogLine]:
    oldest = None if since_s is None else datetime.now(UTC) - timedelta(seconds=since_s)
    moment = None
    for text in lines:
        found = STAMP.search(text)
        if found:  # a traceback's lines have the time of the line above them
            moment = datetime.fromisoformat(f"{found[1]}.{found[2]}000+00:00")
        if oldest is None or moment is None or moment >= oldest:
            yield LogLine(title, text, moment)
