"""Installs the custom resource definitions of KubeRay and Karpenter, relaxed where the server is too old."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.control_plane.plane import ControlPlane, Refused

FIRST_WITH_CEL = (1, 25)
ESTABLISHED_S = 120.0
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def folder() -> Path:
    """Where the definitions are: SDCTL_TEST_CRDS, else `shared/crds` beside the checkout."""
    given = os.environ.get("SDCTL_TEST_CRDS", "")
    return Path(given) if given else Path(__file__).parents[4] / "shared" / "crds"


def load() -> list[dict[str, Any]]:
    """Every definition of the folder; raises FileNotFoundError where there is none."""
    files = sorted(folder().glob("*.yaml"))
    if not files:
        raise FileNotFoundError(f"No custom resource definitions in {folder()}: set SDCTL_TEST_CRDS.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for file in files for document in yaml.load_all(file.read_bytes(), Loader=loader) if document]


def install(control_plane: ControlPlane, definitions: Sequence[dict[str, Any]]) -> None:
    """Create them and wait until the server serves them."""
    version = control_plane.request("GET", "/version")
    old = (int(version["major"]), int(version["minor"].rstrip("+"))) < FIRST_WITH_CEL
    for definition in definitions:
        control_plane.request("POST", PATH, relaxed(definition) if old else definition)
    deadline = time.monotonic() + ESTABLISHED_S
    while not all(_served(control_plane, definition["spec"]) for definition in definitions):
        if time.monotonic() > deadline:
            raise TimeoutError("The custom resource definitions are not served.")
        time.sleep(0.05)


def relaxed(schema: Any) -> Any:
    """The schema without what Kubernetes 1.20 does not know or take: CEL rules, empty defaults, optional map keys."""
    if isinstance(schema, list):
        return [relaxed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: relaxed(value) for key, value in schema.items() if key != "x-kubernetes-validations"}
    if result.get("default") == "":
        del result["default"]
    if keys := result.get("x-kubernetes-list-map-keys"):
        items = result["items"]
        known = items.get("properties", {})
        needed = [key for key in keys if "default" not in known.get(key, {})]
        items["required"] = sorted({*items.get("required", []), *needed})
    return result


def _served(control_plane: ControlPlane, spec: dict[str, Any]) -> bool:
    try:
        listed = [
            control_plane.request("GET", f"/apis/{spec['group']}/{version['name']}")["resources"]
            for version in spec["versions"]
            if version["served"]
        ]
    except Refused:
        return False
    return all(spec["names"]["plural"] in {resource["name"] for resource in resources} for resources in listed)
