"""The summary of a run that was killed before it could write one: from the raw lines that it had written."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdctl.errors import SdctlError
from sdctl.loadtest.clocks import Skew
from sdctl.loadtest.records import Record, objective
from sdctl.loadtest.summary import Run, summarise
from sdctl.loadtest.transitions import Transition

NOTE = "The run was killed: this is what it had written; requests that were in flight then are not in it."


def began(run: Mapping[str, Any], observed: float) -> Transition:
    """The first line of transitions.jsonl: what is known of a run before anything is sent."""
    return Transition("run", str(run["target"]), "began", observed, None, "sdctl", run)


def rebuilt(records: Sequence[Record], transitions: Sequence[Transition]) -> dict[str, Any]:
    """The summary; raises SdctlError where not even the run's first line is there."""
    first = next((change for change in transitions if change.kind == "run"), None)
    if first is None:
        raise SdctlError("it has no summary, and its raw files do not say what was run")
    known = first.detail
    ended = max([first.observed, *(t.observed for t in transitions), *(r.done for r in records if r.done is not None)])
    run = Run(
        records=records,
        warmup=(),
        transitions=transitions,
        started=first.observed,
        load_ended=ended,
        ended=ended,
        plan=known["plan"],
        mode=known["mode"],
        target=known["target"],
        via=known["via"],
        objectives=[objective(text) for text in known["objectives"]],
        prices=known["prices"],
        notes=[NOTE],
        settings=known["settings"],
        clocks={
            name: Skew(skew["seconds"], skew["plus_minus"]) if skew else None for name, skew in known["clocks"].items()
        },
        interrupted=True,
    )
    return summarise(run)
