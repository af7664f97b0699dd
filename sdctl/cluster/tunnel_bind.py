"""Take a local port to listen on, or say who has it."""

import errno
import socket
from ipaddress import ip_address

import psutil

from sdctl.errors import InvalidRequest
from sdctl.targets.forwarding import Listen

BACKLOG = 256
PORT_IN_USE = "port_in_use"


def listener(listen: Listen) -> socket.socket:
    """A listening socket at the place asked for, or at a free port where that is allowed and said."""
    try:
        return bind(listen.address, listen.port)
    except InvalidRequest as error:
        if error.code != PORT_IN_USE or not listen.or_free:
            raise
        listen.notify(f"{error.message} Taking a free one.")
        return bind(listen.address, 0)


def bind(address: str, port: int) -> socket.socket:
    """A listening TCP socket on an address of this machine; `port` 0 takes a free one.

    Raises InvalidRequest for an address that is none, and for a port in use or not allowed, naming who holds it.
    """
    family = _family(address)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger do not hold the port
        bound.bind((address, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _refused(address, port, error) from None
    return bound


def _family(address: str) -> socket.AddressFamily:
    try:
        return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    except ValueError:
        raise InvalidRequest(f"{address} is no IP address.", hint="Use --address 127.0.0.1.") from None


def _refused(address: str, port: int, error: OSError) -> InvalidRequest:
    if error.errno == errno.EADDRINUSE:
        return InvalidRequest(
            f"Port {port} on {address} is in use{_holder(port)}.",
            hint="Choose another with --local-port, or --local-port 0 for a free one.",
            code=PORT_IN_USE,
        )
    if error.errno == errno.EACCES:
        return InvalidRequest(
            f"Port {port} needs more rights than this user has.", hint="Choose one above 1023 with --local-port."
        )
    return InvalidRequest(f"{address} port {port} cannot be listened on: {error.strerror}.", hint="Check --address.")


def _holder(port: int) -> str:
    """`, by NAME (pid N)`, or nothing where this user may not see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f", by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
