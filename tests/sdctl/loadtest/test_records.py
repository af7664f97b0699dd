"""Accounting: each request once, exact quantiles, objectives."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdctl.errors import InvalidRequest, SdctlError
from sdctl.loadtest import records
from tests.sdctl.loadtest.builders import record

EVENTS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["done", "killed"]), st.sampled_from(records.OUTCOMES)))


@given(EVENTS)
def test_sent_is_the_sum_of_outcomes_whatever_the_child_did(events: list[tuple[int, str, str]]) -> None:
    ledger = records.Ledger()
    sent = set()
    for number, fate, outcome in events:
        if number in sent:
            continue
        sent.add(number)
        base = {"id": number, "prompt_id": "p", "scheduled": 1.0, "sent": 1.0}
        ledger.take({"event": "sent", **base})
        if fate == "done":
            ledger.take({"event": "done", **base, "done": 2.0, "outcome": outcome})
    assert ledger.sent == len(sent)
    ledger.close()
    assert sum(records.outcomes(ledger.records).values()) == len(ledger.records) == len(sent)
    assert ledger.in_flight == 0


def test_a_killed_child_leaves_unfinished_requests_not_missing_ones() -> None:
    ledger = records.Ledger()
    ledger.take({"event": "sent", "id": 1, "prompt_id": "p", "scheduled": 1.0, "sent": 1.5})
    ledger.close()
    assert [(r.outcome, r.done, r.latency_s) for r in ledger.records] == [("unfinished", None, None)]


def test_latency_counts_from_the_scheduled_time() -> None:
    got = records.from_event(
        {"id": 1, "prompt_id": "p", "scheduled": 1.0, "sent": 4.0, "done": 6.0, "outcome": "ok", "event": "done"}
    )
    assert got.latency_s == 5.0
    assert records.late([got]) == 1


def test_an_unknown_outcome_is_never_counted_as_something_else() -> None:
    with pytest.raises(SdctlError, match="unknown outcome"):
        records.from_event({"id": 1, "prompt_id": "p", "scheduled": 1.0, "sent": 1.0, "outcome": "fine"})


@given(st.lists(st.floats(0.001, 1000.0), min_size=2, max_size=200))
def test_quantiles_are_exact(values: list[float]) -> None:
    ordered = sorted(values)
    cuts = statistics.quantiles(ordered, n=20, method="inclusive")
    for number, expected in enumerate(cuts, start=1):
        assert records.quantile(ordered, number / 20) == pytest.approx(expected)


def test_quantiles_of_nothing_are_unknown_not_zero() -> None:
    assert records.quantile([], 0.5) is None
    assert records.latency_summary([record(1, None, outcome="unfinished")])["p50"] is None


@pytest.mark.parametrize(
    ("text", "met", "value"),
    [
        ("p50<3s", True, 2.0),
        ("p100<1500ms", False, 3.0),
        ("errors<30%", True, 0.25),
        ("errors<0.2", False, 0.25),
        ("goodput>0.2/s", True, 0.3),
        ("goodput>60/m", False, 0.3),
    ],
)
def test_objectives(text: str, met: bool, value: float) -> None:
    every = [record(n, 10.0 + n, latency=float(n)) for n in (1, 2, 3)] + [record(4, 12.0, outcome="refused_busy")]
    got, measured = records.objective(text).judge(every, 10.0)
    assert got is met
    assert measured == pytest.approx(value)


@pytest.mark.parametrize("text", ["p95", "p95>3s", "errors>1%", "goodput<2/s", "p0<3s", "p101<3s", "x<3", "p95<-1s"])
def test_bad_objectives_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        records.objective(text)
    assert "p95<10s" in caught.value.hint


def test_an_objective_on_nothing_is_missed() -> None:
    assert records.objective("p95<10s").judge([], 10.0) == (False, None)
