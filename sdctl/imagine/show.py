"""What `sdctl imagine` tells: paths and previews or JSON on stdout, progress and warnings on stderr."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sdctl import preview
from sdctl.answers import plain
from sdctl.dialects import ImageAsk
from sdctl.imagine.plan import Order
from sdctl.imagine.run import Outcome, Waiting, differences
from sdctl.output import Output
from serve_app.schemas import PromptWarning


@contextmanager
def progress(output: Output, total: int) -> "Iterator[Callable[[Outcome | Waiting], None]]":
    """Take the events as they come: a bar on a terminal, else a line for each wait."""
    if not output.live:
        yield lambda event: output.info(_wait(event)) if isinstance(event, Waiting) else None
        return
    with output.progress() as bars:
        task = bars.add_task("Making images", total=total)

        def tell(event: Outcome | Waiting) -> None:
            if isinstance(event, Waiting):
                bars.update(task, description=_wait(event))
            else:
                bars.update(task, description="Making images", advance=1)

        yield tell


def _wait(event: Waiting) -> str:
    return f"The service {event.reason}: trying again in {event.seconds:.1f} s."


def images(outcomes: Sequence[Outcome], order: Order, output: Output, *, mode: str) -> None:
    """Show each image in its order: its path on stdout (its preview above it), what made it on stderr."""
    for outcome in outcomes:
        if outcome.error is not None or outcome.made is None:
            continue
        picture, made = outcome.made.picture, outcome.made
        if mode != "none":
            output.text(_preview(picture.data, mode))
        if outcome.path is not None:
            output.text(str(outcome.path))
        else:
            output.binary(picture.data)
        output.info(_facts(outcome.ask, picture.receipt.to_json(), made.seconds))
        for line in warnings(outcome):
            output.warn(line)
        for line in differences(picture, order):
            output.warn(f"The image may differ from the one that is replayed: {line}.")


def _preview(data: bytes, mode: str) -> str:
    size = shutil.get_terminal_size()
    return preview.render(data, mode, columns=size.columns, rows=size.lines, environment=os.environ)


def _facts(ask: ImageAsk, facts: dict[str, Any], seconds: float) -> str:
    parts = [f"{facts['width']}x{facts['height']}"]
    parts += [f"seed {facts['seed']}"] if facts["seed"] is not None else []
    parts += [f"{facts['num_inference_steps']} steps"] if facts["num_inference_steps"] else []
    parts += [plain(str(facts["model"] or ask.model))] if facts["model"] or ask.model else []
    return "  ".join([*parts, f"{seconds:.1f} s"])


def warnings(outcome: Outcome) -> list[str]:
    """The service's warnings, with the words of the prompt that they mean."""
    if outcome.made is None:
        return []
    return [
        plain(
            f"{each.message.rstrip('.')}: {', '.join(words)}" if (words := _words(each, outcome.ask)) else each.message
        )
        for each in outcome.made.picture.warnings
    ]


def _words(warning: PromptWarning, ask: ImageAsk) -> list[str]:
    return [repr(ask.prompt[start:end]) for start, end in warning.spans if 0 <= start < end <= len(ask.prompt)]


def document(outcomes: Sequence[Outcome], target: str, url: str) -> dict[str, Any]:
    """The JSON document: an entry an image, and at the top the first error, if there is one."""
    entries = [_entry(outcome) for outcome in outcomes]
    failed = next((outcome.error.to_json() for outcome in outcomes if outcome.error is not None), {})
    return {"target": target, "endpoint": {"url": url}, "images": entries, **failed}


def _entry(outcome: Outcome) -> dict[str, Any]:
    if outcome.error is not None or outcome.made is None:
        error = outcome.error.to_json() if outcome.error is not None else {}
        return {"path": None, "prompt": outcome.ask.prompt, **error}
    made = outcome.made
    return {
        "path": str(outcome.path),
        "bytes": len(made.picture.data),
        "format": outcome.ask.format,
        "receipt": made.picture.receipt.to_json(),
        "warnings": [
            {"code": each.code, "message": each.message, "words": _quoted(each, outcome.ask)}
            for each in made.picture.warnings
        ],
        "seconds": round(made.seconds, 3),
        "tries": made.tries,
    }


def _quoted(warning: PromptWarning, ask: ImageAsk) -> list[str]:
    return [ask.prompt[start:end] for start, end in warning.spans if 0 <= start < end <= len(ask.prompt)]
