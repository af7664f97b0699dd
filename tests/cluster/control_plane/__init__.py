"""A real etcd and kube-apiserver for the tests, with the custom resource definitions of KubeRay and Karpenter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.control_plane import definitions
from tests.cluster.control_plane.plane import ControlPlane, Refused, prepare

__all__ = ["ControlPlane", "Refused", "running"]


@contextmanager
def running(binaries: Path, folder: Path) -> Iterator[ControlPlane]:
    """A control plane with all definitions, below `folder`, for the length of the block."""
    control_plane = prepare(binaries, folder)
    try:
        control_plane.start()
        definitions.install(control_plane, definitions.load())
        yield control_plane
    finally:
        control_plane.stop()
