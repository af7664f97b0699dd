"""One `sdctl imagine` from its options to its exit code."""

import os
import sys
from dataclasses import dataclass

from sdctl import preview, service
from sdctl.errors import SdctlError
from sdctl.imagine import run, show
from sdctl.imagine.plan import Options, Order, plan
from sdctl.imagine.run import Outcome
from sdctl.output import Output
from sdctl.targets.base import Endpoint, Target


@dataclass(frozen=True)
class Terms:
    """How to speak to the service and how to show what it makes; seconds for each image."""

    timeout_s: float
    dialect: str = "auto"
    preview: str = "auto"


def make_images(options: Options, terms: Terms, target: Target, output: Output) -> int:
    """Make, save and show the images; gives the exit code: 0, or that of the first image that failed.

    Raises SdctlError for what keeps all of them from being made, and for the only one.
    """
    terminal = sys.stdout.isatty()
    mode = preview.choose(terms.preview, os.environ, terminal=terminal and not options.as_json)
    run.check_dialect(terms.dialect)
    dialect = "sdctl" if terms.dialect == "auto" and target.name != "url" else terms.dialect
    order = plan(options, stdin=sys.stdin, terminal=terminal)
    if dialect == "sdctl":
        run.check(order)
    with target.endpoint() as endpoint:
        _announce(endpoint, target, output)
        outcomes = _made(order, endpoint, Terms(terms.timeout_s, dialect), output)
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failures and len(outcomes) == 1:
        raise failures[0]
    if output.as_json:
        output.json_line(show.document(outcomes, target.name, endpoint.url), indent=2)
    else:
        show.images(outcomes, order, output, mode=mode)
        _report(failures, len(outcomes), output)
    return failures[0].exit_code if failures else 0


def _announce(endpoint: Endpoint, target: Target, output: Output) -> None:
    output.info(f"Using {endpoint.url} ({target.name}).")
    clear = endpoint.url.startswith("http://") and not service.is_loopback(endpoint.url)
    if clear and "Authorization" in endpoint.headers:
        output.warn("the key travels in the clear over http; use https if the service has it.")


def _made(order: Order, endpoint: Endpoint, terms: Terms, output: Output) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    with show.progress(output, len(order.asks)) as tell:
        for number, event in run.events(order, endpoint, terms.dialect, timeout_s=terms.timeout_s):
            tell(event)
            if isinstance(event, Outcome):
                outcomes[number] = event
    return [outcomes[number] for number in sorted(outcomes)]


def _report(failures: list[SdctlError], total: int, output: Output) -> None:
    if failures:
        output.info(f"Error: {len(failures)} of {total} images failed.")
    for message, hint in dict.fromkeys((failure.message, failure.hint) for failure in failures):
        output.info(f"  {message} {hint}")
