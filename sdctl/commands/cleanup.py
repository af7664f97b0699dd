"""`sdctl cleanup`."""

import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any

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
from sdctl.targets.base import HasNamespace, Leftover, Target
from sdctl.targets.select import select

KeepNamespaceOption = Annotated[bool, typer.Option("--keep-namespace", help="Leave the namespace that deploy made.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for all to be gone.")]


def command(
    target: TargetOption = "",
    local: LocalOption = False,
    yes: YesOption = False,
    timeout: TimeoutOption = "20m",
    keep_namespace: KeepNamespaceOption = False,
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
    if isinstance(chosen, HasNamespace):
        chosen.keep_namespace = keep_namespace
    result = remove(chosen, output, timeout_s=duration(timeout, "--timeout"))
    output.result({"target": chosen.name, **result.to_json()}, lambda: "\n".join(_summary(chosen, result)))


@dataclass(frozen=True)
class Result:
    """What a clean-up removed, and what it found and left because it is not ours to remove."""

    removed: tuple[Leftover, ...]
    stays: tuple[Leftover, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `sdctl cleanup --json`; nothing is left where this is printed at all."""
        lists = {"removed": self.removed, "stays": self.stays}
        return {name: [show.leftover_document(each) for each in them] for name, them in lists.items()} | {"left": []}


def _ask(target: Target) -> None:
    """Local processes are this user's own; what is on a cluster may be somebody's service."""
    if not sys.stdin.isatty():
        raise InvalidRequest("cleanup asks first, and stdin is no terminal.", hint="Give --yes to remove it.")
    if not typer.confirm(f"Remove the service and all that sdctl made for it from {target.name}?", err=True):
        raise Interrupted("Nothing was removed.")


def remove(target: Target, output: Output, *, timeout_s: float) -> Result:
    """Remove everything and give what was there; raises TimedOut naming what is left."""
    seen: dict[tuple[str, str], Leftover] = {}
    deadline = time.monotonic() + timeout_s
    for found in target.cleanup():
        left = [leftover for leftover in found if not leftover.stays]
        for leftover in found:
            if seen.get((leftover.kind, leftover.name)) != leftover:
                output.info(f"{'staying' if leftover.stays else 'removing'} {show.leftover_line(leftover)}")
            seen[leftover.kind, leftover.name] = leftover
        if left and time.monotonic() > deadline:
            names = "; ".join(show.leftover_line(each) for each in left)
            raise TimedOut(f"Not removed within {timeout_s:.0f} s: {names}.", hint="Run `sdctl cleanup` again.")
    removed, stays = (tuple(each for each in seen.values() if each.stays is kept) for kept in (False, True))
    return Result(removed, stays)


def _summary(target: Target, result: Result) -> list[str]:
    stays = [f"It stays: {show.leftover_line(each)}" for each in result.stays]
    if not result.removed:
        return [f"There is nothing of sdctl on {target.name}.", *stays]
    kinds: dict[str, int] = {}
    for each in result.removed:
        kinds[each.kind] = kinds.get(each.kind, 0) + 1
    counts = ", ".join(f"{count} {_plural(kind, count)}" for kind, count in kinds.items())
    return [f"Removed {counts}. Nothing is left on {target.name}.", *stays]


def _plural(kind: str, count: int) -> str:
    if count == 1:
        return kind
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
