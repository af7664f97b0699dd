"""Abuse while ten good users measure: they all get their pictures, and nothing of it is in a log."""

from collections.abc import Callable
from functools import partial

import pytest

from loadtests.benchmarks import results
from tests.local.cli import wait_for
from tests.local.keyed.abuse import KINDS, SECRET, Measured, abused, good_users, table
from tests.local.keyed.conftest import KeyedService

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

MINUTE_S, PAUSE_S = 60.0, 2.0  # so that each stays below its key's images a minute
EXPECTED = {
    "key guessing": {401},
    "one greedy key": {200, 429},
    "hang-ups": {0},
    "slow reads and sends": {0},
    "biggest requests": {200, 400, 429},
}


def under(kind: str, users: Callable[[], Measured], keyed: KeyedService) -> Measured:
    """What good users see during that kind of abuse; its own answers are checked."""
    with abused(keyed, kind) as abuse:
        wait_for(lambda: abuse.answers.total(), f"{kind} had begun")
        seen = users()
    assert set(abuse.answers) <= EXPECTED[kind], abuse.answers
    return seen


def check(quiet: Measured, found: dict[str, Measured], keyed: KeyedService) -> None:
    print(f"\n{table(quiet, found)}")
    for name, seen in {"quiet": quiet, **found}.items():
        assert set(seen.statuses) == {200}, (name, seen.statuses)
    with keyed.client("nobody") as http:  # health needs no key
        wait_for(lambda: http.get("/healthz").json().get("in_flight") == 0, "nothing was in flight")
    logs = keyed.logs()
    assert "characters (" in logs
    assert [text for text in (SECRET, "key-of-", "guess-") if text in logs] == []


def test_good_users_get_their_pictures_beside_every_kind_of_abuse(keyed: KeyedService) -> None:
    users = partial(good_users, keyed, each=2)
    check(users(), {kind: under(kind, users, keyed) for kind in KINDS}, keyed)


def a_minute(keyed: KeyedService) -> Measured:
    """Ten good users for a minute."""
    return good_users(keyed, for_s=MINUTE_S, pause_s=PAUSE_S)


@pytest.fixture(scope="module")
def quiet_minute(keyed: KeyedService) -> Measured:
    """What good users see alone."""
    return a_minute(keyed)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_minute_of(kind: str, keyed: KeyedService, quiet_minute: Measured) -> None:
    found = {kind: under(kind, partial(a_minute, keyed), keyed)}
    check(quiet_minute, found, keyed)
    results.put(f"Abuse: a minute of {kind}", table(quiet_minute, found))
