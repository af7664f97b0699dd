"""The Locust child process: started, read, stopped; never imported (importing Locust patches the process)."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdctl.errors import SdctlError
from sdctl.loadtest.plan import Plan

_KILL_AFTER_S = 15.0


class Child:
    """One run of the load generator; iterate `events()` until it has ended."""

    def __init__(self, job: Mapping[str, Any], plan: Plan, url: str, *, grace_s: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sdctl-load-")
        self._grace_s = grace_s
        path = Path(self._folder.name, "job.json")
        path.touch(mode=0o600)  # the job holds the service's key
        path.write_text(json.dumps({**job, **_shape(plan), "grace_s": grace_s}), encoding="utf-8")
        self._log = Path(self._folder.name, "locust.log")
        read, write = os.pipe()
        environment = {
            **os.environ,
            "SDCTL_LOADTEST_JOB": str(path),
            "SDCTL_LOADTEST_RECORDS_FD": str(write),
            "PYTHONUNBUFFERED": "1",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                _command(plan, url, grace_s),
                env=environment,
                pass_fds=(write,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to pass on, so that a run ends with all its records
            )
        os.close(write)
        self._pipe = os.fdopen(read, "rb")

    def events(self) -> Iterator[dict[str, Any]]:
        """The child's JSON lines until it closes its end; a torn last line (it was killed) is dropped."""
        for line in self._pipe:
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def stop(self) -> None:
        """Ask for a clean end: requests in flight get the grace time."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End it at once; what was in flight is booked as unfinished by the ledger."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def close(self) -> int:
        """Wait for the end (killing it when it does not come), tidy up, and give the exit code."""
        try:
            code = self._process.wait(timeout=self._grace_s + _KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._pipe.close()
        return code

    def explain(self) -> str:
        """The end of the child's log, for a run that could not start; call before `discard`."""
        with contextlib.suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-1500:]
        return ""

    def discard(self) -> None:
        """Remove the child's temporary files."""
        self._folder.cleanup()


def _shape(plan: Plan) -> dict[str, Any]:
    return {
        "stages": [(stage.users, stage.rate, stage.seconds) for stage in plan.stages],
        "arrivals": list(plan.arrivals),
    }


def locustfile() -> Path:
    """The locustfile that ships with sdctl, in a wheel and in a checkout alike."""
    path = Path(__file__).parents[2] / "loadtests" / "locustfile.py"
    if not path.is_file():
        raise SdctlError("The load test's locustfile is missing.", hint="Install sdctl again.")
    return path


def _command(plan: Plan, url: str, grace_s: float) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", str(locustfile()), "--headless", "-H", url]
    command += ["--stop-timeout", f"{grace_s:g}", "--only-summary", "--loglevel", "WARNING"]
    if plan.arrivals:
        command += ["-u", "1", "-r", "1"]
    return command
