"""What this machine needs before anything is started: the extra, memory, disk."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from sdctl.errors import SdctlError
from sdctl.local.ray_start import missing_extra
from sdctl.local.record import base_folder
from sdctl.targets.base import Finding

GIB = 2**30
RAY_BYTES = int(1.1 * GIB)  # head, dashboard, agents, controller, proxy, ingress: measured
REPLICA_BYTES = int(0.6 * GIB)  # torch, diffusers and the built-in model: measured
DISK_BYTES = 1 * GIB  # logs and spilled objects; a model's own cache is elsewhere


def findings(*, replicas: int = 1, model: str = "") -> Iterator[Finding]:
    """What speaks for and against a local deployment with that many replicas."""
    yield _extra()
    yield _memory(available_bytes(), replicas, model)
    yield _disk(shutil.disk_usage(_existing(base_folder())).free)
    yield _system()


def require(*, replicas: int, model: str) -> None:
    """Raise SdctlError for the first thing that would make a deployment fail."""
    for finding in findings(replicas=replicas, model=model):
        if finding.level == "fail":
            raise SdctlError(f"{finding.what}: {finding.detail}.", hint=finding.fix, code="lacks")


def _extra() -> Finding:
    missing = missing_extra()
    if not missing:
        return Finding("ok", "Python packages", "ray, torch, diffusers and transformers are installed")
    fix = "Install the extra: pip install 'sdctl[serve]' (into the Python that runs sdctl)."
    return Finding("fail", "Python packages", f"{', '.join(missing)} missing", fix)


def _memory(available: int, replicas: int, model: str) -> Finding:
    need = RAY_BYTES + replicas * replica_bytes(model)
    detail = f"{available / GIB:.1f} GiB are free, about {need / GIB:.1f} GiB needed for {replicas} replica(s)"
    if available >= need:
        return Finding("ok", "memory", detail)
    return Finding("fail", "memory", detail, "Close something, or give fewer --replicas or a smaller --model.")


def replica_bytes(model: str) -> int:
    """Memory of one replica: torch, and twice the weights of a model that is a folder here (loading holds a copy)."""
    folder = Path(model) if model else None
    weights = 0
    if folder is not None and folder.is_dir():
        weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    return REPLICA_BYTES + 2 * weights


def _disk(free: int) -> Finding:
    where = base_folder().parent
    detail = f"{free / GIB:.1f} GiB are free in {where}"
    if free >= DISK_BYTES:
        return Finding("ok", "disk", detail)
    return Finding("fail", "disk", f"{detail}, about {DISK_BYTES / GIB:.0f} GiB needed", f"Make room in {where}.")


def _system() -> Finding:
    system = platform.system()
    if system in ("Linux", "Darwin"):
        return Finding("ok", "operating system", system)
    return Finding("warn", "operating system", f"{system} is not tried", "Use Linux, macOS or WSL.")


def available_bytes() -> int:
    """Memory that can be had without swapping: the machine's, or the container's where that is less."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        cached = _cgroup_cache()
    except (OSError, ValueError):
        return available
    return available if limit == "max" else min(available, max(0, int(limit) - used + cached))


def _cgroup_cache() -> int:
    lines = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def gpus() -> int:
    """NVIDIA GPUs that this machine shows."""
    try:
        names = os.listdir("/dev")
    except OSError:
        return 0
    return sum(name.removeprefix("nvidia").isdigit() for name in names if name.startswith("nvidia"))
