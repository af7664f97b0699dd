"""`sdctl` as a child process with a state home of its own, and what to ask about the machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sdctl.local import processes

DEADLINE_S = 600.0  # for what takes seconds on an idle machine


@dataclass(frozen=True)
class Sdctl:
    """Runs sdctl; everything that it keeps is below `state_home`."""

    state_home: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SDCTL_"))}
        return kept | {"XDG_STATE_HOME": str(self.state_home)}

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Begin a command, with more in its environment if told."""
        command = [sys.executable, "-m", "sdctl", *words]
        variables = {**self.environment, **(environment or {})}
        return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run a command to its end, check its exit code, and give its stdout."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == code, f"sdctl {' '.join(words)}: {process.returncode}\n{out}\n{err}"
        return out

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run a command with --json and give its document."""
        document = json.loads(self(*words, "--local", "--json", code=code))
        assert isinstance(document, dict)
        return document

    @property
    def record(self) -> dict[str, Any]:
        """What sdctl keeps of its deployment; empty when there is none."""
        path = self.state_home / "sdctl" / "local.json"
        return json.loads(path.read_text()) if path.exists() else {}


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fails after a generous time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


def session(leader: int) -> dict[int, psutil.Process]:
    """The living processes of a session, by number."""
    found = {}
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue
    return found


def named(members: dict[int, psutil.Process], text: str) -> int:
    """The number of the one process whose command line has `text`."""
    commands = {pid: command_of(process) for pid, process in members.items()}
    found = [pid for pid, command in commands.items() if text in command]
    assert len(found) == 1, (text, commands)
    return found[0]


def command_of(process: psutil.Process) -> str:
    """Its command line, empty once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def listeners(members: dict[int, psutil.Process]) -> dict[tuple[str, int], str]:
    """(address, port) → command of all sockets that those processes listen on."""
    found = {}
    for process in members.values():
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found[connection.laddr.ip, connection.laddr.port] = command_of(process)
    return found


def kill(pid: int) -> None:
    """kill -9."""
    processes.kill(processes.Identity(pid, processes.started(pid)))
