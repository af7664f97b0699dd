"""What a run says first."""

from dataclasses import replace

from sdctl.loadtest.summary import Run, summarise
from sdctl.loadtest.verdict import verdict
from tests.sdctl.loadtest.builders import change, record
from tests.sdctl.loadtest.test_figures import story
from tests.sdctl.loadtest.test_timeline import BURST, baseline


def said(run: Run) -> str:
    return " ".join(verdict(summarise(run)))


def test_a_run_that_scaled_says_how_far_and_what_took_longest() -> None:
    got = said(story())
    assert "from 1 to 2 replicas, decided 32 s after the burst began, first new image after 412 s." in got
    assert "The longest phase was pull." in got
    assert "60 of 61 requests gave a good image; the others: 1 unfinished." in got
    assert "had gone" not in got  # its node is still there


def test_a_run_that_did_not_scale_says_why() -> None:
    got = said(replace(story(), transitions=baseline(), records=[record(1, BURST + 3, verified=True)]))
    assert got.startswith("It did not scale: 1 replica ran throughout.")
    assert "The one request gave a good image, each compared with its reference picture." in got


def test_what_could_not_be_seen_is_said_to_be_so() -> None:
    got = said(replace(story(), transitions=[], interrupted=True))
    assert got.startswith("Whether it scaled could not be seen.")
    assert got.endswith("The run was interrupted.")


def test_a_replica_that_only_takes_the_place_of_another_is_no_scaling() -> None:
    swap = [
        change("replica", "again", "STARTING", BURST + 10, node="n1", start_time=BURST + 10),
        change("replica", "old", "gone", BURST + 11),
        change("replica", "again", "RUNNING", BURST + 20, node="n1"),
    ]
    got = said(replace(story(), transitions=[*baseline(), *swap]))
    assert got.startswith("New replicas were started, but never more than 1 replica ran at once.")
