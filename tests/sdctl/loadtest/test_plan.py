"""Plans: what users and arrivals come out of what a command line asks for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdctl.errors import InvalidRequest
from sdctl.loadtest import plan


def test_stages_are_read_in_order() -> None:
    got = plan.closed("2@30s,50@3m,2@1m", 10, None, 1.0)
    assert [(stage.users, stage.seconds) for stage in got.stages] == [(2, 30.0), (50, 180.0), (2, 60.0)]
    assert (got.run_time_s, got.peak_users, got.mode) == (270.0, 50, "closed")


def test_users_ramp_at_the_spawn_rate_and_end_with_the_plan() -> None:
    got = plan.closed("constant", 10, 2.0, 20.0)
    assert [got.users_at(t) for t in (0.0, 1.0, 5.0, 20.0, 21.0)] == [0.0, 2.0, 10.0, 10.0, 0.0]


@given(
    kind=st.sampled_from(["constant", "burst", "steps", "ramp"]),
    users=st.integers(1, 5000),
    run_time=st.floats(1.0, 3600.0),
)
def test_every_shape_lasts_its_time_and_never_exceeds_its_users(kind: str, users: int, run_time: float) -> None:
    got = plan.closed(kind, users, None, run_time)
    assert sum(stage.seconds for stage in got.stages) == pytest.approx(run_time)
    assert got.peak_users == users
    assert all(0 <= got.users_at(run_time * share / 20) <= users for share in range(21))


@given(rate=st.floats(0.1, 50.0), run_time=st.floats(10.0, 100.0), seed=st.integers(0, 2**32))
def test_arrivals_are_ordered_repeatable_and_within_the_run(rate: float, run_time: float, seed: int) -> None:
    try:
        got = plan.open_loop(rate, "poisson", run_time, seed)
    except InvalidRequest:
        return  # a slow rate may leave a short run empty
    assert list(got.arrivals) == sorted(got.arrivals)
    assert got.arrivals[-1] <= run_time
    assert got == plan.open_loop(rate, "poisson", run_time, seed)


def test_poisson_arrivals_have_the_asked_rate_and_an_exponential_spread() -> None:
    times = plan.open_loop(20.0, "poisson", 1000.0, 1).arrivals
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 20, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.1)


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert plan.open_loop(2.0, "constant", 2.0, 0).arrivals == (0.5, 1.0, 1.5, 2.0)


@pytest.mark.parametrize("text", ["2/s", "120/m", "2"])
def test_rates(text: str) -> None:
    assert plan.rate(text) == 2.0


@pytest.mark.parametrize("text", ["x", "0/s", "-1", "2/day", "nan", "inf/s"])
def test_bad_rates_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--rate"):
        plan.rate(text)


@pytest.mark.parametrize("text", ["wave", "50@", "x@3m", "50@3q", "50@3m,,2@1m", "-1@3m", "9999@1s"])
def test_bad_plans_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan.closed(text, 10, None, 60.0)
    assert caught.value.hint


def test_a_bad_stage_is_named_with_its_form() -> None:
    with pytest.raises(InvalidRequest, match="--plan: '50@3q' is no stage") as caught:
        plan.closed("2@30s,50@3q", 10, None, 60.0)
    assert "USERS@TIME" in caught.value.hint


def test_a_load_that_would_never_end_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="requests"):
        plan.open_loop(1000.0, "poisson", 3600.0, 0)
    with pytest.raises(InvalidRequest, match="No request"):
        plan.open_loop(0.001, "constant", 1.0, 0)
