"""The Kubernetes target: a RayService in a namespace, reached through the API server."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from sdctl.targets.base import (
    DeploySpec,
    Endpoint,
    Finding,
    Leftover,
    LogLine,
    LogQuery,
    Selection,
    ServiceStatus,
    Step,
)
from sdctl.targets.forwarding import Forward, Listen
from sdctl.targets.url import authorization


class KubernetesTarget:
    """A service on a cluster; every method speaks to the API server when called, none when constructed."""

    name = "kubernetes"

    def __init__(self, selection: Selection) -> None:
        from sdctl.cluster.client import connect

        self.cluster = connect(selection)
        self._selection = selection
        self.keep_namespace = False

    def deploy(self, spec: DeploySpec) -> None:
        """Check and apply the manifest."""
        from sdctl.cluster.deploy import deploy

        deploy(self.cluster, spec)

    def wait_ready(self, timeout_s: float) -> Iterator[tuple[Step, ...]]:
        """Stages until an image came back; raises with the cause when it cannot work."""
        from sdctl.cluster.rollout import wait_ready

        return wait_ready(self.cluster, timeout_s)

    def status(self) -> ServiceStatus:
        """One snapshot, explained."""
        from sdctl.cluster.status import status

        return status(self.cluster, self.cluster.namespace, self.cluster.name)

    def endpoint(self) -> AbstractContextManager[Endpoint]:
        """The service through the API server's port-forward."""
        from sdctl.cluster.forward import serve_endpoint

        return serve_endpoint(self.cluster, self.cluster.namespace, self.cluster.name, Listen(token=self._token()))

    def dashboard(self) -> AbstractContextManager[Endpoint]:
        """Ray's dashboard through the API server's port-forward."""
        from sdctl.cluster.forward import dashboard_endpoint

        return dashboard_endpoint(self.cluster, self.cluster.namespace, self.cluster.name)

    def forward(self, what: str, listen: Listen) -> AbstractContextManager[Forward]:
        """`serve` or `dashboard` at a chosen local port."""
        from sdctl.cluster.forward import forward

        listen = replace(listen, token=self._token())
        return forward(self.cluster, self.cluster.namespace, self.cluster.name, what, listen)

    def _token(self) -> str:
        """The key that the user gave; empty where it is to be read from its Secret."""
        return authorization(self._selection.token_file).get("Authorization", "").removeprefix("Bearer ")

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        """Logs of all pods of the service."""
        from sdctl.cluster.logs import logs

        return logs(self.cluster, self.cluster.namespace, self.cluster.name, query)

    def cleanup(self) -> Iterator[tuple[Leftover, ...]]:
        """Delete what sdctl made and wait for it to be gone."""
        from sdctl.cluster.cleanup import cleanup

        return cleanup(self.cluster, self.cluster.namespace, self.cluster.name, keep_namespace=self.keep_namespace)

    def doctor(self) -> Iterator[Finding]:
        """What the cluster, and this user's rights on it, need and lack."""
        from sdctl.cluster.doctor import doctor

        return doctor(self.cluster, self.cluster.namespace, self.cluster.name)
