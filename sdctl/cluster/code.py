"""Bring the application's code onto Ray's public image: a ConfigMap named by its content, dependencies by pip."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdctl import __version__
from sdctl.cluster.resources import labels
from sdctl.errors import InvalidRequest, NotFound
from sdctl.manifest import Object, deployments, groups, head, ray_container, serve_config
from sdctl.manifest.change import generator, is_ours, set_image, write_serve_config

PLACEHOLDER = "sdctl"  # the image name in our manifests that nobody has pushed anywhere
MOUNT = "/opt/sdctl"
VOLUME = "serve-app"
MAX_BYTES = 1_000_000  # of the 1 MiB that etcd allows an object
SETUP_TIMEOUT_S = 3600
# What the application needs beyond Ray's image; the CUDA build of torch alone is about 3 GB to load and unpack.
FOR_ALL = ("pillow==13.0.0",)
FOR_GENERATOR = (
    "torch==2.13.0",
    "diffusers==0.42.1",
    "transformers==5.23.0",
    "accelerate==1.15.0",
    "safetensors==0.8.0",
    *FOR_ALL,
)


@dataclass(frozen=True)
class Code:
    """The files of the application, by path below the mount, and a hash of all of them."""

    files: dict[str, str]

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits that change with any file's name or content."""
        every = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            every.update(f"{path}\0{len(text)}\0{text}".encode())
        return every.hexdigest()[:10]


def uses_placeholder(rayservice: Object) -> bool:
    """Whether the manifest's image is the one that stands for "yours"."""
    return str(ray_container(head(rayservice)).get("image", "")).partition(":")[0] == PLACEHOLDER


def collect(package: Path | None = None) -> Code:
    """The Python files of serve_app, without weights and without what trains them."""
    folder = package or _installed()
    paths = sorted(path for path in folder.rglob("*.py") if "train" not in path.relative_to(folder).parts)
    code = Code({f"serve_app/{path.relative_to(folder).as_posix()}": path.read_text("utf-8") for path in paths})
    size = sum(len(text.encode()) for text in code.files.values())
    if size > MAX_BYTES:
        raise InvalidRequest(
            f"serve_app has {size} bytes of code; a ConfigMap holds {MAX_BYTES}.",
            hint="Build an image (docker build -t NAME .) and give --image NAME.",
        )
    return code


def _installed() -> Path:
    spec = importlib.util.find_spec("serve_app")
    if spec is None or not spec.submodule_search_locations:
        raise NotFound("The package serve_app is not installed.", hint="Install sdctl again, or give --image.")
    return Path(spec.submodule_search_locations[0])


def configmap(code: Code, name: str) -> Object:
    """An immutable ConfigMap with the code; its keys cannot hold `/`, so mounting maps them to paths."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-code-{code.digest}", "labels": labels(name)},
        "immutable": True,
        "data": {_key(path): text for path, text in sorted(code.files.items())},
    }


def _key(path: str) -> str:
    return path.replace("/", "--")


def onto_public_image(rayservice: Object, code: Code) -> list[str]:
    """Make the RayService run the code on Ray's public image; gives what this costs, for the user.

    Raises InvalidRequest for the built-in model, whose weights do not fit into a ConfigMap.
    """
    config = serve_config(rayservice)
    ours = [application for application in config["applications"] if is_ours(application)]
    _refuse_builtin(ours)
    gpus = bool((ray_container(groups(rayservice)[0]).get("resources") or {}).get("limits", {}).get("nvidia.com/gpu"))
    version = str(rayservice["spec"]["rayClusterConfig"].get("rayVersion", ""))
    image = f"rayproject/ray:{version}-py311-{'gpu' if gpus else 'cpu'}"
    set_image(rayservice, image)
    for application in ours:
        application["runtime_env"] = _environment(FOR_ALL)
        application.setdefault("args", {})["app_version"] = f"{__version__}+{code.digest}"
        for deployment in deployments(application):
            if deployment is generator(config):
                deployment.setdefault("ray_actor_options", {})["runtime_env"] = _environment(FOR_GENERATOR)
    write_serve_config(rayservice, config)
    for group in (head(rayservice), *groups(rayservice)):
        _mount(group, code, rayservice["metadata"]["name"])
    return [
        f"No --image: the code goes onto {image} by a ConfigMap, and every new node installs "
        f"{', '.join(item.partition('==')[0] for item in FOR_GENERATOR[:3])} first (with CUDA about 3 GB, some 5 to 10 "
        "minutes more on each cold start, while the node bills). An image built by the Dockerfile skips that."
    ]


def _refuse_builtin(applications: list[Object]) -> None:
    for application in applications:
        if str((application.get("args") or {}).get("model", "builtin:")).startswith("builtin:"):
            raise InvalidRequest(
                "The built-in model's weights do not fit into a ConfigMap, so it needs an image that holds them.",
                hint="docker build -t NAME . && sdctl deploy --image NAME, or choose --model.",
            )


def _environment(packages: tuple[str, ...]) -> Object:
    return {"pip": list(packages), "config": {"setup_timeout_seconds": SETUP_TIMEOUT_S}}


def _mount(group: Object, code: Code, name: str) -> None:
    container, spec = ray_container(group), group["template"]["spec"]
    items = [{"key": _key(path), "path": path} for path in sorted(code.files)]
    source = {"name": f"{name}-code-{code.digest}", "items": items}
    _put(spec, "volumes", {"name": VOLUME, "configMap": source})
    _put(container, "volumeMounts", {"name": VOLUME, "mountPath": MOUNT, "readOnly": True})
    _put(container, "env", {"name": "PYTHONPATH", "value": MOUNT})


def _put(holder: Object, field: str, entry: dict[str, Any]) -> None:
    """Add an entry to a list of named ones, in place of the one with its name."""
    kept = [item for item in holder.get(field) or [] if item.get("name") != entry["name"]]
    holder[field] = [*kept, entry]
