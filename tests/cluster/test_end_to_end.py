"""The whole way as a user goes it: real API server, real Rays behind its port-forward, the built-in model."""

import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serve_app.hub import BUILTIN_FOLDER
from tests.cluster.deploying import CPU, NAME, Operator, operator
from tests.cluster.real_ray import behind, secret
from tests.cluster.standins.platform import Platform

__all__ = ["operator"]
pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.timeout(1800)]

PROMPT, SEED = "a red circle on a blue background", 7
DEADLINE_S = 600.0  # for what takes seconds on an idle machine
# Above the longest image, as the manifest's checks want it; the stand-in waits less.
DEPLOY = ("--image", "sd:1", "--replicas", "1", "--timeout", f"{DEADLINE_S:.0f}s")


@pytest.fixture
def manifest(tmp_path: Path, platform: Platform) -> Path:
    """The CPU manifest with its keys in a folder of the test; a real Ray stands behind each head pod."""
    keys = tmp_path / "keys"
    keys.mkdir()
    platform.backend = behind(platform, NAME, keys)
    platform.scenario.deletion_delay_s = 5.0
    path = tmp_path / "rayservice.yaml"
    path.write_text(Path(CPU).read_text().replace("/etc/sdctl/keys", str(keys)))
    return path


def child(operator: Operator, *words: str) -> "subprocess.Popen[str]":
    """`sdctl WORDS…` as a process of its own."""
    where = ("--target", "kubernetes", "--namespace", operator.namespace, "--name", NAME)
    command = [sys.executable, "-m", "sdctl", *words, *where]
    kubeconfig = ("--kubeconfig", str(operator.control_plane.kubeconfig()))
    return subprocess.Popen([*command, *kubeconfig], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def imagine(operator: Operator, path: Path) -> dict[str, Any]:
    """The image's entry in what `sdctl imagine --json` prints."""
    words = ("--output", str(path), "--seed", str(SEED), "--timeout", f"{DEADLINE_S:.0f}s", "--json")
    with child(operator, "imagine", PROMPT, *words) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, f"{out}\n{err}"
    [image] = json.loads(out)["images"]
    assert isinstance(image, dict)
    return image


def bare_picture() -> Any:
    """What diffusers alone draws from the built-in model's folder."""
    from diffusers import DiffusionPipeline
    from torch import Generator

    card = json.loads((BUILTIN_FOLDER / "service.json").read_text())
    pipe = DiffusionPipeline.from_pretrained(BUILTIN_FOLDER)
    pipe.set_progress_bar_config(disable=True)
    width, height = card["default_size"]
    drawn = pipe(
        PROMPT,
        width=width,
        height=height,
        num_inference_steps=card["default_steps"],
        guidance_scale=card["default_guidance"],
        generator=Generator().manual_seed(SEED),
    )
    return np.asarray(drawn.images[0]).astype(int)


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).astype(int)


@contextmanager
def images_all_the_time(operator: Operator, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """One image after the other while the block runs; each must be made."""
    stop, made = threading.Event(), list[dict[str, Any]]()

    def loop() -> None:
        while not stop.is_set():
            made.append(imagine(operator, folder / f"{len(made)}.png"))

    with ThreadPoolExecutor(1) as pool:
        looping = pool.submit(loop)
        try:
            yield made
        finally:
            stop.set()
        looping.result()


def open_dashboard(operator: Operator) -> tuple["subprocess.Popen[str]", dict[str, Any]]:
    """`sdctl dashboard`, and what it printed once it was open."""
    process = child(operator, "dashboard", "--no-browser", "--local-port", "0", "--json")
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()
        text += line
    return process, json.loads(text)


def test_from_nothing_to_images_through_a_swap_to_nothing(
    operator: Operator, platform: Platform, manifest: Path, tmp_path: Path
) -> None:
    doctor = operator.run("doctor", "--json")
    [fault] = [finding for finding in doctor.document["findings"] if finding["level"] == "fail"]
    assert "no NodePool" in fault["detail"]
    assert "-f manifests/rayservice.cpu.yaml" in fault["fix"]

    deployed = operator.run("deploy", "-f", str(manifest), *DEPLOY)
    assert deployed.code == 0, deployed.err
    status = operator.run("status", "--name", NAME, "--json").document
    assert (status["state"], status["replicas"]["running"]) == ("ready", 1)

    first = tmp_path / "first.png"
    before = imagine(operator, first)
    assert np.abs(pixels(first) - bare_picture()).max() <= 1

    [old] = platform.list("rayclusters")
    with images_all_the_time(operator, tmp_path) as made:
        platform.until(lambda: made, "no image before the change", timeout_s=DEADLINE_S)
        changed = operator.run("deploy", "-f", str(manifest), *DEPLOY, "--image", "sd:2")
        assert changed.code == 0, changed.err
        platform.until(lambda: _gone(platform, old), "the old cluster stays", timeout_s=DEADLINE_S)
        count = len(made)
        platform.until(lambda: len(made) > count + 1, "no image after the swap", timeout_s=DEADLINE_S)
    replicas = [image["receipt"]["replica"] for image in made]
    assert replicas[0] == before["receipt"]["replica"] != replicas[-1]
    assert all(np.abs(pixels(path) - pixels(first)).max() <= 1 for path in tmp_path.glob("[0-9]*.png"))

    [head] = platform.list("pods", "ray.io/node-type=head")
    platform.kubelet.log(head["metadata"]["name"], "ray-head", "hello from the head")
    logs = operator.run("logs", "--name", NAME)
    assert logs.code == 0, logs.err
    assert "hello from the head" in logs.out

    process, told = open_dashboard(operator)
    with process:
        assert told["token"] == secret(platform, f"{NAME}-dashboard-token")["auth_token"]
        url = f"{told['url']}/api/serve/applications/"
        assert httpx.get(url, timeout=DEADLINE_S, trust_env=False).status_code == 401
        allowed = httpx.get(
            url, headers={"Authorization": f"Bearer {told['token']}"}, timeout=DEADLINE_S, trust_env=False
        )
        assert NAME in allowed.json()["applications"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130

    cleaned = operator.run("cleanup", "--yes", "--name", NAME, "--json")
    assert cleaned.code == 0, cleaned.out
    assert cleaned.document["left"] == []
    assert platform.list("pods") == []
    assert platform.list("rayservices") == []


def _gone(platform: Platform, cluster: dict[str, Any]) -> bool:
    return platform.get("rayclusters", cluster["metadata"]["name"]) == {}
