"""`sdctl dashboard`."""

import webbrowser
from contextlib import ExitStack
from typing import Annotated

import typer

from sdctl.commands.forward import PortOption, hold, open_forward, plan
from sdctl.options import (
    JsonOption,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Endpoint, Selection
from sdctl.targets.select import select

NoBrowserOption = Annotated[bool, typer.Option("--no-browser", help="Print the address, open nothing.")]


@on_target()
def command(
    where: Selection,
    no_browser: NoBrowserOption = False,
    local_port: PortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open the Ray dashboard and say how to give its token."""
    chosen = select(where)
    output = Output(as_json=as_json)
    listen = plan(["dashboard"], local_port or [])["dashboard"]
    with ExitStack() as stack:
        forward = open_forward(chosen, "dashboard", listen, output, stack)
        endpoint = forward.endpoint
        token = endpoint.headers.get("Authorization", "").removeprefix("Bearer ")
        output.result({"url": endpoint.url, "token": token or None}, lambda: _text(endpoint, token))
        if not no_browser and not as_json:
            webbrowser.open(endpoint.url)
        hold([forward])


def _text(endpoint: Endpoint, token: str) -> str:
    if not token:
        return f"Ray dashboard: {endpoint.url} (asks for no token)"
    return f"Ray dashboard: {endpoint.url}\nToken, to paste when the page asks for it: {token}"
