"""The table of commands, in the order a user meets them, and the way from an error to an exit code."""

import functools
import importlib
import json
import os
import sys
from typing import TYPE_CHECKING

from sdctl import __version__
from sdctl.errors import Interrupted, InvalidRequest, SdctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer import Typer

# A command's module (with its function `command`) and the help that `sdctl --help` shows without importing it.
COMMANDS: dict[str, tuple[str, str]] = {
    "deploy": ("sdctl.commands.deploy", "Deploy the service and wait until it has made an image."),
    "status": ("sdctl.commands.status", "Show replicas, nodes, the endpoint, and why it is not ready."),
    "imagine": ("sdctl.commands.imagine", "Make images from prompts: save them, preview them, pipe them."),
    "loadtest": ("sdctl.commands.loadtest", "Run a burst of users and report what it did to the service."),
    "forward": ("sdctl.commands.forward", "Forward the service and the dashboard to this machine until Ctrl-C."),
    "dashboard": ("sdctl.commands.dashboard", "Open the Ray dashboard and say how to give its token."),
    "logs": ("sdctl.commands.logs", "Show or follow the logs of head, workers and replicas."),
    "doctor": ("sdctl.commands.doctor", "Check what the target needs and lacks, each with its fix."),
    "keys": ("sdctl.commands.keys", "Show or rotate the API keys of a service on Kubernetes."),
    "suspend": ("sdctl.commands.suspend", "Stop a service on Kubernetes and its costs, and keep its object."),
    "resume": ("sdctl.commands.resume", "Start a suspended service on Kubernetes again."),
    "debug-bundle": ("sdctl.commands.debug_bundle", "Write objects, events, logs and versions into one archive."),
    "cleanup": ("sdctl.commands.cleanup", "Remove what sdctl deployed and prove that nothing is left."),
}


def main() -> None:
    """The entry point of the `sdctl` program."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command line and give its exit code; errors that a user can cause are printed, never raised."""
    if argv == ["--version"]:  # before anything heavy: shells and scripts ask often
        print(f"sdctl {__version__}")
        return 0
    try:
        return _invoke(argv)
    except SdctlError as error:
        return _report(error, as_json="--json" in argv)
    except KeyboardInterrupt:
        return _report(Interrupted("Interrupted."), as_json="--json" in argv)
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`): not an error worth a message, and Python must not retry the flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _invoke(argv: list[str]) -> int:
    import typer
    from typer.exceptions import TyperException

    try:
        code = build_app(_verb(argv))(argv, prog_name="sdctl", standalone_mode=False)
    except typer.Abort:
        raise Interrupted("Interrupted.") from None
    except TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "sdctl"
        raise InvalidRequest(error.format_message(), hint=f"`{where} --help` shows what it takes.") from None
    return code if isinstance(code, int) else 0


def build_app(*verbs: str) -> "Typer":
    """The Typer application, with only the commands in `verbs` imported; the others are their line of help."""
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Operate a text-to-image service on Ray Serve: on a cluster, on this machine, behind any URL.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 timed out, 5 unreachable, 6 SLO missed, "
        "7 not allowed, 8 busy, 130 interrupted.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        if version:
            print(f"sdctl {__version__}")
            raise typer.Exit

    for name, (module, summary) in COMMANDS.items():
        function = _interruptible(importlib.import_module(module).command) if name in verbs else _placeholder
        app.command(name, help=None if name in verbs else summary, short_help=summary)(function)
    return app


def _interruptible(command: "Callable[..., int | None]") -> "Callable[..., int | None]":
    """Tell Ctrl-C from a command that gives 130 itself, having said all there is: Typer makes both the same code."""

    @functools.wraps(command)
    def run_it(*args: object, **options: object) -> int | None:
        try:
            return command(*args, **options)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted.") from None

    return run_it


def _placeholder() -> None:
    raise AssertionError("the command was not loaded")


def _verb(argv: list[str]) -> str:
    """The command that this invocation needs: the first word that is no option, or the one a shell completes."""
    words = argv
    if "_SDCTL_COMPLETE" in os.environ:
        completed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
        words = completed.split()[1:]
    return next((word for word in words if not word.startswith("-")), "")


def _report(error: SdctlError, *, as_json: bool) -> int:
    sys.stdout.flush()
    if as_json:
        print(json.dumps(error.to_json()), flush=True)
    else:
        print(f"Error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        sys.stderr.flush()
    return error.exit_code
