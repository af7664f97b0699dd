"""What every target can do, and the frozen values that targets and commands exchange."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Selection:
    """Which target and service a command line names; empty strings where it names none."""

    target: str = ""  # "local", "kubernetes", a URL, or "" for the last one deployed
    name: str = ""
    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""
    token_file: str = ""
    ca_file: str = ""


@dataclass(frozen=True)
class Endpoint:
    """A base URL and the headers that open it; live only inside the block that gave it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a key: never printed
    via: str = ""  # "tunnel" when requests pass through the API server
    ca_file: str = ""


@dataclass(frozen=True)
class ApplyOptions:
    """Kubernetes target: how a manifest is applied."""

    force_conflicts: bool = False  # take RayService fields that others manage
    recreate: bool = False  # delete first, apply then: for too few GPUs for two clusters
    dashboard_ingress: bool = False
    inbound_cidrs: tuple[str, ...] = ()
    ingress_scheme: str = "internal"


@dataclass(frozen=True)
class DeploySpec:
    """What `sdctl deploy` was asked for; None and empty mean: as the manifest says."""

    manifest: str = ""  # a file; empty: the target's packaged default
    model: str = ""
    replicas: tuple[int, int] | None = None  # smallest and largest
    image: str = ""
    port: int | None = None  # local target: Serve's HTTP port
    gpu_nodes: tuple[int, int] | None = None  # local target: simulated GPU nodes
    overrides: tuple[str, ...] = ()  # --set a.b=c
    apply: ApplyOptions = field(default_factory=ApplyOptions)
    timeout_s: float = 1800.0


@dataclass(frozen=True)
class Step:
    """One stage of a deployment as it is now; `seconds` since it began, or None when not known."""

    name: str
    state: str  # "waiting", "running", "done", "failed"
    detail: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Node:
    """A machine (or Ray's simulated one) that the service uses."""

    name: str
    kind: str = ""  # instance type or Ray node type
    state: str = ""
    gpus: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class ServiceStatus:
    """One snapshot of a service; `reason` explains a state that is not ready."""

    target: str
    name: str
    state: str  # ready, starting, updating, failing, suspended, deleting, absent, unreachable, unknown
    reason: str = ""
    hint: str = ""  # what to do next about `reason`
    endpoint_url: str = ""
    dashboard_url: str = ""
    replicas_target: int | None = None
    replicas_running: int | None = None
    nodes: tuple[Node, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)  # JSON values only: pods, phases, drift, …

    def to_json(self) -> dict[str, Any]:
        """The document of `sdctl status --json`."""
        return {
            "target": self.target,
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "hint": self.hint,
            "endpoint": {"url": self.endpoint_url},
            "dashboard": {"url": self.dashboard_url},
            "replicas": {"target": self.replicas_target, "running": self.replicas_running},
            "nodes": [vars(node) for node in self.nodes],
            "details": dict(self.details),
        }


@dataclass(frozen=True)
class LogLine:
    """One line of a log; `source` is what the prefix names (a pod, a replica, a log file)."""

    source: str
    text: str
    time: datetime | None = None


@dataclass(frozen=True)
class LogQuery:
    """Which log lines to give; `since_s` in seconds before now, `tail` lines per source."""

    follow: bool = False
    since_s: float | None = None
    tail: int | None = None
    role: str = ""  # head, worker, replica; empty: all


@dataclass(frozen=True)
class Leftover:
    """Something that is still there during a clean-up, and why, where that is known."""

    kind: str
    name: str
    why: str = ""
    costs_money: bool = False
    stays: bool = False  # not ours to remove: the user is told, nobody waits for it


@dataclass(frozen=True)
class Finding:
    """One line of `sdctl doctor` or of a manifest's check."""

    level: str  # ok, warn, fail, unknown
    what: str
    detail: str = ""
    fix: str = ""
    line: int | None = None  # in a manifest, counted from 1


class Target(Protocol):
    """A place where a service runs."""

    name: str

    def deploy(self, spec: DeploySpec) -> None:
        """Start or change the service; returns once accepted, waiting is `wait_ready`."""

    def wait_ready(self, timeout_s: float) -> Iterator[tuple[Step, ...]]:
        """Give the stages whenever one changes, until the service has made an image; raises when it cannot."""

    def status(self) -> ServiceStatus:
        """One snapshot."""

    def endpoint(self) -> AbstractContextManager[Endpoint]:
        """The service, reachable inside the block."""

    def dashboard(self) -> AbstractContextManager[Endpoint]:
        """Ray's dashboard, reachable inside the block; its headers hold the token."""

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        """Log lines, oldest first per source."""

    def cleanup(self) -> Iterator[tuple[Leftover, ...]]:
        """Remove what was deployed; gives what is still there, each time it changes, until nothing is."""

    def doctor(self) -> Iterator[Finding]:
        """What the target needs and lacks."""


@runtime_checkable
class ReportsStages(Protocol):
    """A target whose `deploy` itself takes seconds: it calls `report` whenever a stage changes."""

    report: Callable[[tuple[Step, ...]], None]


@runtime_checkable
class HasNamespace(Protocol):
    """A target whose clean-up may also remove the namespace that its deploy made."""

    keep_namespace: bool


@runtime_checkable
class HoldsEvidence(Protocol):
    """A target that has more to show for a debug bundle than its status and logs."""

    def evidence(self) -> Iterator[tuple[str, str]]:
        """(file name, text) of each piece, masked."""

    def secret_values(self) -> Iterator[str]:
        """What must not appear in a bundle, wherever it turns up."""
