"""A model by a hub's id: fetched with a token, resumed, cached; a child process per start, as replicas are."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.model_hub import Hub, serving

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


def start(hub: Hub, folder: Path, *models: str) -> tuple[list[str], str]:
    """The lines that a new process prints of loading these models, and its stderr."""
    token_file = folder / "token"
    token_file.write_text(f"{TOKEN}\n", encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1"}
    variables |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", PROGRAM, str(token_file), *models]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


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
