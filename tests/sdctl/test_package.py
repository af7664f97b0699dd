"""The wheel and the source archive: what is in them, and that an installed wheel works outside the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from tests.fakes.http_service import http_service

pytestmark = pytest.mark.wire

CHECKOUT = Path(__file__).parents[2]
HEAVY = {"torch", "ray", "diffusers", "transformers", "accelerate"}


@dataclass(frozen=True)
class Archives:
    """What one build made."""

    wheel: Path
    source: Path


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and a folder to work in."""

    sdctl: Path
    home: Path

    def run(self, *arguments: str, timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run its `sdctl` as a user would, with nothing of this process's environment but the path."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state")}
        return subprocess.run(
            [self.sdctl, *arguments],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """The source archive, and the wheel built from it: whatever the archive lacks, the wheel lacks too."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Archives(wheel, source)


def environment(folder: Path, wheel: Path, others: Path) -> Installed:
    """A new environment with the wheel installed in it; its dependencies are those in `others`."""
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # A path in a .pth file is searched, but the .pth files in it are not read: the editable checkout stays out.
    (folder / "venv" / "lib" / version / "site-packages" / "others.pth").write_text(f"{others}\n")
    (folder / "home").mkdir()
    return Installed(folder / "venv" / "bin" / "sdctl", folder / "home")


def closure(distribution_: Distribution, extras: set[str]) -> Iterator[Distribution]:
    """The distributions that one needs, with these extras of it, each once."""
    todo, seen = [(distribution_, extras)], set()
    while todo:
        found, wanted = todo.pop()
        for line in found.requires or []:
            need = Requirement(line)
            if need.marker is not None and not any(need.marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                continue
            if need.name.lower() not in seen:
                seen.add(need.name.lower())
                needed = distribution(need.name)
                yield needed
                todo.append((needed, set(need.extras)))


def test_both_archives_carry_the_manifests_the_load_tests_and_the_model(archives: Archives) -> None:
    with zipfile.ZipFile(archives.wheel) as wheel:
        in_wheel = set(wheel.namelist())
    with tarfile.open(archives.source) as source:
        in_source = {name.partition("/")[2] for name in source.getnames()}
    both = {"loadtests/locustfile.py", "loadtests/prompts.txt", "serve_app/app.py", "sdctl/cli.py"}
    both |= {f"serve_app/models/shapes/{name}" for name in ("model_index.json", "service.json", "README.md")}
    assert both | {"sdctl/manifests/rayservice.yaml", "sdctl/manifests/rayservice.cpu.yaml"} <= in_wheel
    assert both | {"manifests/rayservice.yaml", "manifests/rayservice.cpu.yaml", "Makefile", "LICENSE"} <= in_source
    assert any(name.endswith(".safetensors") for name in in_wheel & in_source)
    assert not any(name.startswith("tests/") for name in in_wheel)


def test_the_installed_command_needs_only_light_packages(archives: Archives, tmp_path: Path) -> None:
    light = tmp_path / "light"
    light.mkdir()
    names = set()
    for needed in closure(distribution("sdctl"), set()):
        names.add(needed.name.lower())
        for top in {file.parts[0] for file in needed.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (light / top).exists():
                (light / top).symlink_to(Path(str(needed.locate_file(top))))
    assert names & HEAVY == set()
    installed = environment(tmp_path, archives.wheel, light)
    assert installed.run("--version").stdout.startswith("sdctl ")
    assert "imagine" in installed.run("--help").stdout
    with http_service() as service:
        done = installed.run("imagine", "sun", "--target", service.url, "-o", "sun.png", "--seed", "1")
    assert done.returncode == 0, done.stderr
    lacking = installed.run("deploy", "--local", "--json")
    assert lacking.returncode != 0
    assert "sdctl[serve]" in json.loads(lacking.stdout)["error"]["hint"]


@pytest.mark.ray
def test_the_main_job_from_an_installed_wheel(archives: Archives, tmp_path: Path) -> None:
    installed = environment(tmp_path, archives.wheel, Path(sysconfig.get_paths()["purelib"]))
    try:
        deployed = installed.run("deploy", "--local", "--timeout", "200s", "--json", timeout_s=240)
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        made = installed.run("imagine", "a red circle on a blue background", "--local", "-o", "out.png", "--seed", "7")
        assert made.returncode == 0, made.stderr
    finally:
        cleaned = installed.run("cleanup", "--local", "--yes", timeout_s=120)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    with Image.open(installed.home / "out.png") as image:
        red, _, blue = image.convert("RGB").resize((1, 1), box=(0, 0, 8, 8)).tobytes()
    assert blue > red
