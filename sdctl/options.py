"""Every option that more than one command takes, declared once."""

from typing import Annotated

import typer

from sdctl.errors import InvalidRequest
from sdctl.targets.base import Selection

TargetOption = Annotated[
    str, typer.Option("--target", metavar="local|kubernetes|URL", envvar="SDCTL_TARGET", help="Where the service runs.")
]
LocalOption = Annotated[bool, typer.Option("--local", help="Short for --target local.")]
NameOption = Annotated[str, typer.Option("--name", help="The service's name.")]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="Kubernetes namespace.")]
NamespaceLongOption = Annotated[str, typer.Option("--namespace", help="Kubernetes namespace.")]
ContextOption = Annotated[str, typer.Option("--context", help="kubeconfig context.")]
KubeconfigOption = Annotated[str, typer.Option("--kubeconfig", help="kubeconfig file.")]
TokenFileOption = Annotated[str, typer.Option("--token-file", help="File with the service's key (or SDCTL_TOKEN).")]
CaFileOption = Annotated[str, typer.Option("--ca-file", help="Certificate authorities for https targets (PEM).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, errors included.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def selection(
    target: str,
    local: bool,
    *,
    name: str = "",
    namespace: str = "",
    context: str = "",
    kubeconfig: str = "",
    token_file: str = "",
    ca_file: str = "",
) -> Selection:
    """The target options of one command line; raises InvalidRequest when they contradict each other."""
    if local and target not in ("", "local"):
        raise InvalidRequest(f"--local and --target {target} name two targets.", hint="Give one of them.")
    return Selection(
        target="local" if local else target,
        name=name,
        namespace=namespace,
        context=context,
        kubeconfig=kubeconfig,
        token_file=token_file,
        ca_file=ca_file,
    )


def size(text: str) -> tuple[int, int]:
    """Read `512` or `768x512` as (width, height) in pixels."""
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height or width)
    except ValueError:
        raise InvalidRequest(f"--size {text} is no size.", hint="Use 512 or 768x512 (width x height).") from None


def bounds(text: str, option: str) -> tuple[int, int]:
    """Read `3` or `1:3` as (smallest, largest), both at least 0 and in order."""
    low, colon, high = text.partition(":")
    try:
        pair = int(low), int(high if colon else low)
    except ValueError:
        pair = (-1, -1)
    if not 0 <= pair[0] <= pair[1] or pair[1] == 0:
        raise InvalidRequest(f"{option} {text} is not a number or MIN:MAX.", hint=f"Use {option} 2 or {option} 1:4.")
    return pair


def duration(text: str, option: str) -> float:
    """Read `90`, `90s`, `5m` or `1h` as seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text and text[-1] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e7:
        raise InvalidRequest(f"{option} {text} is no duration.", hint=f"Use {option} 90s, 5m or 1h.")
    return seconds
