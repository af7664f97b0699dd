"""`sdctl logs`."""

from typing import Annotated

import typer

from sdctl import show
from sdctl.options import (
    JsonOption,
    duration,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import LogQuery, Selection
from sdctl.targets.select import select

FollowOption = Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C, newcomers included.")]
SinceOption = Annotated[str, typer.Option("--since", metavar="DURATION", help="Only what is younger: 90s, 5m, 1h.")]
TailOption = Annotated[int | None, typer.Option("--tail", min=0, help="Last lines of each source.")]
RoleOption = Annotated[str, typer.Option("--role", metavar="head|worker|replica", help="Only these sources.")]


@on_target()
def command(
    where: Selection,
    follow: FollowOption = False,
    since: SinceOption = "",
    tail: TailOption = None,
    role: RoleOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show or follow the logs of head, workers and replicas; with --json one document a line."""
    since_s = duration(since, "--since") if since else None
    query = LogQuery(follow=follow, since_s=since_s, tail=tail, role=role)
    output = Output(as_json=as_json)
    for line in select(where).logs(query):
        if as_json:
            output.json_line(show.log_document(line))
        else:
            output.text(show.log_line(line))
