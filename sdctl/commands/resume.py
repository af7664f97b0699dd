"""`sdctl resume`."""

from sdctl import show
from sdctl.commands.deploy import NoWaitOption, TimeoutOption
from sdctl.commands.suspend import set_suspended
from sdctl.options import (
    JsonOption,
    duration,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Selection
from sdctl.targets.select import select


@on_target(but=("local",), default="kubernetes")
def command(
    where: Selection,
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = "30m",
    as_json: JsonOption = False,
) -> None:
    """Start a suspended service on Kubernetes again and wait until it has made an image."""
    output = Output(as_json=as_json)
    chosen = select(where)
    set_suspended(chosen, False)
    with show.stages(output) as report:
        for steps in () if no_wait else chosen.wait_ready(duration(timeout, "--timeout")):
            report(steps)
    status = chosen.status()
    output.result(status.to_json(), lambda: f"{status.name} is {status.state}.")
