"""`sdctl deploy`."""

from typing import Annotated

import typer

from sdctl import show, state
from sdctl.errors import Interrupted
from sdctl.options import (
    ContextOption,
    JsonOption,
    KubeconfigOption,
    LocalOption,
    NameOption,
    NamespaceOption,
    TargetOption,
    bounds,
    duration,
    selection,
)
from sdctl.output import Output
from sdctl.targets.base import DeploySpec, ReportsStages, ServiceStatus, Target
from sdctl.targets.select import select

ManifestOption = Annotated[str, typer.Option("--manifest", "-f", help="RayService manifest (default: the packaged).")]
ModelOption = Annotated[str, typer.Option("--model", help="builtin:shapes, a diffusers model id, or a folder.")]
ReplicasOption = Annotated[str, typer.Option("--replicas", metavar="N|MIN:MAX", help="Replicas of the generator.")]
PortOption = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Local target: the HTTP port.")]
GpuNodesOption = Annotated[str, typer.Option("--gpu-nodes", metavar="MIN:MAX", help="Local target: simulated nodes.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Return once the deployment was accepted.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for the first image.")]


def command(
    target: TargetOption = "",
    local: LocalOption = False,
    manifest: ManifestOption = "",
    model: ModelOption = "",
    replicas: ReplicasOption = "",
    port: PortOption = None,
    gpu_nodes: GpuNodesOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = "30m",
    name: NameOption = "",
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    as_json: JsonOption = False,
) -> None:
    """Deploy the service and wait until it has made an image."""
    chosen = selection(target, local, name=name, namespace=namespace, context=context, kubeconfig=kubeconfig)
    spec = DeploySpec(
        manifest=manifest,
        model=model,
        replicas=bounds(replicas, "--replicas") if replicas else None,
        port=port,
        gpu_nodes=bounds(gpu_nodes, "--gpu-nodes") if gpu_nodes else None,
        timeout_s=duration(timeout, "--timeout"),
    )
    deploy(select(chosen), spec, Output(as_json=as_json), wait=not no_wait)


def deploy(target: Target, spec: DeploySpec, output: Output, *, wait: bool) -> None:
    """Deploy, show the stages on stderr, remember the target, and give its status as the result."""
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
