"""`sdctl suspend`."""

from sdctl.errors import InvalidRequest
from sdctl.options import (
    JsonOption,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Selection, Target
from sdctl.targets.planning import Suspends
from sdctl.targets.select import select


@on_target(but=("local",), default="kubernetes")
def command(
    where: Selection,
    as_json: JsonOption = False,
) -> None:
    """Stop a service on Kubernetes and its costs; its object, Secrets and settings stay."""
    chosen = select(where)
    set_suspended(chosen, True)
    status = chosen.status()
    text = f"{status.name} is {status.state}: its pods end, then its nodes. `sdctl resume` starts it again."
    Output(as_json=as_json).result(status.to_json(), lambda: text)


def set_suspended(target: Target, suspended: bool) -> None:
    """Suspend or resume; raises InvalidRequest for a target that knows neither."""
    if not isinstance(target, Suspends):
        raise InvalidRequest("Only a service on Kubernetes can be suspended.", hint="Use --target kubernetes.")
    target.suspend(suspended)
