"""Opens the WebSocket to a pod's port through the API server, again and again while that may help."""

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sdctl.cluster.client import Cluster
from sdctl.cluster.pods import PodPort, Route
from sdctl.cluster.refusals import KIND_MISSING, Attempt, refusal, unreachable
from sdctl.cluster.resources import PODS
from sdctl.cluster.tunnel_frames import SUBPROTOCOL
from sdctl.errors import InvalidRequest, NotAllowed, NotFound, SdctlError, Unreachable
from sdctl.retry import Again, Clock, Policy, retry

HANDSHAKE_S = 30.0
# The longest wait is what a new pod may stay unnoticed for, so it is short.
BACK_OFF = Policy(first_s=0.25, longest_s=1.5, patience_s=float("inf"))
HANDSHAKES_AT_ONCE = 32
FINAL = (NotAllowed, NotFound, InvalidRequest)  # another try would end the same
# An API server that starts knows neither rights nor custom resources for a moment: what worked before is tried on.
SETTLE_S = 30.0


class Abandoned(SdctlError):
    """Nobody waits for this connection any more."""


@dataclass(frozen=True)
class Link:
    """A WebSocket that leads to a pod: its socket after the handshake, owned by whoever has it."""

    socket: socket.socket
    pod: PodPort


class Dialer:
    """Connects to the pod whose turn it is; says once when that stops working, and once when it works again."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        route: Route,
        *,
        notify: Callable[[str], None],
        patience_s: float,
    ) -> None:
        """`notify` is called from any thread; `patience_s` is how long one connection is tried for."""
        self._cluster, self._namespace, self._route = cluster, namespace, route
        self._notify = notify
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._down = False
        self._worked = False
        self._refused_since: float | None = None
        self._stopped = threading.Event()
        self._handshakes = threading.BoundedSemaphore(HANDSHAKES_AT_ONCE)

    def connect(self, wanted: Callable[[], bool]) -> Link:
        """A link for one connection, tried while `wanted()`; raises NotAllowed and NotFound at once, others late."""
        clock = Clock(sleep=self._sleep)
        link = retry(lambda _: self._try(wanted), timeout_s=self._patience_s, policy=BACK_OFF, clock=clock)
        self._recovered(link.pod)
        return link

    def lost(self, pod: PodPort, why: str) -> None:
        """A connection that had worked broke."""
        self._route.forget()
        self._report(f"{pod}: {why}")

    def stop(self) -> None:
        """Give up all attempts."""
        self._stopped.set()

    def _try(self, wanted: Callable[[], bool]) -> Link:
        if self._stopped.is_set() or not wanted():
            raise Abandoned("The connection was given up.")
        try:
            pod = self._route.next()
            with self._handshakes:
                return Link(handshake(self._cluster, self._namespace, pod), pod)
        except SdctlError as error:
            if isinstance(error, FINAL) and self._is_final(error):
                raise
            self._route.forget()
            self._report(error.message)
            raise Again(error, reason=error.message) from None

    def _is_final(self, error: SdctlError) -> bool:
        """Whether a refusal is to be believed: where it may be of a server that starts, only once it has lasted."""
        if isinstance(error, NotFound) and error.code != KIND_MISSING:
            return True
        with self._lock:
            if self._refused_since is None:
                self._refused_since = time.monotonic()
            return not self._worked or time.monotonic() - self._refused_since >= SETTLE_S

    def _sleep(self, wait_s: float) -> None:
        self._stopped.wait(wait_s)

    def _report(self, why: str) -> None:
        with self._lock:
            first, self._down = not self._down, True
        if first:
            self._notify(f"Reconnecting: {why}")

    def _recovered(self, pod: PodPort) -> None:
        with self._lock:
            was_down, self._down = self._down, False
            self._worked, self._refused_since = True, None
        if was_down:
            self._notify(f"Connected again, to {pod}.")


def handshake(cluster: Cluster, namespace: str, pod: PodPort) -> socket.socket:
    """The socket of a WebSocket to the pod's port, with the kubeconfig's credentials, proxy and authorities.

    Raises NotAllowed for 401 and 403 (a port-forward needs the verbs get and create), else Unreachable.
    """
    from kubernetes.stream.ws_client import create_websocket, get_websocket_url
    from websocket import WebSocketBadStatusException, WebSocketException

    _limit_handshakes()
    attempt = Attempt("GET", PODS, namespace, pod.pod, "portforward")
    path = PODS.path(namespace, pod.pod, "portforward")
    _, url, headers, _, _ = cluster.api.param_serialize(
        "GET", path, {}, [("ports", str(pod.number))], {}, auth_settings=["BearerToken"]
    )
    try:
        websocket = create_websocket(
            cluster.api.configuration, get_websocket_url(url), {**headers, "sec-websocket-protocol": SUBPROTOCOL}
        )
    except WebSocketBadStatusException as error:
        raise _refused(error.status_code, (error.resp_body or b"").decode(errors="replace"), attempt) from None
    except (WebSocketException, OSError, ValueError) as error:
        raise unreachable(cluster.host, error) from None
    opened = websocket.sock
    if not isinstance(opened, socket.socket):
        raise Unreachable(f"The tunnel to {pod} closed at once.")
    return opened


@cache
def _limit_handshakes() -> None:
    """The client's WebSockets take no time-out of their own; ours no longer block once they are open."""
    from websocket import setdefaulttimeout

    setdefaulttimeout(HANDSHAKE_S)


def _refused(status: int, body: str, attempt: Attempt) -> SdctlError:
    if status in (401, 403):
        refused = refusal(status, body, attempt)
        if status == 403:
            refused.hint = "Ask for the verbs `get` and `create` on `pods/portforward`; manifests/rbac.yaml has them."
        return refused
    # A pod that is gone is no reason to stop: the next one is looked for.
    return Unreachable(f"The tunnel to pod {attempt.name} was refused (HTTP {status}): {_message(body)}")


def _message(body: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.strip()[:200] or "no reason given"
