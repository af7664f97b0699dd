"""Runs inside `ray start` (RAY_START_HOOK): leaves out what a service on one machine has no use for."""

from typing import Any


def prepare(params: Any, head: bool) -> None:  # noqa: ARG001 -- Ray's signature
    """Start no Ray Client server: one process and one port less."""
    params.ray_client_server_port = None
