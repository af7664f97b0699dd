"""Deploy on this machine: start Ray, or change what the running one serves; and remove it all."""

import hashlib
import importlib.util
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sdctl import manifest
from sdctl.errors import NotAllowed, SdctlError, TimedOut, Unreachable
from sdctl.local import checks, config, ports, processes, ray_start, record
from sdctl.local.config import Machine, Wish
from sdctl.local.record import Record
from sdctl.local.stages import RAY, SERVE, Stages
from sdctl.ray_api import RayApi, ServeState
from sdctl.targets.base import DeploySpec, Leftover

SERVE_GONE_S = 60.0
ANSWER_S = 90.0
POLL_S = 0.1


def deploy(spec: DeploySpec, stages: Stages) -> list[str]:
    """Start or change the service until Serve has accepted the application; gives what changed, for people."""
    wanted = manifest.load(spec.manifest or manifest.packaged(manifest.CPU)).serve_config
    config.overlay(wanted, Wish(1, spec.model, spec.replicas), _machine(spec.gpu_nodes))  # refuses before it touches
    with record.exclusive():
        kept, notes = _usable(spec)
        if kept is None:
            return notes + _start(wanted, spec, stages)
        return _change(kept, wanted, spec, stages)


def _usable(spec: DeploySpec) -> tuple[Record | None, list[str]]:
    """The running Ray, if it can serve what is asked; else None, after what was there has been removed."""
    kept = record.load()
    if kept is None:
        for lost in record.abandoned():
            _remove_all(lost)
        return None, []
    if not answers(kept):
        _remove_all(kept)
        return None, ["An earlier deployment had died or was cut short: its remains were removed."]
    if spec.gpu_nodes is not None and spec.gpu_nodes != kept.gpu_nodes:
        _remove_all(kept)
        return None, [f"simulated GPU nodes: {kept.gpu_nodes or 'none'} → {spec.gpu_nodes} (Ray restarts)"]
    return kept, []


def answers(kept: Record) -> bool:
    """Whether the Ray of a record runs: its raylet lives, and its dashboard accepts our token.

    A Ray that is only slow is waited for: taking it for dead would end a service that works.
    """
    if not kept.config or not kept.dashboard_port:  # cut short before Serve had accepted anything
        return False
    deadline = time.monotonic() + ANSWER_S
    while any("/raylet/raylet " in process.command for process in processes.find(kept.claim)):
        try:
            with RayApi(ray_start.endpoint(kept)) as ray:
                ray.serve()
            return True
        except (NotAllowed, Unreachable):
            return False
        except SdctlError:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
    return False


def _machine(gpu_nodes: tuple[int, int] | None) -> Machine:
    cpus = os.cpu_count() or 1
    if gpu_nodes:
        return Machine(cpus, gpu_nodes[1], simulated=True)
    return Machine(cpus, checks.gpus())


def _start(wanted: Mapping[str, Any], spec: DeploySpec, stages: Stages) -> list[str]:
    port = ports.for_serve(spec.port)
    local = config.overlay(wanted, Wish(port, spec.model, spec.replicas), _machine(spec.gpu_nodes))
    checks.require(replicas=max(1, config.replica_bounds(local)[0]), model=config.model_of(local))
    kept = record.create().with_(gpu_nodes=spec.gpu_nodes)
    try:
        with stages.stage(RAY):
            kept, process = ray_start.spawn(kept)
            ray_start.wait(kept, process)
        with stages.stage(SERVE), RayApi(ray_start.endpoint(kept)) as ray:
            kept = _submit(kept, ray, local, stages)
            process.wait(ray_start.START_S)
    except subprocess.TimeoutExpired:
        _remove_all(kept)
        raise TimedOut(f"`ray start` did not end: {ray_start.last_words(kept)}", hint="Try again.") from None
    except BaseException:
        _remove_all(kept)  # half a Ray is of no use; an interrupted start leaves nothing
        raise
    _with_times(kept, stages)
    return [f"model: {config.model_of(local)}"] if config.model_of(local) else []


def _change(kept: Record, wanted: Mapping[str, Any], spec: DeploySpec, stages: Stages) -> list[str]:
    port = kept.serve_port if spec.port is None or spec.port == kept.serve_port else ports.for_serve(spec.port)
    local = config.overlay(wanted, Wish(port, spec.model, spec.replicas), _machine(kept.gpu_nodes))
    found = config.changes(kept.config, local)
    with stages.stage(SERVE), RayApi(ray_start.endpoint(kept)) as ray:
        now = _patiently(ray.serve)
        if kept.code != code():
            found.append("the code of serve_app (Serve restarts)")
        if not found and not _is_well(now):
            found.append("Serve had lost the application: deployed again")
        if not found:
            return ["Nothing changed."]
        if port != kept.serve_port or kept.code != code():
            _end_serve(ray, kept.serve_port)
        kept = _submit(kept, ray, local, stages)
    _with_times(kept, stages)
    return found


def _is_well(now: ServeState) -> bool:
    states = [application.status for application in now.applications.values()]
    return bool(states) and all(state in ("RUNNING", "DEPLOYING", "UNHEALTHY") for state in states)


def _submit(kept: Record, ray: RayApi, local: dict[str, Any], stages: Stages) -> Record:
    stages.set(SERVE, "running", "starting its controller and proxy")
    ray.put_serve(local)
    port = config.port_of(local)
    heard = _patiently(ray.serve).http_port
    if heard != port:  # Serve accepts a port that it then ignores when it runs already
        raise SdctlError(f"Serve listens on port {heard}, not {port}.", hint="`sdctl cleanup --local`, then again.")
    return kept.with_(config=local, serve_port=port, code=code(), members=members(kept))


def _patiently(ask: Callable[[], ServeState]) -> ServeState:
    """Serve's state from a dashboard that may be late on a busy machine."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            return ask()
        except (TimedOut, Unreachable):
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


def _with_times(kept: Record, stages: Stages) -> None:
    kept.with_(ray_s=stages.seconds(RAY) or kept.ray_s, serve_s=stages.seconds(SERVE))


def _end_serve(ray: RayApi, port: int) -> None:
    ray.delete_serve()
    deadline = time.monotonic() + SERVE_GONE_S
    while _patiently(ray.serve).running or not ports.is_free(port):
        if time.monotonic() > deadline:
            raise TimedOut("Serve did not end.", hint="`sdctl cleanup --local`, then deploy again.")
        time.sleep(POLL_S)


def members(kept: Record) -> tuple[processes.Identity, ...]:
    """The processes of a record that run now."""
    return tuple(process.identity for process in processes.find(kept.claim))


def code() -> str:
    """A fingerprint of the application's code: replicas do not see a change by themselves."""
    found = importlib.util.find_spec("serve_app")
    folder = Path(found.origin).parent if found and found.origin else Path()
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def remove(kept: Record) -> Iterator[tuple[Leftover, ...]]:
    """End the processes of a record, then remove its files; gives what is left, each time it changes, down to ()."""
    files = _files(kept)
    last: tuple[Leftover, ...] = ()
    for left in processes.end(kept.claim):
        now = (*(Leftover("process", processes.label(process)) for process in left), *files)
        if now != last:
            yield now
        last = now
    if last != files:
        yield files
    try:
        record.forget(kept)
    except OSError as error:
        yield (Leftover("folder", str(error.filename or kept.folder), error.strerror or "cannot be removed"),)
        raise SdctlError(
            f"{error.filename or kept.folder} cannot be removed: {error.strerror}.", hint="Remove it by hand."
        ) from None
    yield ()


def _files(kept: Record) -> tuple[Leftover, ...]:
    folder = (Leftover("folder", kept.folder),) if Path(kept.folder).exists() else ()
    file = record.token_path().with_name(record.FILE)
    return (*folder, Leftover("record", str(file))) if file.exists() else folder


def _remove_all(kept: Record) -> None:
    for _ in remove(kept):
        pass
