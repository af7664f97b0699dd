"""Every option that more than one command takes, declared once."""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sdctl.errors import InvalidRequest
from sdctl.targets.base import Selection

PANEL = "Target"
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, errors included.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

TARGET_OPTIONS: dict[str, typer.models.OptionInfo] = {
    "target": typer.Option(
        "--target",
        metavar="local|kubernetes|URL",
        envvar="SDCTL_TARGET",
        help="Where the service runs.",
        rich_help_panel=PANEL,
    ),
    "local": typer.Option("--local", help="Short for --target local.", rich_help_panel=PANEL),
    "name": typer.Option("--name", help="The service's name.", rich_help_panel=PANEL),
    "namespace": typer.Option("--namespace", help="Kubernetes namespace.", rich_help_panel=PANEL),
    "context": typer.Option("--context", help="kubeconfig context.", rich_help_panel=PANEL),
    "kubeconfig": typer.Option("--kubeconfig", help="kubeconfig file.", rich_help_panel=PANEL),
    "token_file": typer.Option(
        "--token-file", help="File with the service's key (or SDCTL_TOKEN).", rich_help_panel=PANEL
    ),
    "ca_file": typer.Option(
        "--ca-file", help="Certificate authorities for https targets (PEM).", rich_help_panel=PANEL
    ),
}
EVERYWHERE = ("target", "local", "name", "namespace", "context", "kubeconfig")


def on_target(
    *more: str, but: tuple[str, ...] = (), default: str = "", short_namespace: bool = True
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Give a command the options that name a target, after its own; it takes them as one `Selection`, its first."""
    names = [name for name in (*EVERYWHERE, *more) if name not in but]

    def decorate(command: Callable[..., int | None]) -> Callable[..., int | None]:
        @functools.wraps(command)
        def run(**given: Any) -> int | None:
            chosen = _selection(**{name: given.pop(name) for name in names})
            return command(chosen, **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        parameters = [*own[:-1], *(_parameter(name, default, short_namespace) for name in names), own[-1]]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(name: str, default: str, short_namespace: bool) -> inspect.Parameter:
    """One of the target's options as Typer reads it."""
    option = copy.copy(TARGET_OPTIONS[name])
    if name == "namespace" and short_namespace:
        option.param_decls = ("-n",)
    flag = name == "local"
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=False if flag else default if name == "target" else "",
        annotation=Annotated[bool, option] if flag else Annotated[str, option],
    )


def _selection(target: str, local: bool = False, **rest: str) -> Selection:
    """The target options of one command line; raises InvalidRequest when they contradict each other."""
    if local and target not in ("", "local"):
        raise InvalidRequest(f"--local and --target {target} name two targets.", hint="Give one of them.")
    return Selection(target="local" if local else target, **rest)


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
