"""What a target offers that can tell what a deployment would do before it does it."""

from typing import Any, Protocol, runtime_checkable

from sdctl.targets.base import DeploySpec


@runtime_checkable
class Plans(Protocol):
    """A target whose deployment is prepared, shown and compared before it is carried out."""

    def notes(self, spec: DeploySpec) -> tuple[str, ...]:
        """What the user should know before `deploy`; raises what keeps it from working."""

    def rendered(self, spec: DeploySpec, *, server: bool) -> tuple[dict[str, Any], ...]:
        """The objects that would be applied, secrets masked; with `server`, as the server would keep them."""

    def difference(self, spec: DeploySpec) -> str:
        """A unified diff between what is there and what would be; empty where nothing would change."""


@runtime_checkable
class Suspends(Protocol):
    """A target that can stop a service and its costs, and keep its object."""

    def suspend(self, suspended: bool) -> None:
        """Ask for it; raises NotFound, NotAllowed, and SdctlError where the cluster cannot do it."""


@runtime_checkable
class HasKeys(Protocol):
    """A target that keeps the service's API keys."""

    def keys(self) -> dict[str, str]:
        """The keys by name; the last one is the one that sdctl sends."""

    def rotate_key(self, *, drop_old: bool, timeout_s: float) -> str:
        """Make a new key, wait until the service accepts it, let clients take it; gives its name."""
