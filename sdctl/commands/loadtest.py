"""`sdctl loadtest`."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from sdctl.errors import Interrupted, InvalidRequest, SdctlError, SloMissed
from sdctl.loadtest import comparison, cost, mix, plan, records, results
from sdctl.loadtest.run import LoadTest
from sdctl.loadtest.settings import Settings
from sdctl.loadtest.told import told
from sdctl.options import JsonOption, duration, on_target
from sdctl.output import Output
from sdctl.targets.base import Selection
from sdctl.targets.select import select

Users = Annotated[int, typer.Option("--users", "-u", help="Users at once (closed loop).")]
SpawnRate = Annotated[float | None, typer.Option("--spawn-rate", help="Users started a second (default: all at once).")]
RunTime = Annotated[str, typer.Option("--run-time", "-t", metavar="DURATION", help="How long load is sent.")]
PlanOption = Annotated[
    str, typer.Option("--plan", help="constant, burst, steps, ramp, or stages: '2@30s,50@3m,2@1m' (users@time).")
]
Rate = Annotated[str, typer.Option("--rate", metavar="N/s", help="Open loop: requests a second, whatever comes back.")]
Arrivals = Annotated[str, typer.Option("--arrivals", help="Open loop: poisson or constant.")]
PromptsFile = Annotated[str, typer.Option("--prompts", metavar="FILE", help="Prompts, one a line (default: built in).")]
Size = Annotated[list[str] | None, typer.Option("--size", help="512 or 768x512; repeat for a mix.")]
Steps = Annotated[list[int] | None, typer.Option("--steps", help="Inference steps; repeat for a mix.")]
Seed = Annotated[int, typer.Option("--seed", help="Makes the order, the seeds and the arrivals repeatable.")]
Warmup = Annotated[str, typer.Option("--warmup", metavar="DURATION", help="One user before the run, not counted.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for one image.")]
Grace = Annotated[str, typer.Option("--grace", metavar="DURATION", help="For requests in flight at the end.")]
Slo = Annotated[list[str] | None, typer.Option("--slo", help="'p95<10s', 'errors<1%', 'goodput>2/s'; missed: exit 6.")]
Price = Annotated[list[str] | None, typer.Option("--price", metavar="TYPE=USD", help="A node type's price per hour.")]
Drained = Annotated[bool, typer.Option("--until-drained", help="Watch on until what was added is gone again.")]
Folder = Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Result folder (default: a new one here).")]
Report = Annotated[str, typer.Option("--report", metavar="DIR", help="Draw a run's report again, and send nothing.")]
Compare = Annotated[str, typer.Option("--compare", metavar="DIR", help="Set another run beside this one.")]


@on_target("token_file", "ca_file")
def command(
    where: Selection,
    users: Users = 10,
    spawn_rate: SpawnRate = None,
    run_time: RunTime = "2m",
    shape: PlanOption = "constant",
    rate: Rate = "",
    arrivals: Arrivals = "poisson",
    prompts: PromptsFile = "",
    size: Size = None,
    steps: Steps = None,
    seed: Seed = 0,
    warmup: Warmup = "",
    timeout: Timeout = "120s",
    grace: Grace = "30s",
    slo: Slo = None,
    price: Price = None,
    until_drained: Drained = False,
    output: Folder = "",
    report: Report = "",
    compare: Compare = "",
    as_json: JsonOption = False,
) -> int:
    """Run a burst of users; show what it did to replicas and nodes, and write a report."""
    shown = Output(as_json=as_json)
    if report:
        _again(report, compare, shown)
        return 0
    seconds = duration(run_time, "--run-time")
    if rate:
        load = plan.open_loop(plan.rate(rate), arrivals, seconds, seed)
    else:
        load = plan.closed(shape, users, _positive(spawn_rate, "--spawn-rate"), seconds)
    other = results.load(Path(compare))[0] if compare else None  # before the run: a wrong folder must not cost one
    settings = Settings(
        plan=load,
        folder=Path(output or time.strftime("loadtest-%Y%m%d-%H%M%S")),
        prompts=mix.prompts(prompts, sizes=size or [], steps=steps or [], seed=seed),
        timeout_s=duration(timeout, "--timeout"),
        grace_s=duration(grace, "--grace"),
        warmup_s=duration(warmup, "--warmup") if warmup else 0.0,
        until_drained=until_drained,
        seed=seed,
        objectives=[records.objective(text) for text in slo or []],
        prices=dict(cost.price_option(text) for text in price or []),
        told=_settings(
            plan=load.kind,
            users=users if load.mode == "closed" else None,
            rate=rate,
            prompts=prompts or "built in",
            size=size,
            steps=steps,
            seed=seed,
            timeout=timeout,
            grace=grace,
            warmup=warmup,
        ),
        other=other,
    )
    chosen = select(where)
    shown.info(f"Load on {chosen.name}: {load.describe()}")
    summary = LoadTest(chosen, settings, shown).run()
    return _show(summary, settings.folder, other, shown)


def _settings(**options: Any) -> dict[str, Any]:
    """The options as the report shows them, without those that were not given."""
    return {name: value for name, value in options.items() if value not in (None, "")}


def _positive(value: float | None, option: str) -> float | None:
    if value is not None and not 0 < value < 1e6:
        raise InvalidRequest(f"{option} {value:g} is not above 0.", hint=f"Use {option} 5.")
    return value


def _show(summary: dict[str, Any], folder: Path, other: dict[str, Any] | None, shown: Output) -> int:
    """Print the result once and give the exit code; a failed run has its error inside the one JSON document."""
    failure = _failure(summary)
    drawn = folder / results.REPORT
    document = {"folder": str(folder), "report": str(drawn) if drawn.exists() else None, **summary}
    if other is not None:
        document["comparison"] = [
            dict(zip(("what", "this", "other"), row, strict=True)) for row in comparison.rows(summary, other)
        ]
    if failure is not None:
        document |= failure.to_json()
    shown.result(document, lambda: "\n".join(told(summary, folder)))
    if other is not None and not shown.as_json:
        shown.result({}, lambda: _beside(summary, other, shown))
    if failure is not None:
        shown.info(f"Error: {failure.message}")
        return failure.exit_code
    return Interrupted.exit_code if summary["interrupted"] else 0


def _failure(summary: dict[str, Any]) -> SdctlError | None:
    if not summary["outcomes"]["ok"]:
        return SdctlError(f"None of {summary['sent']} requests gave a good image.", hint="See the outcomes above.")
    missed = [row["objective"] for row in summary["slo"] if not row["met"]]
    return SloMissed(f"Missed: {', '.join(missed)}.", hint="The report shows when.") if missed else None


def _beside(one: dict[str, Any], other: dict[str, Any], shown: Output) -> Any:
    rows = [comparison.texts(row) for row in comparison.rows(one, other)]
    return shown.table(["", "this run", "other run", "other / this"], rows)


def _again(report: str, compare: str, shown: Output) -> None:
    other = results.load(Path(compare))[0] if compare else None
    path = results.redraw(Path(report), other)
    summary = results.load(Path(report))[0]
    document: dict[str, Any] = {"report": str(path)}
    if other is not None:
        document["comparison"] = [list(row) for row in comparison.rows(summary, other)]
    shown.result(document, lambda: str(path) if other is None else _beside(summary, other, shown))
