"""Which processes count as ours: exactly those that something proves."""

import os
import subprocess
import sys

import pytest

from sdctl.local import processes
from sdctl.local.processes import Claim, Identity, Process, label, ours

FOLDER = "/tmp/sdctl-7/aa"
LEADER = Identity(100, 5000)
CLAIM = Claim(FOLDER, LEADER, frozenset({Identity(103, 5003)}))


def found(table: list[Process], claim: Claim = CLAIM, writers: tuple[int, ...] = ()) -> set[int]:
    return {process.pid for process in ours(table, claim, lambda pid, folder: pid in writers)}


def test_the_whole_session_follows_from_one_proven_member() -> None:
    raylet = Process(103, 1, 100, 5003)
    retitled = Process(104, 103, 100, 5010, "ray::ServeReplica:app:Generator")
    orphan = Process(105, 1, 100, 5011, "ray-dashboard-ServeHead-0")
    stranger = Process(200, 1, 200, 4000, "python server.py")
    assert found([raylet, retitled, orphan, stranger]) == {103, 104, 105}


def test_a_command_killed_before_it_knew_the_process_finds_it_by_the_folder() -> None:
    starter = Process(300, 1, 300, 1, f"python -m ray.scripts.scripts start --temp-dir={FOLDER} --num-cpus=2", ray=True)
    gcs = Process(301, 300, 300, 2, f"gcs_server --log_dir={FOLDER}/session_1/logs", ray=True)
    assert found([starter, gcs], Claim(FOLDER)) == {300, 301}


def test_what_only_names_the_folder_is_not_ours() -> None:
    editor = Process(400, 1, 400, 1, f"tail -f {FOLDER}/session_latest/logs/raylet.err")
    neighbour = Process(401, 1, 401, 1, "gcs_server --log_dir=/tmp/sdctl-7/aabb/session/logs", ray=True)
    assert found([editor, neighbour]) == set()


def test_a_number_that_means_another_process_by_now_is_not_ours() -> None:
    reused_leader = Process(100, 1, 100, 9999, "bash")
    child_of_it = Process(110, 100, 100, 9999)
    reused_member = Process(103, 1, 103, 9999)
    assert found([reused_leader, child_of_it, reused_member]) == set()


def test_an_orphaned_session_needs_a_proof_of_its_own() -> None:
    orphan = Process(106, 1, 100, 6000, "ray::ServeReplica:app:Ingress")
    assert found([orphan]) == set()
    assert found([orphan], writers=(106,)) == {106}


def test_a_user_shell_that_started_a_ray_program_of_ours_survives() -> None:
    shell = Process(500, 1, 500, 1, "bash")
    started_in_it = Process(501, 500, 500, 2, f"python -m ray.scripts.scripts start --temp-dir={FOLDER} ", ray=True)
    assert found([shell, started_in_it]) == {501}


def test_parents_come_first_so_that_nothing_is_started_again() -> None:
    table = [Process(105, 103, 100, 5500), Process(103, 1, 100, 5003), Process(100, 1, 100, 5000)]
    assert [process.pid for process in ours(table, CLAIM, lambda pid, folder: False)] == [100, 103, 105]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("ray::ServeController.listen", "ray::ServeController.listen (7)"),
        ("/usr/bin/python3 -u /lib/ray/dashboard/dashboard.py --host=x", "dashboard.py (7)"),
        ("/usr/bin/python3 -c from multiprocessing.forkserver import main", "python3 (7)"),
        ("/lib/ray/raylet --a=b", "raylet (7)"),
        ("", "process (7)"),
    ],
)
def test_labels(command: str, name: str) -> None:
    assert label(Process(7, 1, 7, 1, command)) == name


def test_this_process_has_an_identity_and_is_never_its_own_victim() -> None:
    mine = Identity(os.getpid(), processes.started(os.getpid()))
    assert processes.is_alive(mine)
    assert not processes.is_alive(Identity(mine.pid, mine.started + 1))
    assert os.getpid() not in {process.pid for process in processes.running()}
    processes.kill(Identity(mine.pid, mine.started + 1))  # another start time: nothing happens


@pytest.mark.wire
def test_a_session_of_children_ends_without_its_leader() -> None:
    code = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1).pid, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code + "; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        claim = Claim("/nowhere", Identity(leader.pid, processes.started(leader.pid)))
        first = next(steps := processes.end(claim))
        assert {process.pid for process in first} == {leader.pid, child}
        assert list(steps) is not None
        assert processes.find(claim) == ()
