"""Which processes are ours, and how they end.

Titles and environments prove nothing: Ray's children overwrite both. What proves is a recorded number with its start
time on the same boot, our folder in the command line of a Ray program, and the session: Ray is started as the leader of
a new one, and the kernel gives a number to no other process while it still names a session.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_S = 0.05


@dataclass(frozen=True)
class Identity:
    """A process that no other can be taken for on one boot; `started` in the kernel's ticks."""

    pid: int
    started: int


@dataclass(frozen=True)
class Process:
    """A process of this user; `ray` when its program is part of Ray."""

    pid: int
    parent: int
    session: int
    started: int
    command: str = ""
    ray: bool = False

    @property
    def identity(self) -> Identity:
        """What distinguishes it from a later process with its number."""
        return Identity(self.pid, self.started)


@dataclass(frozen=True)
class Claim:
    """What proves that a process is ours."""

    folder: str
    leader: Identity | None = None
    members: frozenset[Identity] = frozenset()


def ours(processes: Iterable[Process], claim: Claim, writes_below: Callable[[int, str], bool]) -> tuple[Process, ...]:
    """The processes that a claim covers, parents first.

    `writes_below(pid, folder)` tells whether a process has a file open for writing there; it is asked only of the
    members of a session that nothing else proves.
    """
    table = {process.pid: process for process in processes}
    proven = {pid for pid, process in table.items() if _is_proven(process, claim)}
    if claim.leader is not None and claim.leader.pid not in proven:
        session = [pid for pid, process in table.items() if process.session == claim.leader.pid]
        if claim.leader.pid not in table and any(writes_below(pid, claim.folder) for pid in session):
            proven.update(session)
    found: set[int] = set()
    while found != proven:
        found = set(proven)
        sessions = {table[pid].session for pid in found if _is_own_session(table[pid].session, table, found)}
        proven |= {pid for pid, process in table.items() if process.parent in found or process.session in sessions}
    return tuple(sorted((table[pid] for pid in found), key=lambda process: (process.started, process.pid)))


def _is_proven(process: Process, claim: Claim) -> bool:
    if process.identity == claim.leader or process.identity in claim.members:
        return True
    return process.ray and (f"{claim.folder}/" in process.command or f"={claim.folder} " in f"{process.command} ")


def _is_own_session(session: int, table: Mapping[int, Process], found: set[int]) -> bool:
    """A session is ours when its leader is, or has ended as `ray start` does; a user's shell still leads its own."""
    return session > 1 and (session in found or session not in table)


def running() -> Iterator[Process]:
    """This user's processes, without this one, its ancestors and zombies."""
    excluded = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            if process.pid in excluded or process.uids().real != os.getuid():
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = " ".join(process.cmdline())
            yield Process(
                process.pid,
                process.ppid(),
                os.getsid(process.pid),
                started(process.pid),
                command,
                _is_ray(_program(process), command),
            )
        except (psutil.Error, OSError):
            continue  # it ended while we looked


def _program(process: psutil.Process) -> str:
    try:
        return process.exe()
    except (psutil.Error, OSError):
        return ""


def _is_ray(program: str, command: str) -> bool:
    """Ray's own binaries, or a Python that runs one of Ray's modules: not an editor or `tail` that names our folder."""
    if Path(program).name in ("gcs_server", "raylet"):
        return True
    return Path(program).name.startswith("python") and ("/ray/" in command or "-m ray." in command)


def started(pid: int) -> int:
    """When a process started, in ticks since boot (elsewhere than on Linux: hundredths of a second since the epoch).

    Raises ProcessLookupError when there is no such process.
    """
    if not sys.platform.startswith("linux"):
        try:
            return int(psutil.Process(pid).create_time() * 100)
        except psutil.NoSuchProcess:
            raise ProcessLookupError(pid) from None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return int(text.rpartition(")")[2].split()[19])


def boot_id() -> str:
    """What names this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(int(psutil.boot_time()))


def is_alive(identity: Identity) -> bool:
    """Whether that process, and not another with its number, still runs."""
    try:
        return started(identity.pid) == identity.started and psutil.Process(identity.pid).status() != "zombie"
    except (ProcessLookupError, psutil.Error):
        return False


def writes_below(pid: int, folder: str) -> bool:
    """Whether a process has a file below `folder` open for writing."""
    try:
        files = psutil.Process(pid).open_files()
    except (psutil.Error, OSError):
        return False
    return any(file.path.startswith(f"{folder}/") and getattr(file, "mode", "w") != "r" for file in files)


def find(claim: Claim) -> tuple[Process, ...]:
    """The processes of a claim that run now, parents first."""
    return ours(running(), claim, writes_below)


def end(claim: Claim) -> Iterator[tuple[Process, ...]]:
    """Kill what a claim covers, parents first so that nothing is started again; gives what is left until nothing is."""
    known: dict[Identity, Process] = {}  # proven once: a process that ends loses first what proves it, and its name
    while left := find(Claim(claim.folder, claim.leader, claim.members | known.keys())):
        known = {process.identity: process for process in left} | known
        yield tuple(known[process.identity] for process in left)
        for process in left:
            kill(process.identity)
        time.sleep(POLL_S)


def kill(identity: Identity) -> None:
    """End a process at once, unless its number means another one by now."""
    try:
        if started(identity.pid) == identity.started:
            os.kill(identity.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def label(process: Process) -> str:
    """What to call a process: Ray's title, or the program's or script's name, with its number."""
    words = process.command.split() or ["process"]
    name = Path(words[0]).name
    if name.startswith("python"):
        script = next((word for word in words[1:] if not word.startswith("-")), "")
        name = Path(script).name if "-c" not in words[:4] and script else name
    return f"{name} ({process.pid})"
