"""Finds etcd and kube-apiserver on this machine, or fetches or builds them once into a cache."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.control_plane import debian, envtest

NAMES = ("etcd", "kube-apiserver")


class Unavailable(Exception):
    """There is no kube-apiserver, and no way to get one."""


def cache() -> Path:
    """The folder that keeps one folder of binaries for each version."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sdctl" / "test-cluster"


def find() -> Path | None:
    """The folder with both binaries: KUBEBUILDER_ASSETS, else the newest in the cache, else None."""
    given = os.environ.get("KUBEBUILDER_ASSETS", "")
    cached = sorted(cache().glob("*.*/"), key=_version, reverse=True)
    return next((folder for folder in [*([Path(given)] if given else []), *cached] if _complete(folder)), None)


def obtain() -> Path:
    """The folder with both binaries, fetched or built where need be (minutes); raises Unavailable."""
    with _lock():
        if folder := find():
            return folder
        with tempfile.TemporaryDirectory(prefix="new-", dir=cache()) as scratch:
            version = _bring(Path(scratch))
            shutil.rmtree(cache() / version, ignore_errors=True)
            Path(scratch).rename(cache() / version)
            Path(scratch).mkdir()  # for TemporaryDirectory to remove
        return cache() / version


def _bring(folder: Path) -> str:
    if version := envtest.fetch(envtest.INDEX, folder):
        return version
    if not debian.possible():
        raise Unavailable(
            "No kube-apiserver: KUBEBUILDER_ASSETS names none, the envtest archive is out of reach, "
            "and building it needs Debian's apt (and root, where the Go compiler is missing)."
        )
    debian.build(folder)
    return debian.VERSION


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in NAMES)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part.isdigit())


@contextmanager
def _lock() -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
