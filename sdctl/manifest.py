"""Load, read and change a RayService manifest, as data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sdctl.errors import InvalidRequest, NotFound

GPU = "rayservice.yaml"
CPU = "rayservice.cpu.yaml"


@dataclass(frozen=True)
class Manifest:
    """The documents of one manifest file; `path` is what messages call it."""

    path: str
    documents: tuple[dict[str, Any], ...]

    @property
    def rayservice(self) -> dict[str, Any]:
        """The one RayService in it; raises InvalidRequest when there is none or more than one."""
        found = [document for document in self.documents if document.get("kind") == "RayService"]
        if len(found) != 1:
            raise InvalidRequest(
                f"{self.path} has {len(found)} RayServices.", hint="A manifest for sdctl has exactly one RayService."
            )
        return found[0]

    @property
    def serve_config(self) -> dict[str, Any]:
        """The parsed `serveConfigV2`: the applications that Ray Serve runs."""
        text = self.rayservice.get("spec", {}).get("serveConfigV2", "")
        try:
            config = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidRequest(f"{self.path}: serveConfigV2 is not YAML: {error}", hint="Mend it.") from None
        if not isinstance(config, dict) or not config.get("applications"):
            raise InvalidRequest(f"{self.path}: serveConfigV2 names no applications.", hint="See manifests/.")
        return config


def packaged(name: str) -> Path:
    """The path of a manifest that ships with sdctl, in a wheel and in a checkout."""
    here = Path(__file__).parent
    folder = here / "manifests"
    return (folder if folder.is_dir() else here.parent / "manifests") / name


def load(path: str | Path) -> Manifest:
    """Read a manifest file; raises NotFound or InvalidRequest with the place of the fault."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(f"The manifest {path} cannot be read: {error.strerror}.", hint="Check -f.") from None
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{path} is not YAML: {error}", hint="Mend the line it names.") from None
    if not all(isinstance(document, dict) for document in documents):
        raise InvalidRequest(f"{path} holds something that is no Kubernetes object.", hint="Mend it.")
    return Manifest(str(path), tuple(documents))
