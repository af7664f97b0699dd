"""A model by a hub's id: fetched with a token, resumed, cached; a child process per start, as replicas are."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.model_hub import COMMIT, Hub, serving
from tests.local.cli import wait_for

pytestmark = [pytest.mark.torch, pytest.mark.wire]

TOKEN = "hf_zyzzyvaTOKEN"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
PROGRAM = """
import sys
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 4096  # what is shorter than one is not kept when a transfer is cut
from serve_app import pipeline
from serve_app.config import ServiceConfig
from serve_app.errors import StartupError
token_file, *models = sys.argv[1:]
for model in models:
    config = ServiceConfig(model=model, revision="v1", hub_token_file=token_file, auth="open", device="cpu")
    try:
        print("loaded", pipeline.load(config).profile.family)
    except StartupError as error:
        print("refused", error)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    from tests.serve_app import tiny_models

    with serving(Hub(tiny_models.stable_diffusion(tmp_path / "tiny"), "somebody/tiny", TOKEN, cut=WEIGHTS)) as served:
        yield served


def begin(hub: Hub, folder: Path, *models: str) -> "subprocess.Popen[str]":
    """A new process that loads these models."""
    token_file = folder / "token"
    token_file.write_text(f"{TOKEN}\n", encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1"}
    variables |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", PROGRAM, str(token_file), *models]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start(hub: Hub, folder: Path, *models: str) -> tuple[list[str], str]:
    """The lines that a new process prints of loading these models, and its stderr."""
    with begin(hub, folder, *models) as process:
        try:
            out, said = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, said
    return out.splitlines(), said


def test_a_model_is_fetched_once_resumed_where_it_was_cut_and_its_token_stays_secret(hub: Hub, tmp_path: Path) -> None:
    lines, said = start(hub, tmp_path, hub.repository)
    assert lines == ["loaded StableDiffusionPipeline"]
    (whole, *rest) = [first for name, first in hub.transfers if name == WEIGHTS]
    assert whole == 0
    assert rest
    assert all(rest)  # from a byte that was not there yet, never again from the start
    assert f"Bearer {TOKEN}" in hub.tokens
    assert "v1" in hub.revisions
    hub.transfers.clear()

    again, said_again = start(hub, tmp_path, hub.repository, "somebody/gated", "somebody/unknown")
    assert again[0] == "loaded StableDiffusionPipeline"
    assert not hub.transfers
    for line, name in zip(again[1:], ("somebody/gated", "somebody/unknown"), strict=True):
        assert line.startswith(f"refused The model {name} cannot be loaded")
        assert "hub_token_file" in line
    assert TOKEN not in "".join([*lines, *again, said, said_again])


def test_after_a_kill_in_a_download_the_next_start_fetches_only_what_was_not_finished(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.held = "", WEIGHTS
    cache = tmp_path / "cache" / "hub" / f"models--{hub.repository.replace('/', '--')}"
    blob = hashlib.sha256((hub.folder / WEIGHTS).read_bytes()).hexdigest()
    with begin(hub, tmp_path, hub.repository) as process:
        try:
            wait_for(lambda: process.poll() is not None or begun(cache, blob), "some bytes of the weights are there")
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    snapshot = cache / "snapshots" / COMMIT
    finished = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    assert "model_index.json" in finished
    assert WEIGHTS not in finished
    hub.held = ""
    hub.transfers.clear()

    lines, _ = start(hub, tmp_path, hub.repository)
    assert lines == ["loaded StableDiffusionPipeline"]
    fetched = {name for name, _ in hub.transfers}
    assert WEIGHTS in fetched
    assert not fetched & finished


def begun(cache: Path, blob: str) -> bool:
    """Whether a part of this blob is in the cache."""
    return any(path.stat().st_size for path in (cache / "blobs").glob(f"{blob}*.incomplete"))
