"""What is asked once before the load: the service, the clocks, and what the way to it adds."""

from collections.abc import Mapping
from dataclasses import dataclass

from sdctl.loadtest.clocks import Skew, estimate
from sdctl.loadtest.probe import added, probe
from sdctl.targets.base import Endpoint, Target


@dataclass(frozen=True)
class Facts:
    """Whether the service was busy (None: it does not tell), whose clock differs, and seconds added by a tunnel."""

    busy: bool | None
    clocks: Mapping[str, Skew | None]
    tunnel_s: float | None  # None without a tunnel
    compared: bool  # with a pod's own address; else `tunnel_s` is a whole round trip


def ask(target: Target, endpoint: Endpoint) -> Facts:
    """Ask the service, and on Kubernetes the API server; raises SdctlError when the service does not answer."""
    seen = probe(endpoint)
    clocks = {} if target.name == "local" else {"service": seen.skew}  # this machine has one clock
    compared: float | None = None
    if target.name == "kubernetes":
        from sdctl.cluster import clock
        from sdctl.cluster.watching import cluster_of

        cluster = cluster_of(target)
        clocks["api_server"] = estimate(clock.looks(cluster))
        compared = added(endpoint, clock.addresses(cluster))
    if endpoint.via != "tunnel":
        return Facts(seen.busy, clocks, None, False)
    return Facts(seen.busy, clocks, seen.round_trip_s if compared is None else compared, compared is not None)
