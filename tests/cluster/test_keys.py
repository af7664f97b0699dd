"""`sdctl keys`: shown from the Secret, rotated without a moment in which a client's key is refused."""

from datetime import UTC, datetime

import pytest

from sdctl.cluster import secrets
from sdctl.cluster.client import connect
from sdctl.cluster.forward import api_key
from sdctl.targets.base import Selection
from tests.cluster.control_plane import ControlPlane
from tests.cluster.deploying import NAME, Operator, operator

__all__ = ["operator"]
pytestmark = pytest.mark.cluster


def test_show_and_rotate(operator: Operator, control_plane: ControlPlane) -> None:
    cluster = connect(Selection(name=NAME, namespace=operator.namespace, kubeconfig=str(control_plane.kubeconfig())))
    assert operator.run("keys", "show", "--json").code == 3  # no service yet
    assert operator.deploy("--no-wait").code == 0
    [first] = operator.run("keys", "show", "--json").document["keys"].values()

    offered = secrets.offer(cluster)
    assert offered in secrets.keys(cluster).values()
    assert api_key(cluster, operator.namespace, NAME) == first  # servers accept it, clients do not take it yet
    adopted = secrets.adopt(cluster, offered, datetime(2026, 1, 1, tzinfo=UTC), drop_old=False)
    assert secrets.keys(cluster) == {"default": first, adopted: offered}
    assert api_key(cluster, operator.namespace, NAME) == offered

    rotated = operator.run("keys", "rotate", "--drop-old", "--json")  # no pod runs: nothing to wait for
    assert rotated.code == 0, rotated.err
    [(name, value)] = secrets.keys(cluster).items()
    assert name == rotated.document["key"]
    assert value not in (first, offered)
    assert value not in rotated.out + rotated.err
    assert operator.run("keys", "show", user="nobody").code == 7
    assert operator.run("keys", "burn").code == 2
