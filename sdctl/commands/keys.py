"""`sdctl keys`."""

from typing import Annotated

import typer

from sdctl.errors import InvalidRequest
from sdctl.options import (
    JsonOption,
    duration,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Selection
from sdctl.targets.planning import HasKeys
from sdctl.targets.select import select

ActionArgument = Annotated[str, typer.Argument(metavar="show|rotate", help="What to do.")]
DropOption = Annotated[bool, typer.Option("--drop-old", help="rotate: end all older keys at once.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="rotate: longest wait for pods.")]


@on_target(but=("local",), default="kubernetes")
def command(
    where: Selection,
    action: ActionArgument = "show",
    drop_old: DropOption = False,
    timeout: TimeoutOption = "5m",
    as_json: JsonOption = False,
) -> None:
    """Show the API keys of a service, or make a new one that pods accept before clients use it."""
    output = Output(as_json=as_json)
    keeper = _keeper(where)
    if action == "rotate":
        made = keeper.rotate_key(drop_old=drop_old, timeout_s=duration(timeout, "--timeout"))
        others = "Older keys ended." if drop_old else "Older keys stay valid until `sdctl keys rotate --drop-old`."
        output.result({"key": made, "dropped_old": drop_old}, lambda: f"{made} is the key now. {others}")
    elif action == "show":
        keys = keeper.keys()
        output.result({"keys": keys}, lambda: output.table(("name", "key"), list(keys.items())))
    else:
        raise InvalidRequest(f"sdctl keys {action}: there is show and rotate.", hint="`sdctl keys --help`.")


def _keeper(chosen: Selection) -> HasKeys:
    target = select(chosen)
    if not isinstance(target, HasKeys):
        raise InvalidRequest("Only a service on Kubernetes keeps keys.", hint="Use --target kubernetes.")
    return target
