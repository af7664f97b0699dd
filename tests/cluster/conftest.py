"""A real API server once a session, a fresh namespace for each test, and the stand-ins for those that ask."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane, binaries, namespaces, running
from tests.cluster.standins.platform import Platform


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver with the definitions of KubeRay and Karpenter."""
    folder = binaries.find()
    if folder is None:
        pytest.fail("No kube-apiserver on this machine: run `make test-cluster` first.", pytrace=False)
    with running(folder, tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace; afterwards it goes with all that is in it, and so do all nodes and Karpenter's objects."""
    name = namespaces.create(control_plane)
    yield name
    control_plane.start_apiserver()  # a test may have ended it
    namespaces.remove(control_plane, name)
    namespaces.remove_cluster_scoped(control_plane)


@pytest.fixture
def platform(control_plane: ControlPlane, namespace: str) -> Iterator[Platform]:
    """Kubelet, scheduler, KubeRay and Karpenter at work in the namespace."""
    with Platform(control_plane, namespace) as platform:
        yield platform
