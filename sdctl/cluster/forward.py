"""The service and Ray's dashboard as endpoints on this machine, through the API server."""

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sdctl import service
from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import at
from sdctl.cluster.pods import DASHBOARD, SERVE, Route, ray_clusters
from sdctl.cluster.resources import RAYSERVICES, SECRETS
from sdctl.cluster.secrets import TOKEN_KEY, keys_name
from sdctl.cluster.tunnel import Tunnel
from sdctl.cluster.tunnel_bind import listener
from sdctl.cluster.tunnel_dial import BACK_OFF, FINAL, Dialer
from sdctl.errors import InvalidRequest, NotAllowed, SdctlError, TimedOut, Unreachable
from sdctl.retry import Again, retry
from sdctl.targets.base import Endpoint
from sdctl.targets.forwarding import Forward, Listen

PROBE_S = 15.0
QUIETLY = Listen()


@contextmanager
def serve_endpoint(cluster: Cluster, namespace: str, name: str, listen: Listen = QUIETLY) -> Iterator[Endpoint]:
    """The service, with its API key; raises NotFound, NotAllowed, Unreachable, InvalidRequest (port in use)."""
    with forward(cluster, namespace, name, "serve", listen) as opened:
        yield opened.endpoint


@contextmanager
def dashboard_endpoint(cluster: Cluster, namespace: str, name: str, listen: Listen = QUIETLY) -> Iterator[Endpoint]:
    """Ray's dashboard, with its token; while nothing is ready, that of the cluster in preparation."""
    with forward(cluster, namespace, name, "dashboard", listen) as opened:
        yield opened.endpoint


@contextmanager
def forward(cluster: Cluster, namespace: str, name: str, what: str, listen: Listen) -> Iterator[Forward]:
    """`serve` or `dashboard`, forwarded while the block runs and seen to work before it starts."""
    if what not in PORTS:
        raise InvalidRequest(f"There is no {what!r} to forward.", hint="Name serve, dashboard or both.")
    port, token = PORTS[what]
    route = Route(cluster, namespace, name, port)
    dialer = Dialer(cluster, namespace, route, notify=listen.notify, patience_s=listen.patience_s)
    with Tunnel(dialer, listener(listen)) as tunnel:
        _await_pod(route, listen)
        bearer = (what == "serve" and listen.token) or token(cluster, namespace, name)
        endpoint = Endpoint(tunnel.url, {"Authorization": f"Bearer {bearer}"} if bearer else {}, via="tunnel")
        _await_answer(tunnel, endpoint, route, listen.ready_s)
        try:
            yield Forward(endpoint, tunnel.check)
        except SdctlError:
            tunnel.check()  # the reason behind all those dropped connections
            raise


def _await_pod(route: Route, listen: Listen) -> None:
    """Find out what can be found out before anything is sent: no such service, no rights, no pod."""

    def look(_: float) -> None:
        try:
            route.next()
        except FINAL:
            raise
        except SdctlError as error:
            raise Again(error, reason=error.message) from None

    told: set[str] = set()

    def notify(reason: str, _: float) -> None:
        if reason not in told:
            told.add(reason)
            listen.notify(f"Waiting: {reason}")

    retry(look, timeout_s=listen.ready_s, policy=BACK_OFF, notify=notify)


def _await_answer(tunnel: Tunnel, endpoint: Endpoint, route: Route, ready_s: float) -> None:
    """Wait for any HTTP answer through the tunnel; raises what makes that impossible."""

    def probe(left_s: float) -> None:
        tunnel.check()
        wait_s = min(PROBE_S, left_s)
        try:
            with service.http_client(endpoint, timeout_s=wait_s) as client:
                service.exchange(client, "GET", route.port.health, timeout_s=wait_s)
        except TimedOut as error:  # a pod that is starting may take connections before it answers
            raise Again(error, reason="does not answer") from None

    try:
        retry(probe, timeout_s=ready_s, policy=BACK_OFF)
    except (Unreachable, TimedOut) as error:
        tunnel.check()
        raise Unreachable(
            f"The {route.port.name} port of {route.title} does not answer through the tunnel: {error.message}",
            hint="`sdctl status` says what the service is doing.",
        ) from None


def api_key(cluster: Cluster, namespace: str, name: str) -> str:
    """A key of the service: $SDCTL_TOKEN, else from its Secret; empty when it has none. Raises NotAllowed."""
    if token := os.environ.get("SDCTL_TOKEN", ""):
        return token
    try:
        keys = _secret(cluster, namespace, keys_name(name))
    except NotAllowed as error:
        raise NotAllowed(error.message, hint="Put the service's key into SDCTL_TOKEN.") from None
    return next(iter(keys[max(keys)].split()), "") if keys else ""  # the newest; a file may hold several


def dashboard_token(cluster: Cluster, namespace: str, name: str) -> str:
    """The token of Ray's dashboard, from the Secret that the RayService names; empty when it asks for none."""
    rayservice = cluster.get(RAYSERVICES, name, namespace)
    auth = at(rayservice, "spec", "rayClusterConfig", "authOptions") or {}
    if auth.get("mode") != "token":
        return ""
    # Without a name KubeRay makes a Secret that is called as the RayCluster is.
    for secret in (auth["secretName"],) if auth.get("secretName") else ray_clusters(rayservice):
        if token := _secret(cluster, namespace, secret).get(TOKEN_KEY):
            return token
    return ""


def _secret(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    found = cluster.find(SECRETS, name, namespace)
    try:
        return {key: base64.b64decode(text).decode().strip() for key, text in (at(found, "data") or {}).items()}
    except (binascii.Error, UnicodeDecodeError):
        raise SdctlError(f"The Secret {name} holds something that is no text.", hint="`sdctl keys rotate`.") from None


PORTS = {"serve": (SERVE, api_key), "dashboard": (DASHBOARD, dashboard_token)}
