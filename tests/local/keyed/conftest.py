"""A second application with keys and limits, on the Ray that runs the open one."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint
from tests.local.cli import DEADLINE_S, Sdctl, wait_for
from tests.local.conftest import LocalService

NAME = "keyed"
GOOD_USERS = tuple(f"user-{number}" for number in range(10))
TENANTS = (*GOOD_USERS, "greedy", "counted", "rotating", "fuzz")
IN_FLIGHT, PER_MINUTE = 10, 60
MOST_WORK = 10 * 128 * 128 * 30  # pixels × steps of one request


class Keys:
    """A folder of key files as a Secret's mount has them: links into a folder that is swapped as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[str, str] = {}
        self._turn = 0

    def set(self, **files: str) -> None:
        """Put the content of these files in force, all at once."""
        self._kept |= files
        self._turn += 1
        new = self.folder / f"..turn-{self._turn}"
        new.mkdir(parents=True)
        for name, text in self._kept.items():
            (new / name).write_text(text, encoding="ascii")
        following = self.folder / "..data_tmp"
        following.symlink_to(new.name)
        following.replace(self.folder / "..data")
        for name in self._kept:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        shutil.rmtree(self.folder / f"..turn-{self._turn - 1}", ignore_errors=True)


@dataclass(frozen=True)
class KeyedService:
    """The application: its URL, its key files, and the service beside it."""

    url: str
    keys: Keys
    beside: LocalService

    def client(self, key: str, **options: Any) -> httpx.Client:
        """A client with this key that tries nothing twice."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=DEADLINE_S, trust_env=False, **options)

    def logs(self) -> str:
        """All that Ray, Serve and the application have logged."""
        folder = Path(self.beside.sdctl.record["folder"])
        return "".join(path.read_text(errors="replace") for path in folder.rglob("logs/**/*") if path.is_file())


def key_of(tenant: str) -> str:
    """The key of a tenant as long as no test rotates it."""
    return f"key-of-{tenant}"


def dashboard(sdctl: Sdctl) -> RayApi:
    """Ray's own API of that deployment."""
    token = (sdctl.state_home / "sdctl" / "local.token").read_text(encoding="ascii").strip()
    return RayApi(Endpoint(f"http://127.0.0.1:{sdctl.record['dashboard_port']}", {"Authorization": f"Bearer {token}"}))


def with_keys(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The Serve config with the same application once more, under keys and limits."""
    both = copy.deepcopy(config)
    (ours,) = both["applications"]
    limits = {"max_in_flight_per_tenant": IN_FLIGHT, "images_per_minute": PER_MINUTE, "max_cost": MOST_WORK}
    arguments = {**ours["args"], "auth": "keys", "key_folder": str(folder), **limits}
    arguments |= {"refused_words": ["gore"], "cors_origins": ["https://gallery.example"]}
    both["applications"].append({**ours, "name": NAME, "route_prefix": f"/{NAME}", "args": arguments})
    return both


@pytest.fixture(scope="package")
def keyed(local_service: LocalService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedService]:
    """The application while this folder's tests run; then Serve is as it was."""
    keys = Keys(tmp_path_factory.mktemp("keys"))
    keys.set(**{tenant: key_of(tenant) for tenant in TENANTS})
    before = local_service.sdctl.record["config"]
    url = f"{local_service.url}/{NAME}"

    def ready() -> bool:
        return httpx.get(f"{url}/healthz", timeout=DEADLINE_S, trust_env=False).status_code == 200

    with dashboard(local_service.sdctl) as ray:
        try:
            ray.put_serve(with_keys(before, keys.folder))
            wait_for(ready, "the application with keys was ready")
            yield KeyedService(url, keys, local_service)
        finally:
            ray.put_serve(before)
            wait_for(lambda: NAME not in ray.serve().applications, "the application with keys was gone")
