"""The serving benchmark's arithmetic: figures of records, bars, the table."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtests.benchmarks.serving_load import Cell as Load
from loadtests.benchmarks.serving_load import Job, Record
from loadtests.benchmarks.serving_report import Cell, Figures, bars, markdown, merged, of_calls, of_records


def timed(rate: float, latency_s: float = 1.0, **more: float) -> Figures:
    return Figures(100.0, int(rate * 100), latencies_s=(latency_s,) * 10, **more)  # type: ignore[arg-type]


TABLE = {
    Cell("limit", "128 px", 1, beside=1): timed(3.0, 0.30),
    Cell("limit", "128 px", 16, beside=16): timed(8.0),
    Cell("ours", "128 px", 16): timed(7.5),
    Cell("mended", "128 px", 16): timed(2.9),
    Cell("ours", "128 px", 1): timed(2.9, 0.31),
}


def test_figures_count_outcomes_and_end_with_the_last_answer() -> None:
    timings = {"queue": 10.0, "generate": 100.0, "encode": 1.0}
    records = [
        Record("all", 0.0, 0.2, "ok", batch=2, timings_ms=timings),
        Record("all", 0.0, 0.4, "ok", batch=4, timings_ms=timings | {"generate": 300.0}),
        Record("all", 0.1, 2.0, "missing", "HTTP 500"),
        Record("all", 0.1, 1.0, "wrong", "differs by 9"),
    ]
    figures = of_records(records, processor_s=1.0)
    assert (figures.ok, figures.wrong, figures.missing) == (2, 1, 1)
    assert figures.rate == pytest.approx(1.0)
    assert (figures.batch, figures.processor_ms, figures.longest_call_ms) == (3.0, 500.0, 300.0)
    assert figures.latencies_s == (0.2, 0.4)
    assert figures.timings_ms["beside"] == pytest.approx(89.0)
    assert figures.reasons == ("HTTP 500", "differs by 9")


def test_no_records_are_no_images() -> None:
    figures = of_records([])
    assert (figures.rate, figures.ok, figures.batch) == (0.0, 0, 0.0)


def test_parts_of_a_cell_are_one() -> None:
    figures = merged([of_calls([1.0, 1.0], 4, 1.6), of_calls([2.0], 4, 1.2)])
    assert (figures.seconds, figures.ok, figures.rate) == (4.0, 12, 3.0)
    assert figures.processor_ms == pytest.approx(2800 / 12)
    good = Record("all", 0.0, 0.5, "ok", batch=2, timings_ms={"generate": 100.0})
    parts = [of_records([good] * 3, 0.6), of_records([good, Record("all", 0.0, 1.0, "missing", "HTTP 500")], 0.2)]
    figures = merged(parts)
    assert (figures.ok, figures.missing, figures.batch, figures.seconds) == (4, 1, 2.0, 1.5)
    assert figures.processor_ms == pytest.approx(200.0)
    assert (figures.timings_ms["generate"], figures.longest_call_ms, figures.reasons) == (100.0, 100.0, ("HTTP 500",))
    assert merged([of_records([])]).rate == 0.0


def test_bars_hold_against_the_limit_and_the_baseline() -> None:
    found = {bar.promise.partition(", at")[0]: bar for bar in bars(TABLE)}
    assert found["128 px, 16 users: images/s by the bare pipeline's best"].met
    assert found["128 px, 16 users: images/s by the baseline, one at a time"].measured == "2.59"
    assert found["128 px, one user: p50 above the bare pipeline's"].measured == "10.0 ms"
    assert not found["pictures compared: at least 5000"].met


def test_a_bar_is_missed_by_a_slow_service_and_by_one_wrong_picture() -> None:
    slow = TABLE | {Cell("ours", "128 px", 16): timed(7.0, wrong=1)}
    missed = {bar.promise.partition(", at")[0] for bar in bars(slow) if not bar.met}
    assert "128 px, 16 users: images/s by the bare pipeline's best" in missed
    assert "wrong or missing pictures: none" in missed


def test_where_batches_gain_little_the_baseline_bar_is_what_they_gain() -> None:
    flat = TABLE | {Cell("limit", "128 px", 1, beside=1): timed(7.0)}
    assert any("one at a time, at least 1.05" in bar.promise for bar in bars(flat))


def test_one_user_waits_longer_by_what_the_rounds_say() -> None:
    bare = [of_calls([0.2] * 5, 1, 1.0), of_calls([0.3], 1, 0.3), of_calls([0.2], 1, 0.2)]
    calls = ((0.21, 1), (0.31, 5), (0.25, 1))
    ours = [of_records([Record("all", 0.0, seconds, "ok")] * count) for seconds, count in calls]
    table = {Cell("limit", "128 px", 1, beside=1): merged(bare), Cell("ours", "128 px", 1): merged(ours)}
    (bar,) = (each for each in bars(table) if "one user" in each.promise)
    assert bar.measured == "10.0 ms"  # pooled medians, from a slow and a fast round, would differ by 110
    assert bar.met


def test_small_requests_may_wait_for_one_large_batch() -> None:
    table = {
        Cell("ours", "small alone", 1): timed(3.0, 0.3),
        Cell("ours", "small beside large", 1): timed(0.5, 2.2),
        Cell("ours", "large beside small", 4): timed(1.0, longest_call_ms=2000.0),
    }
    (bar, *_) = bars(table)
    assert bar.met
    assert bar.measured == "1.90 s; a batch takes 2.00 s"


def test_the_table_has_a_row_a_cell_and_a_line_a_bar() -> None:
    lines = markdown(TABLE)
    assert sum(line.startswith("| ") for line in lines) == 1 + len(TABLE)
    assert all(line.endswith(("met.", "missed.")) for line in lines if line.startswith("- "))


def test_a_picture_may_differ_from_its_reference_by_one_grey_level(tmp_path: Path) -> None:
    reference = np.full((8, 8, 3), 100, np.uint8)
    np.savez(tmp_path / "known.npz", one=reference)
    load = Load(Job("", (), 1.0, references=str(tmp_path / "known.npz")))

    def body(grey: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    assert load.difference(body(101), "one") == ""
    assert load.difference(body(102), "one") == "differs by 2"
    assert load.difference(body(7), "") == ""
    assert load.difference(b"Internal Server Error", "").startswith("not an image")
