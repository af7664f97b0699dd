"""`sdctl cleanup`."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sdctl import show
from sdctl.errors import Interrupted, InvalidRequest, TimedOut
from sdctl.options import (
    JsonOption,
    YesOption,
    duration,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import HasNamespace, Leftover, Selection, Target
from sdctl.targets.select import select

KeepNamespaceOption = Annotated[bool, typer.Option("--keep-namespace", help="Leave the namespace that deploy made.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for all to be gone.")]

MOST_LINES = 5  # of one kind; a local Ray has some twenty processes


@on_target()
def command(
    where: Selection,
    yes: YesOption = False,
    timeout: TimeoutOption = "20m",
    keep_namespace: KeepNamespaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what sdctl deployed, wait, and prove that nothing is left."""
    chosen = select(where)
    output = Output(as_json=as_json)
    if isinstance(chosen, HasNamespace):
        chosen.keep_namespace = keep_namespace
    found = chosen.cleanup()  # begins with the first look at it, but a target that cannot be cleaned refuses at once
    if not yes and chosen.name != "local":
        _ask(chosen)
    result = remove(found, output, timeout_s=duration(timeout, "--timeout"))
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


def remove(stages: Iterable[tuple[Leftover, ...]], output: Output, *, timeout_s: float) -> Result:
    """Remove everything and give what was there; raises TimedOut naming what is left."""
    seen: dict[tuple[str, str], Leftover] = {}
    deadline = time.monotonic() + timeout_s
    for found in stages:
        left = [leftover for leftover in found if not leftover.stays]
        news = [leftover for leftover in found if seen.get((leftover.kind, leftover.name)) != leftover]
        for line in _told(news):
            output.info(line)
        seen |= {(leftover.kind, leftover.name): leftover for leftover in news}
        if left and time.monotonic() > deadline:
            names = "; ".join(show.leftover_line(each) for each in left)
            raise TimedOut(f"Not removed within {timeout_s:.0f} s: {names}.", hint="Run `sdctl cleanup` again.")
    removed, stays = (tuple(each for each in seen.values() if each.stays is kept) for kept in (False, True))
    return Result(removed, stays)


def _told(news: list[Leftover]) -> Iterator[str]:
    """A line for each, or one for many of a kind."""
    for kind in dict.fromkeys((each.stays, each.kind) for each in news):
        them = [each for each in news if (each.stays, each.kind) == kind]
        verb = "staying" if kind[0] else "removing"
        if len(them) > MOST_LINES:
            yield f"{verb} {len(them)} {_plural(kind[1], len(them))}"
        else:
            yield from (f"{verb} {show.leftover_line(each)}" for each in them)


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
