"""`sdctl forward`."""

import threading
from contextlib import ExitStack
from typing import Annotated

import typer

from sdctl.errors import InvalidRequest
from sdctl.options import (
    ContextOption,
    JsonOption,
    KubeconfigOption,
    LocalOption,
    NameOption,
    NamespaceOption,
    TargetOption,
    selection,
)
from sdctl.output import Output
from sdctl.targets.base import Endpoint, Target
from sdctl.targets.select import select

WhatArgument = Annotated[list[str] | None, typer.Argument(metavar="[serve] [dashboard]", help="Default: serve.")]


def command(
    what: WhatArgument = None,
    target: TargetOption = "",
    local: LocalOption = False,
    name: NameOption = "",
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    as_json: JsonOption = False,
) -> None:
    """Forward the service and the dashboard to this machine until Ctrl-C."""
    chosen = select(selection(target, local, name=name, namespace=namespace, context=context, kubeconfig=kubeconfig))
    output = Output(as_json=as_json)
    with ExitStack() as stack:
        opened = {each: _open(chosen, each, stack) for each in what or ["serve"]}
        documents = {each: {"url": endpoint.url, "via": endpoint.via} for each, endpoint in opened.items()}
        output.result(documents, lambda: "\n".join(f"{each}: {end.url}" for each, end in opened.items()))
        if any(endpoint.via == "tunnel" for endpoint in opened.values()):
            threading.Event().wait()  # until Ctrl-C
        output.info(f"The {chosen.name} target needs no forward: the address above is open already.")


def _open(target: Target, what: str, stack: ExitStack) -> Endpoint:
    if what == "serve":
        return stack.enter_context(target.endpoint())
    if what == "dashboard":
        return stack.enter_context(target.dashboard())
    raise InvalidRequest(f"There is no {what!r} to forward.", hint="Name serve, dashboard or both.")
