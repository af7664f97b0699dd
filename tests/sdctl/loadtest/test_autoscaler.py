"""What Ray's autoscaler reports, as Ray 2.60 prints it."""

from sdctl.loadtest.autoscaler import Report, failed_launches, parse, report_changes, said
from sdctl.loadtest.causes import why_not_further
from sdctl.loadtest.live import Live
from sdctl.loadtest.plan import closed
from sdctl.loadtest.prediction import Scaling, predict
from sdctl.loadtest.transitions import from_json

GROWING = """======== Autoscaler status: 2026-11-28 15:09:58.923866 ========
Node status
---------------------------------------------------------------
Active:
 2 gpu
Idle:
 (no idle nodes)
Pending:
 gpu, 2 launching
 05477b0d-eafe-4e9b-96a7-3eb139ea68ed: gpu, allocated
Recent failures:
 gpu: LaunchFailed (latest_attempt: 15:09:40)
 gpu: NodeTerminated (instance_id: 2219850b)

Resources
---------------------------------------------------------------
Total Usage:
 0.0/4.0 CPU
 2.0/2.0 GPU

From request_resources:
 (none)
Pending Demands:
 {'GPU': 1.0}: 3+ pending tasks/actors"""
QUIET = """======== Autoscaler status: 2026-11-28 15:10:13.048060 ========
Pending:
 (no pending nodes)
Recent failures:
 (no failures)

Pending Demands:
 (no resource demands)"""
LAUNCH_FAILED = "gpu: LaunchFailed (latest_attempt: 15:09:40)"


def test_waiting_demand_launching_nodes_and_failures_are_read() -> None:
    got = parse(GROWING)
    assert got is not None
    assert (got.waiting, got.launching) == (3, 3)
    assert got.failures[0] == LAUNCH_FAILED
    assert got.demand == ("{'GPU': 1.0}: 3+ pending tasks/actors",)
    assert parse(QUIET) == Report()


def test_other_words_are_no_report() -> None:
    assert parse("No cluster status. It may take a few seconds for the Ray internal services to start up.") is None
    assert parse("") is None


def test_only_what_differs_is_told() -> None:
    growing = parse(GROWING)
    assert report_changes(None, Report(), 1.0) == []
    assert report_changes(None, None, 1.0) == []
    [begun] = report_changes(None, growing, 2.0)
    assert report_changes(growing, growing, 3.0) == []
    [over] = report_changes(growing, parse(QUIET), 9.0)
    assert [(row["after_s"], row["waiting"], row["launching"]) for row in said([over, begun], 1.0)] == [
        (1.0, 3, 3),
        (8.0, 0, 0),
    ]
    assert from_json(begun.to_json()) == begun


def test_a_launch_that_failed_is_a_cause_and_a_node_that_ended_is_none() -> None:
    change = report_changes(None, parse(GROWING), 2.0)
    assert failed_launches(change) == [LAUNCH_FAILED]
    scaling = Scaling(1, 9, 1.0, 0.0, 10.0, 1.0)
    got = why_not_further(
        scaling, predict(closed("constant", 9, None, 60.0), scaling, running=1), change, [], max_running=3
    )
    assert [cause.code for cause in got] == ["launch_failed"]
    assert LAUNCH_FAILED in got[0].text


def test_the_screen_tells_of_nodes_on_their_way() -> None:
    live = Live(0.0, 60.0)
    live.target = 3
    for change in report_changes(None, parse(GROWING), 2.0):
        live.change(change)
    assert "3 launching" in "\n".join(live.lines(3.0))
