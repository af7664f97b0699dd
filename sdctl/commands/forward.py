"""`sdctl forward`."""

import time
from contextlib import ExitStack
from typing import Annotated

import typer

from sdctl.errors import InvalidRequest
from sdctl.options import (
    JsonOption,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Selection, Target
from sdctl.targets.forwarding import LOOPBACK, Forward, Forwards, Listen
from sdctl.targets.select import select

WhatArgument = Annotated[list[str] | None, typer.Argument(metavar="[serve] [dashboard]", help="Default: serve.")]
PortOption = Annotated[
    list[int] | None,
    typer.Option(
        "--local-port",
        min=0,
        max=65535,
        help="Port of this machine, once for each name, 0 for a free one. Default: 8000 and 8265, else a free one.",
    ),
]
AddressOption = Annotated[str, typer.Option("--address", help="Address of this machine to listen on.")]

USUAL_PORTS = {"serve": 8000, "dashboard": 8265}
CHECK_EVERY_S = 0.5
WITHOUT_LIMIT_S = float("inf")


@on_target("token_file")
def command(
    where: Selection,
    what: WhatArgument = None,
    local_port: PortOption = None,
    address: AddressOption = LOOPBACK,
    as_json: JsonOption = False,
) -> None:
    """Forward the service and the dashboard to this machine until Ctrl-C."""
    listens = plan(what or ["serve"], local_port or [], address)
    chosen = select(where)
    output = Output(as_json=as_json)
    with ExitStack() as stack:
        opened = {each: open_forward(chosen, each, listen, output, stack) for each, listen in listens.items()}
        urls = {each: forward.endpoint.url for each, forward in opened.items()}
        output.result(
            {each: {"url": forward.endpoint.url, "via": forward.endpoint.via} for each, forward in opened.items()},
            lambda: "\n".join(f"{each}: {url}" for each, url in urls.items()),
        )
        hold(list(opened.values()))
        output.info(f"The {chosen.name} target needs no forward: the address above is open already.")


def plan(what: list[str], ports: list[int], address: str = LOOPBACK) -> dict[str, Listen]:
    """Where each name listens; raises InvalidRequest for an unknown name and for too few or too many ports."""
    names = list(dict.fromkeys(what))
    for each in names:
        if each not in USUAL_PORTS:
            raise InvalidRequest(f"There is no {each!r} to forward.", hint="Name serve, dashboard or both.")
    if not ports:
        return {each: Listen(address, USUAL_PORTS[each], or_free=True) for each in names}
    if ports == [0]:
        ports = [0] * len(names)
    if len(ports) != len(names):
        raise InvalidRequest(
            f"{len(ports)} local ports for {len(names)} forwards.", hint="Give --local-port once for each name, or 0."
        )
    return {each: Listen(address, port) for each, port in zip(names, ports, strict=True)}


def open_forward(target: Target, what: str, listen: Listen, output: Output, stack: ExitStack) -> Forward:
    """Open one forward for as long as `stack` lives; a target that needs none gives the address that it has."""
    if not isinstance(target, Forwards):
        opened = target.endpoint() if what == "serve" else target.dashboard()
        return Forward(stack.enter_context(opened), lambda: None)
    if listen.address not in (LOOPBACK, "::1"):
        output.warn(f"{what} is open to whoever reaches {listen.address}, without encryption.")
    told = Listen(listen.address, listen.port, listen.or_free, notify=output.info, ready_s=WITHOUT_LIMIT_S)
    return stack.enter_context(target.forward(what, told))


def hold(forwards: list[Forward]) -> None:
    """Wait until Ctrl-C while forwards are open, at once where none is; raises what makes one impossible."""
    while any(forward.endpoint.via == "tunnel" for forward in forwards):
        for forward in forwards:
            forward.check()
        time.sleep(CHECK_EVERY_S)
