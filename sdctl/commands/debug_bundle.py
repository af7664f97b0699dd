"""`sdctl debug-bundle`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sdctl import bundle
from sdctl.options import (
    JsonOption,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Selection
from sdctl.targets.select import select

OutputOption = Annotated[str, typer.Option("--output", "-o", help="The archive, a .tar.gz file that is not there yet.")]


@on_target("token_file")
def command(
    where: Selection,
    to: OutputOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write objects, events, logs and versions into one archive, secrets masked; look into it before you send it."""
    output = Output(as_json=as_json)
    chosen = select(where)
    path = Path(to or f"sdctl-{chosen.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz")
    output.info(f"Collecting from the target {chosen.name}.")
    names = bundle.write(path, chosen)
    output.result({"file": str(path), "contents": names}, lambda: f"Wrote {path} with {len(names)} files.")
