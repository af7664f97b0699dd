"""What the checks look at: the RayService, its Serve config, and the lines of both."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from sdctl.errors import InvalidRequest
from sdctl.manifest import Manifest, Object, deployments, groups, head, ray_container, serve_config
from sdctl.manifest.lines import Lines, Path
from sdctl.targets.base import Finding

SERVE: Path = ("spec", "serveConfigV2")
CLUSTER: Path = ("spec", "rayClusterConfig")
HEAD: Path = (*CLUSTER, "headGroupSpec")
DEFAULT_GRACEFUL_SHUTDOWN_S = 20.0  # Serve's
DEFAULT_POD_GRACE_S = 30.0  # Kubernetes'


class Subject:
    """A manifest, taken apart once; all properties are safe on nonsense."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.rayservice: Object = manifest.rayservice
        self.metadata = mapping(self.rayservice.get("metadata"))
        self.spec = mapping(self.rayservice.get("spec"))
        self.cluster = mapping(self.spec.get("rayClusterConfig"))
        self.head = mapping(head({"spec": {"rayClusterConfig": self.cluster}}))
        self.groups = groups({"spec": {"rayClusterConfig": self.cluster}})
        self.annotations = mapping(self.metadata.get("annotations"))

    @cached_property
    def lines(self) -> Lines:
        """Where things are in the text."""
        return Lines(self.manifest)

    @cached_property
    def config(self) -> Object:
        """The Serve config; without applications where it cannot be read."""
        try:
            return serve_config(self.rayservice, self.manifest.path)
        except InvalidRequest:
            return {"applications": []}

    def unreadable(self) -> Iterator[Finding]:
        """The finding for a Serve config that cannot be read."""
        try:
            serve_config(self.rayservice, self.manifest.path)
        except InvalidRequest as error:
            yield self.fail("spec.serveConfigV2", error.message, error.hint, *SERVE)

    @property
    def applications(self) -> list[tuple[Path, Object]]:
        """The Serve applications and their paths."""
        return [((*SERVE, "applications", index), one) for index, one in enumerate(self.config["applications"])]

    @property
    def deployments(self) -> list[tuple[Path, Object]]:
        """All Serve deployments and their paths."""
        return [
            ((*path, "deployments", index), deployment)
            for path, application in self.applications
            for index, deployment in enumerate(deployments(application))
        ]

    @property
    def pod_groups(self) -> list[tuple[Path, Object]]:
        """Head and worker groups and their paths, head first."""
        workers = [((*CLUSTER, "workerGroupSpecs", index), group) for index, group in enumerate(self.groups)]
        return [(HEAD, self.head), *workers]

    @property
    def images(self) -> list[tuple[Path, str]]:
        """The Ray containers' images and their paths."""
        return [
            ((*path, "template", "spec", "containers", 0, "image"), str(ray_container(group).get("image", "")))
            for path, group in self.pod_groups
        ]

    def fail(self, what: str, why: str, fix: str, *path: str | int) -> Finding:
        """A finding that stops the deployment."""
        return Finding("fail", what, why, fix, self.lines.of(*path))

    def warn(self, what: str, why: str, fix: str, *path: str | int) -> Finding:
        """A finding to look at."""
        return Finding("warn", what, why, fix, self.lines.of(*path))


def mapping(value: Any) -> Object:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """The value as a number, None where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def label(deployment: Object) -> str:
    """What messages call a deployment."""
    return f"deployment {deployment.get('name', '?')}"
