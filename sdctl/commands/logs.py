"""`sdctl logs`."""

from typing import Annotated

import typer

from sdctl import show
from sdctl.options import (
    ContextOption,
    JsonOption,
    KubeconfigOption,
    LocalOption,
    NameOption,
    NamespaceOption,
    TargetOption,
    duration,
    selection,
)
from sdctl.output import Output
from sdctl.targets.base import LogQuery
from sdctl.targets.select import select

FollowOption = Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C, newcomers included.")]
SinceOption = Annotated[str, typer.Option("--since", metavar="DURATION", help="Only what is younger: 90s, 5m, 1h.")]
TailOption = Annotated[int | None, typer.Option("--tail", min=0, help="Last lines of each source.")]
RoleOption = Annotated[str, typer.Option("--role", metavar="head|worker|replica", help="Only these sources.")]


def command(
    target: TargetOption = "",
    local: LocalOption = False,
    follow: FollowOption = False,
    since: SinceOption = "",
    tail: TailOption = None,
    role: RoleOption = "",
    name: NameOption = "",
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show or follow the logs of head, workers and replicas; with --json one document a line."""
    chosen = selection(target, local, name=name, namespace=namespace, context=context, kubeconfig=kubeconfig)
    since_s = duration(since, "--since") if since else None
    query = LogQuery(follow=follow, since_s=since_s, tail=tail, role=role)
    output = Output(as_json=as_json)
    for line in select(chosen).logs(query):
        if as_json:
            output.json_line(show.log_document(line))
        else:
            output.text(show.log_line(line))
