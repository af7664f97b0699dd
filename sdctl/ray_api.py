"""Ray's dashboard API: Serve's applications, nodes and logs, as frozen values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlencode

from sdctl import service
from sdctl.answers import Answer
from sdctl.errors import InvalidRequest, NotAllowed, NotFound, SdctlError, Unreachable
from sdctl.retry import Again
from sdctl.targets.base import Endpoint

APPLICATIONS = "/api/serve/applications/"
READ_S = 30.0  # a dashboard on a busy machine answers late
PUT_S = 300.0  # the first one starts Serve's controller and proxies before it answers


@dataclass(frozen=True)
class Replica:
    """One replica as the Serve controller knows it; `started` in seconds since the epoch."""

    id: str
    state: str  # STARTING, RUNNING, STOPPING, PENDING_MIGRATION, …
    node_id: str = ""
    pid: int | None = None
    started: float | None = None
    log_file: str = ""  # below Ray's log folder


@dataclass(frozen=True)
class Deployment:
    """One Ray Serve deployment."""

    name: str
    status: str  # HEALTHY, UNHEALTHY, UPDATING, DEPLOY_FAILED, UPSCALING, DOWNSCALING
    message: str
    target: int | None
    replicas: tuple[Replica, ...] = ()
    trigger: str = ""  # why it has its status: AUTOSCALING, UPSCALE_COMPLETED, …
    config: Mapping[str, Any] = field(default_factory=dict)  # the effective deployment_config

    @property
    def running(self) -> int:
        """How many replicas serve."""
        return sum(replica.state == "RUNNING" for replica in self.replicas)


@dataclass(frozen=True)
class Application:
    """One Serve application; `config` is what the last PUT said of it (deployed_app_config)."""

    name: str
    status: str  # NOT_STARTED, DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, DELETING
    message: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    deployments: tuple[Deployment, ...] = ()

    def deployment(self, name: str) -> Deployment | None:
        """The deployment of that name, if the application has it by now."""
        return next((found for found in self.deployments if found.name == name), None)


@dataclass(frozen=True)
class ServeState:
    """What Serve says about itself; no applications and no port while it does not run."""

    applications: Mapping[str, Application] = field(default_factory=dict)
    http_host: str = ""
    http_port: int | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)  # node id → HEALTHY, …
    running: bool = False


@dataclass(frozen=True)
class RayNode:
    """A Ray node, alive or dead."""

    id: str
    ip: str
    state: str  # ALIVE or DEAD
    is_head: bool
    name: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    started: float | None = None  # seconds since the epoch


class RayApi:
    """A client of one dashboard; use it in a `with` block. The endpoint's headers hold the token."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = service.http_client(endpoint, timeout_s=READ_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def version(self) -> str:
        """Ray's version; the cheapest question that needs the token."""
        return str(self._get("/api/version").get("ray_version", ""))

    def serve(self) -> ServeState:
        """The state of Serve; `running` is false while there is no Serve on this Ray."""
        return parse_serve(self._get(APPLICATIONS))

    def put_serve(self, config: Mapping[str, Any]) -> None:
        """Submit a Serve config; Ray accepts it and works on. Raises InvalidRequest with Ray's reason for a bad one."""
        answer = self._ask("PUT", APPLICATIONS, body=config, timeout_s=PUT_S)
        if answer.status == 400:
            raise InvalidRequest(f"Ray Serve refuses the application: {_reason(answer)}", hint="Check serveConfigV2.")
        _check(answer, "the application")

    def delete_serve(self) -> None:
        """Shut Serve down: controller, proxies and replicas; no error when it does not run."""
        _check(self._ask("DELETE", APPLICATIONS, timeout_s=PUT_S), "Serve")

    def nodes(self) -> tuple[RayNode, ...]:
        """All nodes that Ray remembers, dead ones too."""
        rows = self._get("/api/v0/nodes?detail=1&limit=1000")
        return tuple(_node(row) for row in rows.get("data", {}).get("result", {}).get("result", []))

    def autoscaler_report(self) -> str:
        """What `ray status` prints: nodes pending and failed, demand that waits; other words where nothing scales."""
        found = self._get("/api/cluster_status?format=1").get("data") or {}
        return str(found.get("clusterStatus") or "")

    def log_files(self, node_id: str, pattern: str = "*") -> tuple[str, ...]:
        """Names of the log files on a node that match a glob, below Ray's log folder."""
        found = self._get("/api/v0/logs?" + urlencode({"node_id": node_id, "glob": pattern}))
        groups = found.get("data", {}).get("result") or {}
        return tuple(sorted(name for names in groups.values() for name in names if not name.endswith("/")))

    def log_tail(self, node_id: str, file: str, lines: int = 1000) -> tuple[str, ...]:
        """The last lines of one log file (`Replica.log_file` or a name of `log_files`); -1 gives all of them."""
        query = {"node_id": node_id, "filename": file.lstrip("/"), "lines": str(lines)}
        answer = self._ask("GET", "/api/v0/logs/file?" + urlencode(query, quote_via=quote))
        _check(answer, f"the log {file}")
        return tuple(answer.body.decode("utf-8", "replace").splitlines())

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._ask("GET", path)
        _check(answer, path.partition("?")[0])
        try:
            value = json.loads(answer.body)
        except ValueError:
            raise Unreachable("What answers is no Ray dashboard.", hint="Check the dashboard's address.") from None
        return value if isinstance(value, dict) else {}

    def _ask(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, timeout_s: float = READ_S
    ) -> Answer:
        try:
            return service.exchange(self._client, method, path, json=body, timeout_s=timeout_s)
        except Again as again:
            raise again.error from None


def _check(answer: Answer, what: str) -> None:
    if answer.status < 400:
        return
    if answer.status in (401, 403):
        raise NotAllowed(
            f"Ray's dashboard refuses (HTTP {answer.status}): its token is missing or wrong.",
            hint="`sdctl dashboard` prints where the token comes from.",
        )
    if answer.status == 404:
        raise NotFound(f"Ray's dashboard knows nothing of {what}.", hint="Is that a Ray dashboard of this version?")
    kind = Unreachable if answer.status in (502, 503, 504) else SdctlError
    raise kind(
        f"Ray's dashboard answers HTTP {answer.status} for {what}: {_reason(answer)}",
        hint="`sdctl logs` shows the head's log.",
    )


def _reason(answer: Answer) -> str:
    text = answer.body.decode("utf-8", "replace").strip()
    return text if len(text) <= 2000 else text[:1000] + " … " + text[-1000:]


def parse_serve(document: Mapping[str, Any]) -> ServeState:
    """Read the answer of `GET /api/serve/applications/`."""
    http = document.get("http_options") or {}
    proxies = document.get("proxies") or {}
    return ServeState(
        applications={name: _application(name, row) for name, row in (document.get("applications") or {}).items()},
        http_host=http.get("host") or "",
        http_port=http.get("port"),
        proxies={node: str(row.get("status")) for node, row in proxies.items()},
        running=bool(document.get("controller_info", {}).get("actor_id")),
    )


def _application(name: str, row: Mapping[str, Any]) -> Application:
    return Application(
        name=name,
        status=str(row.get("status", "")),
        message=row.get("message") or "",
        config=row.get("deployed_app_config") or {},
        deployments=tuple(_deployment(row) for row in (row.get("deployments") or {}).values()),
    )


def _deployment(row: Mapping[str, Any]) -> Deployment:
    return Deployment(
        name=str(row.get("name", "")),
        status=str(row.get("status", "")),
        message=row.get("message") or "",
        target=row.get("target_num_replicas"),
        replicas=tuple(_replica(replica) for replica in row.get("replicas") or ()),
        trigger=str(row.get("status_trigger", "")),
        config=row.get("deployment_config") or {},
    )


def _replica(row: Mapping[str, Any]) -> Replica:
    return Replica(
        id=str(row.get("replica_id", "")),
        state=str(row.get("state", "")),
        node_id=row.get("node_id") or "",
        pid=row.get("pid"),
        started=row.get("start_time_s"),
        log_file=row.get("log_file_path") or "",
    )


def _node(row: Mapping[str, Any]) -> RayNode:
    return RayNode(
        id=str(row.get("node_id", "")),
        ip=str(row.get("node_ip", "")),
        state=str(row.get("state", "")),
        is_head=bool(row.get("is_head_node")),
        name=row.get("node_name") or "",
        resources=row.get("resources_total") or {},
        message=row.get("state_message") or "",
        started=row["start_time_ms"] / 1000 if row.get("start_time_ms") else None,
    )
