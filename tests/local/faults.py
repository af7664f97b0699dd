"""The service of the fault tests: the real pipeline that fails on demand, with short patience and few places."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import yaml

from sdctl import manifest
from tests.fakes.faulty_painter import STALL
from tests.local.cli import wait_for
from tests.local.conftest import LocalService, deployed

GENERATOR = "ray::ServeReplica:stable-diffusion:Generator"
INGRESS = "ray::ServeReplica:stable-diffusion:Ingress"
PROXY = "ray::ProxyActor"
CONTROLLER = "ray::ServeController"

PLACES, PLACES_OF_ONE = 64, 32  # requests in flight: of all, of one tenant
SMALLEST_WINDOW = 2048  # bytes: an answer of pictures does not fit
TENANTS = ("ann", "bob", "eve")
ARGUMENTS: dict[str, Any] = {
    "device": "cpu",
    "auth": "keys",
    "max_timeout_s": 600,  # for a busy machine
    "stall_timeout_s": 5,
    "max_in_flight": PLACES,
    "max_in_flight_per_tenant": PLACES_OF_ONE,
}


def key(tenant: str) -> str:
    """A tenant's key."""
    return f"key-of-{tenant}"


def authorization(tenant: str) -> dict[str, str]:
    """The header of a tenant's key."""
    return {"Authorization": f"Bearer {key(tenant)}"}


@contextmanager
def faulty(folder: Path) -> Iterator[LocalService]:
    """The service, deployed; its headers are the first tenant's."""
    keys, path = folder / "keys", folder / "rayservice.yaml"
    keys.mkdir()
    for tenant in TENANTS:
        (keys / tenant).write_text(key(tenant), encoding="ascii")
    path.write_text(yaml.safe_dump(_manifest(str(keys))), encoding="utf-8")
    with deployed(folder / "state", "-f", str(path), headers=authorization(TENANTS[0])) as service:
        yield service


def _manifest(keys: str) -> manifest.Object:
    rayservice = manifest.load(manifest.packaged(manifest.CPU)).rayservice
    config = manifest.serve_config(rayservice)
    config["http_options"]["request_timeout_s"] = 700
    application = config["applications"][0]
    application["import_path"] = "tests.fakes.faulty_service:build"
    application["args"] = ARGUMENTS | {"key_folder": keys}
    _, generator = manifest.deployments(application)
    generator |= {"health_check_period_s": 1, "health_check_timeout_s": 3}
    rayservice["spec"]["serveConfigV2"] = yaml.safe_dump(config)
    return rayservice


@contextmanager
def asked_and_not_read(
    service: LocalService, path: str, document: dict[str, Any], headers: dict[str, str]
) -> Iterator[None]:
    """A request whose answer nobody reads; at the block's end its client goes."""
    address = urlsplit(service.url)
    body = json.dumps(document).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: a", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_WINDOW)
        connection.connect((address.hostname, address.port))
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        yield


def stall_next_call(service: LocalService) -> None:
    """The pipeline's next call will hang."""
    Path(service.sdctl.record["folder"], "tmp", STALL).touch()


def wait_until_gone(pid: int) -> None:
    """Wait for a process to end."""
    wait_for(lambda: not psutil.pid_exists(pid), f"process {pid} had ended")
