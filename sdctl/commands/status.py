"""`sdctl status`."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from sdctl import show
from sdctl.errors import NotFound
from sdctl.options import (
    JsonOption,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Selection, ServiceStatus, Target
from sdctl.targets.select import select

WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C; with --json one line a change.")]
EVERY_S = 2.0


@on_target("token_file", "ca_file")
def command(
    where: Selection,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show replicas, nodes, the endpoint, and why it is not ready; exit code 3 where there is no service."""
    output = Output(as_json=as_json)
    chosen = select(where)
    if watch:
        return watch_status(chosen, output)
    status = chosen.status()
    output.result(status.to_json(), lambda: show.status_view(output, status))
    return NotFound.exit_code if status.state == "absent" else 0


def watch_status(target: Target, output: Output) -> int:
    """Show the status again and again: redrawn in a terminal, else printed when it changes; ends by Ctrl-C."""
    if output.as_json or not output.live:
        for status in _changes(target):
            if output.as_json:
                output.json_line(status.to_json())
            else:
                output.console().print(show.status_view(output, status))
        return 0
    latest = target.status()
    with output.redrawn(lambda: show.status_view(output, latest), on_stdout=True):
        while True:
            time.sleep(EVERY_S)
            latest = target.status()


def _changes(target: Target) -> Iterator[ServiceStatus]:
    last = None
    while True:
        status = target.status()
        if status != last:
            yield status
        last = status
        time.sleep(EVERY_S)
