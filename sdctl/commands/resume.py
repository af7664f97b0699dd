"""`sdctl resume`."""

from sdctl import show
from sdctl.commands.deploy import NoWaitOption, TimeoutOption
from sdctl.commands.suspend import set_suspended
from sdctl.options import (
    ContextOption,
    JsonOption,
    KubeconfigOption,
    NameOption,
    NamespaceOption,
    TargetOption,
    duration,
    selection,
)
from sdctl.output import Output
from sdctl.targets.select import select


def command(
    target: TargetOption = "kubernetes",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = "30m",
    name: NameOption = "",
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    as_json: JsonOption = False,
) -> None:
    """Start a suspended service on Kubernetes again and wait until it has made an image."""
    output = Output(as_json=as_json)
    chosen = select(selection(target, False, name=name, namespace=namespace, context=context, kubeconfig=kubeconfig))
    set_suspended(chosen, False)
    with show.stages(output) as report:
        for steps in () if no_wait else chosen.wait_ready(duration(timeout, "--timeout")):
            report(steps)
    status = chosen.status()
    output.result(status.to_json(), lambda: f"{status.name} is {status.state}.")
