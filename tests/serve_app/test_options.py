"""Model options: each gives the picture that the plain model gives, or says that it cannot be had."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serve_app import pipeline, rehearsal
from serve_app.config import ServiceConfig
from serve_app.errors import Refusal, StartupError
from serve_app.jobs import ImageJob
from serve_app.pipeline import DiffusersPainter
from tests.serve_app import tiny_models

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

JOB = ImageJob("a fish", None, 64, 64, 3, 5.0, 1)
BATCHES = ([JOB], [replace(JOB, seed=2), replace(JOB, prompt="a bird")], [replace(JOB, guidance=1.0)])


@pytest.fixture(scope="module", params=["stable_diffusion", "stable_diffusion_xl", "flux"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = getattr(tiny_models, request.param)(tmp_path_factory.mktemp(request.param))
    return path


@pytest.fixture
def stable_diffusion(tmp_path: Path) -> Path:
    return tiny_models.stable_diffusion(tmp_path)


def load(folder: Path, **options: Any) -> DiffusersPainter:
    return pipeline.load(ServiceConfig(model=str(folder), auth="open", device="cpu", **options))


def same_pictures(one: DiffusersPainter, two: DiffusersPainter) -> None:
    for jobs in BATCHES:
        for ours, theirs in zip(one.draw(jobs, lambda: True), two.draw(jobs, lambda: True), strict=True):
            assert not isinstance(ours, Refusal)
            assert not isinstance(theirs, Refusal)
            assert np.abs(np.subtract(ours, theirs, dtype=int)).max() <= 1


@pytest.mark.parametrize("options", [{"fuse_qkv": True}, {"channels_last": True}, {"attention": "math"}])
def test_an_option_changes_no_picture(folder: Path, options: dict[str, Any]) -> None:
    same_pictures(load(folder), load(folder, **options))


def test_torchs_fused_attention_is_what_diffusers_uses(stable_diffusion: Path) -> None:
    processors = {type(each).__name__ for each in load(stable_diffusion)._pipe.unet.attn_processors.values()}
    assert processors == {"AttnProcessor2_0"}


def test_an_option_that_a_model_lacks_is_named(stable_diffusion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import UNet2DConditionModel

    monkeypatch.setattr(UNet2DConditionModel, "_repeated_blocks", [])
    with pytest.raises(StartupError, match="Switch the option off"):
        load(stable_diffusion, compile="regional")


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Nothing compiled before or after."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("forgotten")
def test_a_missing_compiler_is_said_with_its_remedy(stable_diffusion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_a_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nmore lines")

    painter = load(stable_diffusion)
    monkeypatch.setattr(painter._pipe.unet, "forward", without_a_compiler)
    with pytest.raises(StartupError, match=r"No working C\+\+ compiler found.*install g\+\+"):
        rehearsal.compile_sizes(painter, (), True)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own compiler
@pytest.mark.usefixtures("forgotten")
def test_compiled_blocks_give_the_same_pictures_and_no_request_waits_for_the_compiler(stable_diffusion: Path) -> None:
    from torch._dynamo.utils import counters

    compiled = load(stable_diffusion, compile="regional")
    rehearsal.compile_sizes(compiled, (), True)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    same_pictures(load(stable_diffusion), compiled)
    compiled.draw([replace(JOB, width=128)], lambda: True)
    assert counters["stats"]["unique_graphs"] == graphs
