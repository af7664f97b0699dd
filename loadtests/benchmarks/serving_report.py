"""Pure: the figures of the serving benchmark's cells, its bars, and both as Markdown."""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loadtests.benchmarks.serving_load import Record
from sdctl.loadtest.records import quantile

LIMIT_SHARE = 0.92
BASELINE_GAIN = 1.5
ONE_USER_MS = 15.0
TAIL = 2.0
IMAGES = 5000
SATURATED = (16, 64)
LOADS = ("128 px", "192 px")
NAMES = {
    "limit": "bare pipeline",
    "baseline": "baseline",
    "mended": "baseline, one at a time",
    "ours": "sdctl's service",
}


@dataclass(frozen=True)
class Cell:
    """One place of the table; for the bare pipeline `users` is the batch, and `beside` the users of ours in turn."""

    system: str
    load: str
    users: int
    beside: int = 0


@dataclass(frozen=True)
class Figures:
    """What one cell gave."""

    seconds: float
    ok: int
    wrong: int = 0
    missing: int = 0
    latencies_s: tuple[float, ...] = ()  # of the good ones, sorted
    batch: float = 1.0
    processor_ms: float | None = None  # of the process with the model, an image
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # medians
    longest_call_ms: float = 0.0
    reasons: tuple[str, ...] = ()
    parts_p50_s: tuple[float, ...] = ()  # of the parts that it is merged from, in their order

    @property
    def rate(self) -> float:
        """Good images a second."""
        return self.ok / self.seconds if self.seconds else 0.0

    def latency(self, share: float) -> float:
        """A quantile, in seconds; not a number when there is none."""
        value = quantile(self.latencies_s, share)
        return float("nan") if value is None else value


Table = Mapping[Cell, Figures]


@dataclass(frozen=True)
class Bar:
    """One promise, what was measured of it, and whether it holds."""

    promise: str
    measured: str
    met: bool


def of_calls(taken: Sequence[float], batch: int, processor_s: float) -> Figures:
    """The figures of a bare pipeline's calls, in seconds each."""
    images = batch * len(taken)
    spent = processor_s * 1000 / images
    return Figures(sum(taken), images, latencies_s=tuple(sorted(taken)), batch=batch, processor_ms=spent)


def of_records(records: Sequence[Record], processor_s: float = 0.0) -> Figures:
    """The figures of requests; the cell ends with its last answer."""
    good = [record for record in records if record.outcome == "ok"]
    calls = [record.timings_ms for record in good if record.timings_ms]
    timings = {name: statistics.median(call[name] for call in calls) for name in calls[0]} if calls else {}
    if calls:
        beside = [(r.done - r.sent) * 1000 - sum(r.timings_ms.values()) for r in good if r.timings_ms]
        timings["beside"] = statistics.median(beside)
    return Figures(
        seconds=max((record.done for record in records), default=0.0),
        ok=len(good),
        wrong=sum(record.outcome == "wrong" for record in records),
        missing=sum(record.outcome == "missing" for record in records),
        latencies_s=tuple(sorted(record.done - record.sent for record in good)),
        batch=statistics.fmean(record.batch for record in good) if good else 0.0,
        processor_ms=processor_s * 1000 / len(good) if good and processor_s else None,
        timings_ms=timings,
        longest_call_ms=max((call.get("generate", 0.0) for call in calls), default=0.0),
        reasons=tuple(sorted({record.reason for record in records if record.reason})),
    )


def limit_of(table: Table, load: str, users: int) -> Figures | None:
    """The bare pipeline as it was in turn with ours at so many users."""
    found = (each for cell, each in table.items() if (cell.system, cell.load, cell.beside) == ("limit", load, users))
    return next(found, None)


def bars(table: Table) -> list[Bar]:
    """Every promise for which the table has figures."""
    found = itertools.chain(*(_of_load(table, load) for load in LOADS), _fairness(table), _pictures(table))
    return list(found)


def _of_load(table: Table, load: str) -> Iterable[Bar]:
    alone = limit_of(table, load, 1)
    for users in SATURATED:
        limit = limit_of(table, load, users)
        ours, mended = (table.get(Cell(system, load, users)) for system in ("ours", "mended"))
        if ours and limit:
            yield _at_least(f"{load}, {users} users: images/s by the bare pipeline's best", ours, limit, LIMIT_SHARE)
        if ours and mended and mended.ok:
            gain = limit.rate / alone.rate if limit and alone else BASELINE_GAIN
            # Where the pipeline itself gains less from batches, a server cannot give more.
            bar = min(BASELINE_GAIN, LIMIT_SHARE * gain)
            yield _at_least(f"{load}, {users} users: images/s by the baseline, one at a time", ours, mended, bar)
    one = table.get(Cell("ours", load, 1))
    if one and alone:
        more = _longer_s(one, alone) * 1000
        yield Bar(
            f"{load}, one user: p50 above the bare pipeline's, at most {ONE_USER_MS:g} ms",
            f"{more:.1f} ms",
            more <= ONE_USER_MS,
        )
    tail = table.get(Cell("ours", load, 16))
    if tail:
        ratio = tail.latency(0.99) / tail.latency(0.5)
        yield Bar(f"{load}, 16 users: p99 by p50, at most {TAIL:g}", f"{ratio:.2f}", ratio <= TAIL)


def _longer_s(one: Figures, other: Figures) -> float:
    """How much longer the median of one is: by the rounds in which both were measured in turn, where there are some."""
    if one.parts_p50_s and len(one.parts_p50_s) == len(other.parts_p50_s):
        return statistics.median(a - b for a, b in zip(one.parts_p50_s, other.parts_p50_s, strict=True))
    return one.latency(0.5) - other.latency(0.5)


def _at_least(promise: str, one: Figures, other: Figures, bar: float) -> Bar:
    ratio = one.rate / other.rate
    return Bar(f"{promise}, at least {bar:.2f}", f"{ratio:.2f}", ratio >= bar)


def _fairness(table: Table) -> Iterable[Bar]:
    alone, beside = table.get(Cell("ours", "small alone", 1)), table.get(Cell("ours", "small beside large", 1))
    large = table.get(Cell("ours", "large beside small", 4))
    if alone and beside and large:
        more, most = (beside.latency(0.95) - alone.latency(0.95)), large.longest_call_ms / 1000
        yield Bar(
            "small requests beside large ones: p95 raised by at most one large batch",
            f"{more:.2f} s; a batch takes {most:.2f} s",
            more <= most,
        )


def _pictures(table: Table) -> Iterable[Bar]:
    ours = [figures for cell, figures in table.items() if cell.system == "ours"]
    ok, bad = sum(figures.ok for figures in ours), sum(figures.wrong + figures.missing for figures in ours)
    yield Bar("wrong or missing pictures: none", f"{bad} of {ok + bad}", bad == 0)
    yield Bar(f"pictures compared: at least {IMAGES}", f"{ok}", ok >= IMAGES)


def markdown(table: Table) -> list[str]:
    """The table and the bars as lines."""
    head = "| system | load | users, batch | images/s | p50 s | p95 s | p99 s | mean batch | processor ms |"
    head += " ok | wrong | missing |"
    lines = [head, "|---|---|" + "--:|" * 10]
    lines += [_row(cell, figures) for cell, figures in table.items()]
    lines += [""]
    for bar in bars(table):
        lines.append(f"- {bar.promise}: {bar.measured}: {'met' if bar.met else 'missed'}.")
    return lines


def _row(cell: Cell, figures: Figures) -> str:
    processor = f"{figures.processor_ms:.0f}" if figures.processor_ms else ""
    times = " | ".join(f"{figures.latency(share):.2f}" if figures.ok else "" for share in (0.5, 0.95, 0.99))
    load = f"{cell.load}, beside {cell.beside} user{'s' * (cell.beside > 1)}" if cell.beside else cell.load
    return (
        f"| {NAMES.get(cell.system, cell.system)} | {load} | {cell.users} | {figures.rate:.2f} | {times} "
        f"| {figures.batch:.1f} | {processor} | {figures.ok} | {figures.wrong} | {figures.missing} |"
    )


def merged(parts: Sequence[Figures]) -> Figures:
    """Parts of one cell, measured at different times, as one; medians are the means of the parts' medians."""
    images = sum(part.ok for part in parts)
    spent = [part.processor_ms * part.ok for part in parts if part.processor_ms]
    names = {name for part in parts for name in part.timings_ms}
    return Figures(
        seconds=sum(part.seconds for part in parts),
        ok=images,
        wrong=sum(part.wrong for part in parts),
        missing=sum(part.missing for part in parts),
        latencies_s=tuple(sorted(itertools.chain(*(part.latencies_s for part in parts)))),
        batch=sum(part.batch * part.ok for part in parts) / images if images else 0.0,
        processor_ms=sum(spent) / images if spent and images else None,
        timings_ms={
            name: statistics.fmean(part.timings_ms[name] for part in parts if name in part.timings_ms) for name in names
        },
        longest_call_ms=max((part.longest_call_ms for part in parts), default=0.0),
        reasons=tuple(sorted({reason for part in parts for reason in part.reasons})),
        parts_p50_s=tuple(part.latency(0.5) for part in parts),
    )
