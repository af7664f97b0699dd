"""`sdctl cleanup`."""

import sys
import time
from typing import Annotated

import typer

from sdctl import show
from sdctl.errors import Interrupted, InvalidRequest, TimedOut
from sdctl.options import (
    ContextOption,
    JsonOption,
    KubeconfigOption,
    LocalOption,
    NameOption,
    NamespaceOption,
    TargetOption,
    YesOption,
    duration,
    selection,
)
from sdctl.output import Output
from sdctl.targets.base import Leftover, Target
from sdctl.targets.select import select

TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for all to be gone.")]


def command(
    target: TargetOption = "",
    local: LocalOption = False,
    yes: YesOption = False,
    timeout: TimeoutOption = "20m",
    name: NameOption = "",
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    as_json: JsonOption = False,
) -> None:
    """Remove what sdctl deployed, wait, and prove that nothing is left."""
    chosen = select(selection(target, local, name=name, namespace=namespace, context=context, kubeconfig=kubeconfig))
    output = Output(as_json=as_json)
    if not yes and chosen.name != "local":
        _ask(chosen)
    removed = remove(chosen, output, timeout_s=duration(timeout, "--timeout"))
    document = {"target": chosen.name, "removed": [show.leftover_document(each) for each in removed], "left": []}
    output.result(document, lambda: "\n".join(_summary(chosen, removed)))


def _ask(target: Target) -> None:
    """Local processes are this user's own; what is on a cluster may be somebody's service."""
    if not sys.stdin.isatty():
        raise InvalidRequest("cleanup asks first, and stdin is no terminal.", hint="Give --yes to remove it.")
    if not typer.confirm(f"Remove the service and all that sdctl made for it from {target.name}?", err=True):
        raise Interrupted("Nothing was removed.")


def remove(target: Target, output: Output, *, timeout_s: float) -> tuple[Leftover, ...]:
    """Remove everything and give what was there; raises TimedOut naming what is left."""
    seen: dict[tuple[str, str], Leftover] = {}
    deadline = time.monotonic() + timeout_s
    for left in target.cleanup():
        for leftover in left:
            if seen.setdefault((leftover.kind, leftover.name), leftover) is leftover or leftover.why:
                output.info(f"removing {show.leftover_line(leftover)}")
        if left and time.monotonic() > deadline:
            names = "; ".join(show.leftover_line(each) for each in left)
            raise TimedOut(f"Not removed within {timeout_s:.0f} s: {names}.", hint="Run `sdctl cleanup` again.")
    return tuple(seen.values())


def _summary(target: Target, removed: tuple[Leftover, ...]) -> list[str]:
    if not removed:
        return [f"There is nothing of sdctl on {target.name}."]
    kinds: dict[str, int] = {}
    for each in removed:
        kinds[each.kind] = kinds.get(each.kind, 0) + 1
    counts = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())
    return [f"Removed {counts}. Nothing is left on {target.name}."]
