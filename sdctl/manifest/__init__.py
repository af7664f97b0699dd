"""Load and read a RayService manifest, as data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sdctl.errors import InvalidRequest, NotFound

GPU = "rayservice.yaml"
CPU = "rayservice.cpu.yaml"
Object = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """The documents of one manifest file; `path` is what messages call it, `text` what findings count lines in."""

    path: str
    documents: tuple[Object, ...]
    text: str = ""

    @property
    def rayservice(self) -> Object:
        """The one RayService in it; raises InvalidRequest when there is none or more than one."""
        found = [document for document in self.documents if document.get("kind") == "RayService"]
        if len(found) != 1:
            raise InvalidRequest(
                f"{self.path} has {len(found)} RayServices{self._kinds()}.",
                hint="A manifest for sdctl has exactly one RayService (manifests/rayservice.yaml is one).",
            )
        return found[0]

    @property
    def serve_config(self) -> Object:
        """The parsed `serveConfigV2`: the applications that Ray Serve runs."""
        return serve_config(self.rayservice, self.path)

    def _kinds(self) -> str:
        kinds = sorted({str(document.get("kind", "an object without kind")) for document in self.documents})
        return f" (only {', '.join(kinds)})" if kinds else ""


def serve_config(rayservice: Object, path: str = "the RayService") -> Object:
    """The parsed `serveConfigV2` of a RayService; raises InvalidRequest where it is none."""
    text = (rayservice.get("spec") or {}).get("serveConfigV2", "")
    try:
        config = yaml.safe_load(text) if isinstance(text, str) else None
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{path}: serveConfigV2 is not YAML: {error}", hint="Mend it.") from None
    applications = config.get("applications") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(applications, list) or not applications:
        raise InvalidRequest(f"{path}: serveConfigV2 names no applications.", hint="See manifests/rayservice.yaml.")
    if not all(isinstance(application, dict) for application in applications):
        raise InvalidRequest(f"{path}: an application in serveConfigV2 is no mapping.", hint="Mend it.")
    return config


def deployments(application: Object) -> list[Object]:
    """The deployments that an application of a Serve config lists."""
    listed = application.get("deployments") or []
    return [deployment for deployment in listed if isinstance(deployment, dict)]


def groups(rayservice: Object) -> list[Object]:
    """The worker groups of a RayService."""
    cluster = (rayservice.get("spec") or {}).get("rayClusterConfig") or {}
    return [group for group in cluster.get("workerGroupSpecs") or [] if isinstance(group, dict)]


def head(rayservice: Object) -> Object:
    """The head group of a RayService."""
    cluster = (rayservice.get("spec") or {}).get("rayClusterConfig") or {}
    return cluster.get("headGroupSpec") or {}


def ray_container(group: Object) -> Object:
    """The Ray container of a group: KubeRay takes the first."""
    containers = ((group.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    return containers[0] if isinstance(containers[0], dict) else {}


def packaged(name: str) -> Path:
    """The path of a manifest that ships with sdctl, in a wheel and in a checkout."""
    package = Path(__file__).parent.parent
    folder = package / "manifests"
    return (folder if folder.is_dir() else package.parent / "manifests") / name


def load(path: str | Path) -> Manifest:
    """Read a manifest file; raises NotFound or InvalidRequest with the place of the fault."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(f"The manifest {path} cannot be read: {error.strerror}.", hint="Check -f.") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is no text file.", hint="Check -f.") from None
    return parse(text, str(path))


def parse(text: str, path: str) -> Manifest:
    """A manifest from its text; raises InvalidRequest with the place of the fault."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{path} is not YAML: {error}", hint="Mend the line it names.") from None
    if not all(isinstance(document, dict) for document in documents):
        raise InvalidRequest(f"{path} holds something that is no Kubernetes object.", hint="Mend it.")
    return Manifest(path, tuple(documents), text)
