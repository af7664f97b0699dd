"""`sdctl deploy`."""

from typing import Annotated

import typer

from sdctl import show, state
from sdctl.errors import Interrupted, InvalidRequest
from sdctl.manifest.text import to_yaml
from sdctl.options import (
    JsonOption,
    bounds,
    duration,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import ApplyOptions, DeploySpec, ReportsStages, Selection, ServiceStatus, Target
from sdctl.targets.planning import Plans
from sdctl.targets.select import select

ManifestOption = Annotated[str, typer.Option("--manifest", "-f", help="RayService manifest (default: the packaged).")]
ModelOption = Annotated[str, typer.Option("--model", help="builtin:shapes, a diffusers model id, or a folder.")]
ReplicasOption = Annotated[str, typer.Option("--replicas", metavar="N|MIN:MAX", help="Replicas of the generator.")]
PortOption = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Local target: the HTTP port.")]
GpuNodesOption = Annotated[str, typer.Option("--gpu-nodes", metavar="MIN:MAX", help="Local target: simulated nodes.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Return once the deployment was accepted.")]
ImageOption = Annotated[str, typer.Option("--image", help="Kubernetes: the image that holds code and dependencies.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change one field, as in spec.a.b=c; repeatable."),
]
DryRunOption = Annotated[str, typer.Option("--dry-run", metavar="client|server", help="Print what would be applied.")]
DiffOption = Annotated[bool, typer.Option("--diff", help="Print what would change; exit code 1 where something would.")]
ForceOption = Annotated[bool, typer.Option("--force-conflicts", help="Take RayService fields that others manage.")]
RecreateOption = Annotated[bool, typer.Option("--recreate", help="Delete first, then apply: a downtime, fewer GPUs.")]
IngressOption = Annotated[bool, typer.Option("--dashboard-ingress", help="AWS load balancer before the dashboard.")]
CidrOption = Annotated[list[str] | None, typer.Option("--inbound-cidr", help="Who may reach it; repeatable.")]
SchemeOption = Annotated[str, typer.Option("--ingress-scheme", metavar="internal|internet-facing", help="Its scheme.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for the first image.")]


@on_target()
def command(
    where: Selection,
    manifest: ManifestOption = "",
    model: ModelOption = "",
    replicas: ReplicasOption = "",
    port: PortOption = None,
    gpu_nodes: GpuNodesOption = "",
    image: ImageOption = "",
    sets: SetOption = None,
    dry_run: DryRunOption = "",
    diff: DiffOption = False,
    force_conflicts: ForceOption = False,
    recreate: RecreateOption = False,
    dashboard_ingress: IngressOption = False,
    inbound_cidr: CidrOption = None,
    ingress_scheme: SchemeOption = "internal",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = "30m",
    as_json: JsonOption = False,
) -> int:
    """Deploy the service and wait until it has made an image."""
    spec = DeploySpec(
        manifest=manifest,
        model=model,
        replicas=bounds(replicas, "--replicas") if replicas else None,
        port=port,
        gpu_nodes=bounds(gpu_nodes, "--gpu-nodes") if gpu_nodes else None,
        image=image,
        overrides=tuple(sets or ()),
        apply=ApplyOptions(force_conflicts, recreate, dashboard_ingress, tuple(inbound_cidr or ()), ingress_scheme),
        timeout_s=duration(timeout, "--timeout"),
    )
    output, found = Output(as_json=as_json), select(where)
    if dry_run or diff:
        return foresee(found, spec, output, dry_run=dry_run)
    deploy(found, spec, output, wait=not no_wait)
    return 0


def foresee(target: Target, spec: DeploySpec, output: Output, *, dry_run: str) -> int:
    """Show what a deployment would apply, or what it would change (exit code 1 then, as `kubectl diff` has it)."""
    if not isinstance(target, Plans):
        raise InvalidRequest("--dry-run and --diff are for Kubernetes.", hint="Use --target kubernetes.")
    if dry_run not in ("", "client", "server"):
        raise InvalidRequest(f"--dry-run {dry_run} is none of client, server.", hint="Use --dry-run client.")
    if dry_run:
        documents = target.rendered(spec, server=dry_run == "server")
        output.result({"documents": list(documents)}, lambda: to_yaml(*documents))
        return 0
    difference = target.difference(spec)
    output.result({"differs": bool(difference), "diff": difference}, lambda: difference or "Nothing would change.")
    return 1 if difference else 0


def deploy(target: Target, spec: DeploySpec, output: Output, *, wait: bool) -> None:
    """Deploy, show the stages on stderr, remember the target, and give its status as the result."""
    for note in target.notes(spec) if isinstance(target, Plans) else ():
        output.warn(note)
    with show.stages(output) as report:
        if isinstance(target, ReportsStages):
            target.report = report
        target.deploy(spec)
        state.remember_target(target.name)
        if wait:
            _wait(target, spec, report)
    status = target.status()
    output.result(status.to_json(), lambda: _summary(status))


def _wait(target: Target, spec: DeploySpec, report: show.Report) -> None:
    try:
        for steps in target.wait_ready(spec.timeout_s):
            report(steps)
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted; the deployment goes on without this command.",
            hint=f"`sdctl status --target {target.name} --watch` shows it, `sdctl cleanup` removes it.",
        ) from None


def _summary(status: ServiceStatus) -> str:
    changes = status.details.get("changes") or []
    lines = [f"{status.name} on {status.target} is {status.state}.", *(f"  {change}" for change in changes)]
    if status.endpoint_url:
        lines.append(f"Endpoint: {status.endpoint_url}")
    if status.state == "ready":
        lines.append(f'Try: sdctl imagine "a red star on a blue background" --target {status.target}')
    return "\n".join(lines)
