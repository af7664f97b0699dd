"""The Kubernetes target: a RayService in a namespace, reached through the API server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sdctl.errors import SdctlError
from sdctl.output import Output
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

if TYPE_CHECKING:
    from sdctl.cluster.client import Cluster
    from sdctl.cluster.deploy_plan import Plan
    from sdctl.cluster.snapshot import Snapshot


class KubernetesTarget:
    """A service on a cluster; every method speaks to the API server when called, none when constructed."""

    name = "kubernetes"

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._planned: tuple[DeploySpec, Plan] | None = None
        self._changes: list[str] | None = None
        self._seen: Snapshot | None = None
        self.keep_namespace = False
        self.report: Callable[[tuple[Step, ...]], None] = lambda _: None

    @cached_property
    def cluster(self) -> "Cluster":
        """The cluster and the service on it; found when first needed, since rendering a manifest needs none."""
        from sdctl.cluster.client import connect

        return connect(self._selection)

    def notes(self, spec: DeploySpec) -> tuple[str, ...]:
        """Warnings about the manifest, and what the deployment means for what runs."""
        return self._plan(spec).notes

    def rendered(self, spec: DeploySpec, *, server: bool) -> tuple[dict[str, Any], ...]:
        """The objects in the order of application; without `server`, no server is asked anything."""
        from sdctl.cluster import apply, deploy
        from sdctl.cluster.deploy_plan import plan
        from sdctl.manifest.text import masked

        if not server:
            return tuple(masked(document) for document in plan(spec, self._selection).documents)
        planned = self._plan(spec)
        return tuple(apply.asked_server(deploy.placed(self.cluster, planned), planned))

    def difference(self, spec: DeploySpec) -> str:
        """Live objects against what the server would make of the manifest."""
        from sdctl.cluster import apply, deploy

        planned = self._plan(spec)
        return apply.difference(deploy.placed(self.cluster, planned), planned)

    def deploy(self, spec: DeploySpec) -> None:
        """Check and apply the manifest; from then on this target is about the service that it names."""
        from sdctl import state
        from sdctl.cluster import deploy

        planned = self._plan(spec)
        self._changes = deploy.deploy(self.cluster, planned, spec.apply, self.report)
        self.cluster = deploy.placed(self.cluster, planned)
        state.write(
            "kubernetes.json", {"host": self.cluster.host, "namespace": planned.namespace, "name": planned.name}
        )

    def _plan(self, spec: DeploySpec) -> "Plan":
        from sdctl.cluster.deploy import prepare

        if self._planned is None or self._planned[0] != spec:
            self._planned = (spec, prepare(self.cluster, spec, self._selection))
        return self._planned[1]

    def suspend(self, suspended: bool) -> None:
        """Delete the pods and keep the object, or bring the pods back."""
        from sdctl.cluster.suspend import suspend

        suspend(self.cluster, suspended)

    def keys(self) -> dict[str, str]:
        """The API keys of the service, read from its Secret."""
        from sdctl.cluster.secrets import keys

        return keys(self.cluster)

    def rotate_key(self, *, drop_old: bool, timeout_s: float) -> str:
        """A new API key, taken into use once the service accepts it."""
        from sdctl.cluster.rotation import rotate

        return rotate(self.cluster, drop_old=drop_old, timeout_s=timeout_s)

    def wait_ready(self, timeout_s: float) -> Iterator[tuple[Step, ...]]:
        """Stages until an image came back; raises with the cause when it cannot work."""
        from sdctl.cluster.rollout import wait_ready

        return wait_ready(self.cluster, timeout_s)

    def status(self) -> ServiceStatus:
        """One snapshot, explained; with the one before it, pods that came and went are noticed."""
        from sdctl.cluster.snapshot import take
        from sdctl.cluster.status import of_snapshot

        self._seen = take(self.cluster, self.cluster.namespace, self.cluster.name, earlier=self._seen)
        seen = of_snapshot(self.cluster, self._seen)
        if self._changes is None:
            return seen
        return replace(seen, details={**seen.details, "changes": self._changes or ["nothing changed"]})

    def endpoint(self) -> AbstractContextManager[Endpoint]:
        """The service through the API server's port-forward; waiting and reconnecting are told on stderr."""
        from sdctl.cluster.forward import serve_endpoint

        listen = Listen(token=self._token(), notify=Output().info)
        return serve_endpoint(self.cluster, self.cluster.namespace, self.cluster.name, listen)

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
        from sdctl.cluster.doctor import doctor, extras

        try:
            cluster = self.cluster
        except SdctlError as error:
            return iter((*extras(), Finding("fail", "kubeconfig", error.message, error.hint)))
        return doctor(cluster, cluster.namespace, cluster.name)

    def evidence(self) -> Iterator[tuple[str, str]]:
        """Objects, events and the operator's log."""
        from sdctl.cluster.bundle import evidence

        return evidence(self.cluster, self.cluster.namespace, self.cluster.name)

    def secret_values(self) -> Iterator[str]:
        """The values of the service's Secrets."""
        from sdctl.cluster.bundle import secret_values

        return secret_values(self.cluster, self.cluster.namespace, self.cluster.name)
