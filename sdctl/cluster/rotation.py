"""A new API key for a running service, without a moment in which a client's key is refused."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sdctl import service
from sdctl.cluster import secrets
from sdctl.cluster.client import Cluster
from sdctl.cluster.forward import serve_endpoint
from sdctl.cluster.pods import SERVE, find
from sdctl.errors import NotAllowed, NotFound, SdctlError, TimedOut
from sdctl.retry import Again
from sdctl.targets.forwarding import Listen

EVERY_S = 3.0
ASK_S = 15.0


def rotate(cluster: Cluster, *, drop_old: bool, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> str:
    """Offer a key, wait until the service accepts it, then let clients take it; gives the key's name.

    The kubelet needs a minute or so to bring a changed Secret to a pod. Where no service runs there is nothing to
    wait for. Raises NotFound without a Secret, NotAllowed without rights, TimedOut when the service did not take it
    (the old keys stay valid).
    """
    secrets.keys(cluster)
    value = secrets.offer(cluster)
    begin = clock()
    while not _accepted(cluster, value):
        if clock() - begin > timeout_s:
            raise TimedOut(
                f"The service did not take the new key within {timeout_s:.0f} s; the old ones stay valid.",
                hint="`sdctl status` says how it is; run `sdctl keys rotate` again.",
            )
        cluster.pause(EVERY_S)
    return secrets.adopt(cluster, value, datetime.now(UTC), drop_old=drop_old)


def _accepted(cluster: Cluster, key: str) -> bool:
    """Whether the service takes the key: an empty request is answered by 400 with a good key, by 401 with a bad one."""
    try:
        if not find(cluster, cluster.namespace, cluster.name, SERVE):
            return True  # no pod: the next one starts with the new key
    except NotFound:
        return True  # no RayService: nothing that could refuse it
    listen = Listen(ready_s=ASK_S, patience_s=ASK_S, token=key)
    try:
        with (
            serve_endpoint(cluster, cluster.namespace, cluster.name, listen) as endpoint,
            service.http_client(endpoint, timeout_s=ASK_S) as client,
        ):
            return service.exchange(client, "POST", "/imagine", json={}, timeout_s=ASK_S).status not in (401, 403)
    except NotAllowed:
        raise
    except (Again, SdctlError):
        return False
