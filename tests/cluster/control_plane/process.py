"""A child process on a port of its own that is started, judged ready, ended by pid and started again."""

import random
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

START_S = 180.0  # for a machine ten times as slow as ours


def free_port() -> int:
    """A port of 127.0.0.1 that is free, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randint(15000, 31999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass
class Process:
    """`command` with its output in the file `log`; `ready` tells when it serves."""

    command: list[str]
    log: Path
    ready: Callable[[], bool]
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, again where it ends early (its port may be taken for a moment), until it is ready."""
        deadline = time.monotonic() + START_S
        while not (self._running() and self.ready()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.command[0]} does not get ready: {self._last_words()}")
            if not self._running():
                with self.log.open("ab") as output:
                    self._child = subprocess.Popen(self.command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
            time.sleep(0.05)

    def stop(self) -> None:
        """End exactly this child, at once: a graceful end takes seconds, and none of its files are kept."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]
