"""Start Ray in the background: own ports, folder, session and token, all of it on the loopback interface."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdctl.errors import NotAllowed, SdctlError, TimedOut
from sdctl.local import nodes, ports, record
from sdctl.local.processes import Identity, started
from sdctl.local.record import Record
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint

START_S = 600.0
POLL_S = 0.1
OBJECT_STORE_BYTES = 200 * 2**20  # images cross it, tensors do not
EXTRA = ("ray", "torch", "diffusers", "transformers")
# What Ray and the model may need of the caller's environment; everything else would make starts differ.
KEPT = ("HOME", "PATH", "LANG", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
KEPT_PREFIXES = ("LC_", "XDG_", "SSL_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TORCH_", "CUDA_", "NVIDIA_", "SDCTL_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def missing_extra() -> tuple[str, ...]:
    """What the extra `serve` would bring and this Python lacks."""
    return tuple(name for name in EXTRA if importlib.util.find_spec(name) is None)


def environment(outer: Mapping[str, str], folder: str, token_file: Path) -> dict[str, str]:
    """The environment of Ray and of everything below it."""
    inner = {name: value for name, value in outer.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    for name in PROXIES:
        inner |= {each: outer[each] for each in (name, name.lower()) if each in outer}
    no_proxy = outer.get("NO_PROXY") or outer.get("no_proxy") or ""
    loopback = ",".join(part for part in (no_proxy, "127.0.0.1", "localhost") if part)
    source = str(Path(__file__).parent.parent.parent)  # where serve_app is, also in a checkout that nobody installed
    path = [part for part in (source, *outer.get("PYTHONPATH", "").split(os.pathsep)) if part]
    return inner | {
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "PYTHONPATH": os.pathsep.join(path),
        "TMPDIR": str(Path(folder, "tmp")),  # Ray forgets sockets of its dashboard there
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",  # or the requests of a frozen one would expire
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",  # three checks find a dead one: by default in 30 s
        "RAY_START_HOOK": "sdctl.local.start_hook.prepare",
        # Ray's single-machine mode, made for systems with a firewall prompt: its internal ports listen on loopback
        # only, where `ray start --node-ip-address=127.0.0.1` alone is ignored.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


@dataclass(frozen=True)
class Ports:
    """The ports of Ray that are fixed when it starts; all others Ray finds by itself."""

    gcs: int
    dashboard: int
    agent: int


def arguments(folder: str, used: Ports, cpus: int) -> list[str]:
    """The command that starts Ray's head, for this Python."""
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats"),
        *(f"--port={used.gcs}", "--min-worker-port=0", "--max-worker-port=0"),
        f"--dashboard-agent-listen-port={used.agent}",
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={used.dashboard}"),
        *(f"--temp-dir={folder}", f"--num-cpus={cpus}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
        *("--include-log-monitor=false", "--log-style=record", "--log-color=false"),
    ]


def spawn(kept: Record) -> tuple[Record, "subprocess.Popen[bytes]"]:
    """Begin to start Ray for a record; the record that comes back knows the process and the dashboard's port."""
    used = Ports(*ports.free(3))
    cpus = max(2, os.cpu_count() or 1)
    command = arguments(kept.folder, used, cpus)
    variables = environment(os.environ, kept.folder, record.token_path())
    if kept.gpu_nodes:
        command.append(f"--autoscaling-config={nodes.write_config(kept.folder, kept.gpu_nodes, used.gcs, cpus)}")
        variables |= nodes.VARIABLES
    else:
        command.append("--no-monitor")  # Ray's autoscaler has nothing to scale here
    kept = kept.with_(dashboard_port=used.dashboard)
    with Path(kept.folder, "ray-start.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=variables,
            cwd=kept.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # survives this command, its terminal and its process group
        )
    return kept.with_(leader=Identity(process.pid, started(process.pid))), process


def endpoint(kept: Record) -> Endpoint:
    """Ray's dashboard of a record; its headers hold the token."""
    token = record.token()
    return Endpoint(f"http://127.0.0.1:{kept.dashboard_port}", {"Authorization": f"Bearer {token}"} if token else {})


def wait(kept: Record, process: "subprocess.Popen[bytes]") -> None:
    """Wait until Ray's dashboard answers with our token; raises SdctlError with the end of Ray's own words.

    `ray start` itself goes on for some seconds after that: Serve need not wait for it.
    """
    deadline = time.monotonic() + START_S
    with RayApi(endpoint(kept)) as ray:
        while True:
            if process.poll() not in (None, 0):
                raise SdctlError(f"Ray did not start: {last_words(kept)}", hint="`sdctl cleanup --local`, then again.")
            try:
                ray.serve()
                return
            except NotAllowed:
                raise
            except SdctlError:  # nobody there yet, late on a busy machine, or Ray's own answer before its raylet is up
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"Ray did not answer within {START_S:.0f} s: {last_words(kept)}",
                        hint="Is the machine very busy? `sdctl cleanup --local`, then again.",
                    ) from None
                time.sleep(POLL_S)


def last_words(kept: Record) -> str:
    """The end of what `ray start` printed."""
    try:
        text = Path(kept.folder, "ray-start.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "it printed nothing"
    return text.strip()[-600:] or "it printed nothing"
