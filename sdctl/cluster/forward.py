"""The service and Ray's dashboard as endpoints on this machine, through the API server."""

import base64
import binascii
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sdctl import service
from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import at
from sdctl.cluster.pods import DASHBOARD, SERVE, Route, ray_clusters
from sdctl.cluster.resources import RAYSERVICES, SECRETS
from sdctl.cluster.tunnel import Tunnel
from sdctl.cluster.tunnel_dial import BACK_OFF, FINAL, Dialer
from sdctl.errors import NotAllowed, SdctlError, TimedOut, Unreachable
from sdctl.retry import Again, retry
from sdctl.targets.base import Endpoint

PROBE_S = 15.0


def _silent(message: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Listen:
    """Where a forward listens, whom it tells what happens, and how long it tries (seconds)."""

    address: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    notify: Callable[[str], None] = _silent  # called from any thread
    ready_s: float = 30.0  # until the other end has answered once
    patience_s: float = 60.0  # for one connection, while pods are replaced


@dataclass(frozen=True)
class Forward:
    """A forward that has been seen to work."""

    endpoint: Endpoint
    tunnel: Tunnel


@contextmanager
def serve_endpoint(cluster: Cluster, namespace: str, name: str, listen: Listen = Listen()) -> Iterator[Endpoint]:
    """The service, with its API key; raises NotFound, NotAllowed, Unreachable, InvalidRequest (port in use)."""
    with forward_serve(cluster, namespace, name, listen) as forward:
        yield forward.endpoint


@contextmanager
def dashboard_endpoint(cluster: Cluster, namespace: str, name: str, listen: Listen = Listen()) -> Iterator[Endpoint]:
    """Ray's dashboard, with its token; while nothing is ready, that of the cluster in preparation."""
    with forward_dashboard(cluster, namespace, name, listen) as forward:
        yield forward.endpoint


@contextmanager
def forward_serve(cluster: Cluster, namespace: str, name: str, listen: Listen) -> Iterator[Forward]:
    """As `serve_endpoint`, with the tunnel that `sdctl forward` waits on."""
    route = Route(cluster, namespace, name, SERVE)
    with _forward(cluster, namespace, route, listen, lambda: api_key(cluster, namespace, name)) as forward:
        yield forward


@contextmanager
def forward_dashboard(cluster: Cluster, namespace: str, name: str, listen: Listen) -> Iterator[Forward]:
    """As `dashboard_endpoint`, with the tunnel that `sdctl dashboard` waits on."""
    route = Route(cluster, namespace, name, DASHBOARD)
    with _forward(cluster, namespace, route, listen, lambda: dashboard_token(cluster, namespace, name)) as forward:
        yield forward


@contextmanager
def _forward(
    cluster: Cluster, namespace: str, route: Route, listen: Listen, token: Callable[[], str]
) -> Iterator[Forward]:
    dialer = Dialer(cluster, namespace, route, notify=listen.notify, patience_s=listen.patience_s)
    with Tunnel(dialer, address=listen.address, port=listen.port) as tunnel:
        _await_pod(route, listen)
        bearer = token()
        endpoint = Endpoint(tunnel.url, {"Authorization": f"Bearer {bearer}"} if bearer else {}, via="tunnel")
        _await_answer(tunnel, endpoint, route, listen.ready_s)
        try:
            yield Forward(endpoint, tunnel)
        except SdctlError as error:
            if tunnel.failure is not None and tunnel.failure is not error:
                raise tunnel.failure from error  # the reason behind all those dropped connections
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
        with service.http_client(endpoint, timeout_s=min(PROBE_S, left_s)) as client:
            service.exchange(client, "GET", route.port.health, timeout_s=min(PROBE_S, left_s))

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
        keys = _secret(cluster, namespace, f"{name}-api-keys")
    except NotAllowed as error:
        raise NotAllowed(error.message, hint="Put the service's key into SDCTL_TOKEN.") from None
    return keys[max(keys)] if keys else ""


def dashboard_token(cluster: Cluster, namespace: str, name: str) -> str:
    """The token of Ray's dashboard, from the Secret that the RayService names; empty when it asks for none."""
    rayservice = cluster.get(RAYSERVICES, name, namespace)
    auth = at(rayservice, "spec", "rayClusterConfig", "authOptions") or {}
    if auth.get("mode") != "token":
        return ""
    # Without a name KubeRay makes a Secret that is called as the RayCluster is.
    for secret in (auth["secretName"],) if auth.get("secretName") else ray_clusters(rayservice):
        if token := _secret(cluster, namespace, secret).get("auth_token"):
            return token
    return ""


def _secret(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    found = cluster.find(SECRETS, name, namespace)
    try:
        return {key: base64.b64decode(text).decode().strip() for key, text in (at(found, "data") or {}).items()}
    except (binascii.Error, UnicodeDecodeError):
        raise SdctlError(f"The Secret {name} holds something that is no text.", hint="`sdctl keys rotate`.") from None
