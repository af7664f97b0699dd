"""A real Ray with Serve on free ports of this machine, to stand behind a head pod."""

import base64
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from sdctl.errors import SdctlError
from sdctl.local import ports, processes, ray_start
from sdctl.local.processes import Claim, Identity, started
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint
from tests.cluster.standins.platform import Platform
from tests.cluster.standins.serve import Maker

START_S = 600.0


class RealRay:
    """Started by its constructor, which takes seconds; `token` is its dashboard's."""

    def __init__(self, token: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # Ray's socket paths must be short
        Path(self._folder, "tmp").mkdir()
        token_file = Path(self._folder, "token")
        token_file.write_text(token)
        used = ray_start.Ports(*ports.free(3))
        self._log = Path(self._folder, "start.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*ray_start.arguments(self._folder, used, max(2, os.cpu_count() or 1)), "--no-monitor"],
                env=ray_start.environment(os.environ, self._folder, token_file),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._claim = Claim(self._folder, Identity(self._process.pid, started(self._process.pid)))
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"}
        self.ports: Mapping[int, int] = {8265: used.dashboard, 8000: ports.free(1)[0]}
        try:
            self._start_serve()
        except BaseException:
            self.close()
            raise

    def _start_serve(self) -> None:
        """Start Serve at our port: the one in the configuration that comes later is not heeded any more."""
        http = {"http_options": {"host": "127.0.0.1", "port": self.ports[8000]}, "proxy_location": "HeadOnly"}
        deadline = time.monotonic() + START_S
        with RayApi(Endpoint(f"http://127.0.0.1:{self.ports[8265]}", self.headers)) as ray:
            while True:
                try:
                    ray.put_serve({**http, "applications": []})
                    return
                except SdctlError:
                    ended = self._process.poll() not in (None, 0)
                    if ended or time.monotonic() > deadline:
                        raise RuntimeError(f"Ray does not start: {self._log.read_text()}") from None
                    time.sleep(0.2)

    def close(self) -> None:
        """End all its processes and remove its files."""
        for _ in processes.end(self._claim):
            pass
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def behind(platform: Platform, service: str, key_folder: Path) -> Maker:
    """What starts a Ray for each head pod of a service, with what its pod would have mounted in `key_folder`."""

    def make(_: str) -> RealRay:
        for name, value in secret(platform, f"{service}-api-keys").items():
            Path(key_folder, name).write_text(value)
        return RealRay(secret(platform, f"{service}-dashboard-token")["auth_token"])

    return make


def secret(platform: Platform, name: str) -> dict[str, str]:
    """The values of a Secret."""
    data = platform.get("secrets", name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
