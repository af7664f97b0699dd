"""What the tests of deploying share: command lines run in this process, against the test's API server."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sdctl import cli, manifest
from tests.cluster.control_plane import ControlPlane

NAME = "stable-diffusion"
CPU = str(manifest.packaged(manifest.CPU))
# No node of ours is lost in a swap of the tests, and the old cluster need not stay for minutes.
QUICK = ("--set", "spec.rayClusterDeletionDelaySeconds=151", "--timeout", "240s")


@dataclass(frozen=True)
class Ran:
    """What one command line gave."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


class Operator:
    """Somebody at a command line, with a kubeconfig, a namespace and a state folder of their own."""

    def __init__(self, control_plane: ControlPlane, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self._capsys = capsys

    def run(self, *words: str, user: str = "admin", namespace: str = "") -> Ran:
        """Run `sdctl WORDS…` for this namespace."""
        kubeconfig = str(self.control_plane.kubeconfig(user))
        where = ("--target", "kubernetes", "--namespace", namespace or self.namespace, "--kubeconfig", kubeconfig)
        self._capsys.readouterr()
        code = cli.run([*words, *where])
        told = self._capsys.readouterr()
        return Ran(code, told.out, told.err)

    def deploy(self, *words: str, file: str = CPU, image: str = "sd:1") -> Ran:
        """`sdctl deploy` of the CPU manifest."""
        return self.run("deploy", "-f", file, "--image", image, *QUICK, *words)


@pytest.fixture
def operator(
    control_plane: ControlPlane,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Operator:
    """Somebody at a command line."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SDCTL_TOKEN", raising=False)
    return Operator(control_plane, namespace, capsys)
