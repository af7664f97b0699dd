"""The local target: Ray on this machine, in the background, on the loopback interface."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sdctl.errors import InvalidRequest, NotFound, SdctlError, Unreachable
from sdctl.local import checks, config, health, lifecycle, logs, nodes, processes, ray_start, record
from sdctl.local.record import Record
from sdctl.local.stages import PHASES, Stages
from sdctl.ray_api import RayApi, RayNode, ServeState
from sdctl.targets.base import (
    DeploySpec,
    Endpoint,
    Finding,
    Leftover,
    LogLine,
    LogQuery,
    Node,
    Selection,
    ServiceStatus,
    Step,
)

NOTHING = "Nothing is deployed on this machine."
GUARD = "All ports are on 127.0.0.1, but for one internal port of each replica; that asks for Ray's token."
DEPLOY = "`sdctl deploy --local` starts it."


class LocalTarget:
    """A service on this machine; the record under the state home says which Ray is ours."""

    name = "local"

    def __init__(self, selection: Selection) -> None:
        self._name = selection.name
        self._stages = Stages()
        self._changes: list[str] = []

    @property
    def report(self) -> Callable[[tuple[Step, ...]], None]:
        """Called whenever a stage of `deploy` changes."""
        return self._stages.report

    @report.setter
    def report(self, listener: Callable[[tuple[Step, ...]], None]) -> None:
        self._stages.report = listener

    def deploy(self, spec: DeploySpec) -> None:
        """Start Ray and Serve, or change what they serve; returns once Serve has accepted the application."""
        if spec.image or spec.overrides or self._name:
            raise InvalidRequest(
                "--image, --set and --name are for Kubernetes.",
                hint="Change a manifest of your own and give it with -f.",
            )
        self._changes = lifecycle.deploy(spec, self._stages)

    def wait_ready(self, timeout_s: float) -> Iterator[tuple[Step, ...]]:
        """Stages until a replica has made an image; raises with the cause when none can."""
        kept = _kept()
        yield from health.wait_ready(kept, self._stages, timeout_s)
        if record.load() == kept:  # unless another command changed or removed it meanwhile
            kept.with_(members=lifecycle.members(kept))

    def status(self) -> ServiceStatus:
        """One snapshot: from the record, Serve and the service's own health answer."""
        kept = record.load()
        if kept is None:
            return ServiceStatus(self.name, self._name or "-", "absent", NOTHING, DEPLOY)
        try:
            with RayApi(ray_start.endpoint(kept)) as ray:
                return self._describe(kept, ray.serve(), ray.nodes())
        except SdctlError as error:
            return self._describe_dead(kept, error)

    def _describe(self, kept: Record, now: ServeState, found: tuple[RayNode, ...]) -> ServiceStatus:
        answer = health.healthz(kept) if health.is_running(now) else (0, {})
        state, reason, hint = _judge(kept, now, answer)
        application = next(iter(now.applications.values()), None)
        generator = application.deployment(config.GENERATOR) if application else None
        return ServiceStatus(
            self.name,
            application.name if application else self._name or "-",
            state,
            reason,
            hint,
            endpoint_url=health.endpoint(kept).url,
            dashboard_url=ray_start.endpoint(kept).url,
            replicas_target=generator.target if generator else None,
            replicas_running=generator.running if generator else None,
            nodes=tuple(_node(node) for node in found if node.state == "ALIVE"),
            details=self._details(kept, answer[1]),
        )

    def _describe_dead(self, kept: Record, error: SdctlError) -> ServiceStatus:
        alive = processes.find(kept.claim)
        if alive and not kept.config:
            reason, hint = "A deployment was cut short, or is at work at this moment.", "`sdctl cleanup --local`."
        elif alive:
            reason = f"Ray does not answer, {len(alive)} of its processes still run: {error.message}"
            hint = "`sdctl deploy --local` starts it again, `sdctl cleanup --local` removes it."
        else:
            reason = "Its processes have ended: a crash, a reboot or a kill."
            hint = "`sdctl deploy --local` starts it again, `sdctl cleanup --local` removes its files."
        return ServiceStatus(self.name, self._name or "-", "failing", reason, hint, details=self._details(kept, {}))

    def _details(self, kept: Record, said: Mapping[str, Any]) -> dict[str, Any]:
        """The model, the seconds of each phase of the start, and what this command changed."""
        phases = {"Ray": kept.ray_s, "Serve": kept.serve_s}
        phases |= {PHASES.get(name, name): seconds for name, seconds in (said.get("phases_s") or {}).items()}
        details: dict[str, Any] = {
            "model": config.model_of(kept.config),
            "network": GUARD,
            "phases_s": {name: round(seconds, 2) for name, seconds in phases.items() if seconds is not None},
        }
        if self._changes:
            details["changes"] = self._changes
        return details

    def endpoint(self) -> AbstractContextManager[Endpoint]:
        """The service on loopback, which asks for no key."""
        return nullcontext(health.endpoint(_kept()))

    def dashboard(self) -> AbstractContextManager[Endpoint]:
        """Ray's dashboard on loopback, which asks for the token in the headers."""
        return nullcontext(ray_start.endpoint(_kept()))

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        """Lines of Ray's and Serve's log files, also of a Ray that has died."""
        return logs.read(_kept().folder, query)

    def cleanup(self) -> Iterator[tuple[Leftover, ...]]:
        """End exactly the processes that were started, remove their files; gives what is left."""
        with record.exclusive():
            kept = record.load()
            for each in (*record.abandoned(), *([kept] if kept else [])):
                yield from lifecycle.remove(each)

    def doctor(self) -> Iterator[Finding]:
        """What this machine has and lacks for a local deployment."""
        return checks.findings()


def _kept() -> Record:
    kept = record.load()
    if kept is None:
        raise NotFound(NOTHING, hint=DEPLOY)
    if not kept.serve_port:
        raise Unreachable("A local deployment was cut short.", hint="`sdctl deploy --local` begins again.")
    return kept


def _judge(kept: Record, now: ServeState, answer: tuple[int, Mapping[str, Any]]) -> tuple[str, str, str]:
    """State, reason and what to do next."""
    failed = health.failure(now)
    if failed:
        return "failing", failed, "`sdctl logs --local` shows more."
    if not health.is_running(now):
        states = ", ".join(f"{each.name} {each.status}" for each in now.applications.values()) or "no application"
        return "starting", f"Serve: {states}.", ""
    status, said = answer
    if status == 200 or not config.model_of(kept.config):
        return "ready", "", ""
    if status == 503 and said.get("status") == "starting":
        return "starting", "No replica has made an image yet.", ""
    return "failing", f"The service's health answer is {status or 'missing'}.", "`sdctl logs --local` shows why."


def _node(node: RayNode) -> Node:
    name, kind = nodes.title(node.id), "head" if node.is_head else "simulated GPU node"
    return Node(name or node.id[:12], kind, node.state, float(node.resources.get("GPU", 0)), node.message)
