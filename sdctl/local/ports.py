"""Ports on the loopback interface."""

import random
import socket

from sdctl.errors import SdctlError

DEFAULT_SERVE = 8000
# Below the kernel's range for outgoing connections, so that none of those takes a port between our look and its use.
LOWEST, HIGHEST = 20000, 31999


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of the loopback interface, not even with SO_REUSEPORT (as Serve does)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free(count: int) -> tuple[int, ...]:
    """Different free ports; raises SdctlError when there seem to be none."""
    found: list[int] = []
    for port in random.sample(range(LOWEST, HIGHEST), 400):
        if is_free(port):
            found.append(port)
            if len(found) == count:
                return tuple(found)
    raise SdctlError(f"No free ports between {LOWEST} and {HIGHEST} on 127.0.0.1.", hint="End what listens there.")


def for_serve(asked: int | None) -> int:
    """The port asked for, else 8000, else a free one; raises SdctlError when the port asked for is in use."""
    if asked is None:
        return DEFAULT_SERVE if is_free(DEFAULT_SERVE) else free(1)[0]
    if not is_free(asked):
        raise SdctlError(
            f"Port {asked} on 127.0.0.1 is in use.", hint="Give another --port, or none.", code="port_used"
        )
    return asked
