"""The API server's clock, and the pods of the service by address, as a load test needs them."""

import time

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import at, name
from sdctl.cluster.pods import SERVE, find
from sdctl.cluster.resources import PODS
from sdctl.errors import SdctlError
from sdctl.loadtest.clocks import Look, date

LOOKS = 5
APART_S = 0.21  # spread over a second, so that the whole seconds of a Date narrow each other down


def looks(cluster: Cluster) -> list[Look]:
    """A few questions for the API server's Date; none where it tells none or cannot be asked."""
    found: list[Look] = []
    for place in range(LOOKS):
        cluster.pause(APART_S if place else 0.0)
        request = cluster.api.param_serialize("GET", "/version", auth_settings=["BearerToken"])
        sent = time.time()
        try:
            answer = cluster.api.rest_client.request(*request[:2], headers=request[2], _request_timeout=5.0)
        except (ApiException, HTTPError, OSError):
            return found
        received = time.time()
        told = date(answer.headers.get("date") or "")
        answer.read()
        if told is not None:
            found.append(Look(sent, received, told))
    return found


def addresses(cluster: Cluster) -> list[str]:
    """The base URLs of the pods that serve, as one reaches them from inside the cluster's network."""
    try:
        serving = find(cluster, cluster.namespace, cluster.name, SERVE)
        found = {name(pod): at(pod, "status", "podIP") for pod in cluster.items(PODS)}
    except SdctlError:
        return []
    return [f"http://{_host(str(found[each.pod]))}:{each.number}" for each in serving if found.get(each.pod)]


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
