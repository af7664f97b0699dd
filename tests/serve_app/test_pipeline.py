"""Real pipelines with random weights: batches, seeds, guidance, cancellation, failures at the boundary."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from serve_app import pipeline, rehearsal
from serve_app.batching import key_of
from serve_app.config import ServiceConfig
from serve_app.errors import OutOfMemory, Refusal, StartupError, Stopped
from serve_app.jobs import ImageJob
from serve_app.pipeline import DiffusersPainter
from tests.serve_app import tiny_models

# numpy's complaint about an array that torch and diffusers make
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "sd": tiny_models.stable_diffusion,
    "sdxl": tiny_models.stable_diffusion_xl,
    "flux": tiny_models.flux,
    "lcm": partial(tiny_models.stable_diffusion, consistency=True),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: build(tmp_path_factory.mktemp(name)) for name, build in BUILDERS.items()}


@pytest.fixture(scope="module")
def painters(folders: dict[str, Path]) -> dict[str, DiffusersPainter]:
    return {name: load(folder) for name, folder in folders.items()}


@pytest.fixture(params=list(BUILDERS))
def painter(request: pytest.FixtureRequest, painters: dict[str, DiffusersPainter]) -> DiffusersPainter:
    return painters[request.param]


@pytest.fixture
def sd(painters: dict[str, DiffusersPainter]) -> DiffusersPainter:
    return painters["sd"]


def load(folder: Path, **config: Any) -> DiffusersPainter:
    return pipeline.load(ServiceConfig(model=str(folder), auth="open", device="cpu", **config))


def job(prompt: str = "a fish", seed: int = 1, **changes: Any) -> ImageJob:
    return replace(ImageJob(prompt, None, 64, 64, 3, 5.0, seed), **changes)


def draw(painter: DiffusersPainter, *jobs: ImageJob) -> list[Any]:
    return list(painter.draw(jobs, lambda: True))


def difference(one: Any, two: Any) -> int:
    return int(np.abs(one.astype(int) - two.astype(int)).max())


@pytest.mark.parametrize("count", [2, 5])
def test_a_batch_gives_what_each_image_is_alone(painter: DiffusersPainter, count: int) -> None:
    jobs = [job(f"picture {n} of a fish", seed=10 + n) for n in range(count)]
    alone = [draw(painter, one)[0] for one in jobs]
    for one, two in zip(alone, draw(painter, *jobs), strict=True):
        assert difference(one, two) <= 1
    assert difference(alone[0], alone[1]) > 8


def test_other_sizes_batch_truly_too(sd: DiffusersPainter) -> None:
    jobs = [job(seed=n, width=128, height=64) for n in range(2)]
    alone = [draw(sd, one)[0] for one in jobs]
    assert alone[0].shape == (64, 128, 3)
    for one, two in zip(alone, draw(sd, *jobs), strict=True):
        assert difference(one, two) <= 1


def test_the_same_seed_is_the_same_picture_and_prompt_and_seed_matter(painter: DiffusersPainter) -> None:
    first, again = draw(painter, job())[0], draw(painter, job())[0]
    assert (first == again).all()
    assert difference(first, draw(painter, job(seed=2))[0]) > 8
    assert difference(first, draw(painter, job("another thing altogether"))[0]) > 0


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_each_image_of_a_batch_has_its_own_guidance(painters: dict[str, DiffusersPainter], name: str) -> None:
    painter = painters[name]
    assert painter.profile.guidance_varies
    jobs = [job(guidance=1.5), job(guidance=7.5), job("x", guidance=20.0)]
    alone = [draw(painter, one)[0] for one in jobs]
    assert difference(alone[0], alone[1]) > 1
    for one, two in zip(alone, draw(painter, *jobs), strict=True):
        assert difference(one, two) <= 1


def test_guidance_per_image_is_the_pipelines_own_guidance(folders: dict[str, Path], sd: DiffusersPainter) -> None:
    bare = StableDiffusionPipeline.from_pretrained(folders["sd"])
    bare.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        image = bare(
            "a fish",
            width=64,
            height=64,
            num_inference_steps=3,
            guidance_scale=6.5,
            negative_prompt="a bird",
            generator=torch.Generator("cpu").manual_seed(1),
        ).images[0]
    ours = draw(sd, job(guidance=6.5, negative_prompt="a bird"))[0]
    assert difference(np.asarray(image), ours) <= 1
    assert difference(ours, draw(sd, job(guidance=6.5))[0]) > 1


def test_negative_prompts_of_a_batch_do_not_touch_their_neighbours(sd: DiffusersPainter) -> None:
    jobs = [job(negative_prompt="a bird"), job(seed=2)]
    for one, two in zip([draw(sd, one)[0] for one in jobs], draw(sd, *jobs), strict=True):
        assert difference(one, two) <= 1


def test_a_call_nobody_waits_for_stops_at_the_next_step(painter: DiffusersPainter) -> None:
    looks: list[int] = []

    def keep_going() -> bool:
        looks.append(1)
        return len(looks) < 2

    with pytest.raises(Stopped):
        painter.draw([job(steps=20)], keep_going)
    assert len(looks) == 2
    assert draw(painter, job())[0].shape == (64, 64, 3)  # and the pipeline still works


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory: you tried")],
)
def test_out_of_memory_is_told_apart(sd: DiffusersPainter, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(sd._pipe.unet, "forward", fail)
    with pytest.raises(OutOfMemory):
        draw(sd, job())
    monkeypatch.setattr(sd._pipe.unet, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw(sd, job())


def test_an_image_that_the_safety_checker_blanks_is_an_error(
    sd: DiffusersPainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blank_the_second(image: torch.Tensor, *_: Any) -> tuple[torch.Tensor, list[bool]]:
        return image, [False, True]

    monkeypatch.setattr(sd._pipe, "run_safety_checker", blank_the_second)
    good, blanked = draw(sd, job(), job(seed=2))
    assert good.shape == (64, 64, 3)
    assert isinstance(blanked, Refusal)
    assert (blanked.status, blanked.code) == (400, "content_policy_violation")


def test_overflow_is_an_error_and_not_a_black_picture(sd: DiffusersPainter, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = sd._pipe.vae.decode

    def overflow(latents: torch.Tensor, **options: Any) -> Any:
        (image,) = decode(latents, **options)
        image[0] = float("nan")
        return (image,)

    monkeypatch.setattr(sd._pipe.vae, "decode", overflow)
    broken, good = draw(sd, job(), job(seed=2))
    assert isinstance(broken, Refusal)
    assert broken.code == "generation_failed"
    assert good.shape == (64, 64, 3)


def test_profiles_say_what_the_families_can(painters: dict[str, DiffusersPainter]) -> None:
    sd, sdxl, flux = (painters[name].profile for name in ("sd", "sdxl", "flux"))
    assert (sd.default_steps, sd.default_guidance, sd.default_width) == (50, 7.5, 64)
    assert (sdxl.default_guidance, sdxl.negative_splits, sdxl.guidance_varies) == (5.0, True, True)
    assert (flux.default_steps, flux.default_guidance, flux.takes_negative) == (28, 3.5, False)
    assert not flux.guidance_varies
    lcm = painters["lcm"].profile
    assert (lcm.default_steps, lcm.default_guidance, lcm.guidance_varies) == (4, 7.5, False)
    assert key_of(job(guidance=2.0), lcm) != key_of(job(guidance=3.0), lcm)


def test_arguments_override_the_models_defaults(folders: dict[str, Path]) -> None:
    profile = load(folders["sd"], default_steps=9, default_guidance=0.0, default_width=128, default_height=72).profile
    assert (profile.default_steps, profile.default_guidance) == (9, 0.0)
    assert (profile.default_width, profile.default_height) == (128, 72)


def test_long_prompts_are_reported_by_the_characters_that_are_cut(painters: dict[str, DiffusersPainter]) -> None:
    prompt = "fish " * 40
    (warning,) = painters["sd"].warnings(job(prompt))
    assert warning.code == "truncated"
    ((start, end),) = warning.spans
    assert 0 < start < end == len(prompt)
    picture = draw(painters["sd"], job(prompt))[0]
    assert difference(picture, draw(painters["sd"], job(prompt[: start + 1] + "quite another end"))[0]) == 0
    assert difference(picture, draw(painters["sd"], job(prompt[: start - 1] + "Q" + prompt[start:]))[0]) > 0
    assert not painters["flux"].warnings(job(prompt))
    assert not painters["sd"].warnings(job())
    (ignored,) = painters["sd"].warnings(job(guidance=1.0, negative_prompt="x"))
    assert ignored.code == "negative_prompt_ignored"


def test_the_rehearsal_accepts_true_batches_and_finds_false_ones(
    sd: DiffusersPainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, alone = rehearsal.first_image(sd)
    assert rehearsal.batches_truly(sd, first, alone, sd.dtype)
    forward = sd._pipe.unet.forward

    def leaking(sample: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        (noise,) = forward(sample, *arguments, **options)
        return (noise + 0.5 * noise.mean(dim=0, keepdim=True),)

    monkeypatch.setattr(sd._pipe.unet, "forward", leaking)
    first, alone = rehearsal.first_image(sd)
    assert not rehearsal.batches_truly(sd, first, alone, sd.dtype)


def test_a_pipeline_saved_for_another_task_is_loaded_as_text_to_image(folders: dict[str, Path]) -> None:
    index = folders["sd"] / "model_index.json"
    kept = index.read_text(encoding="utf-8")
    index.write_text(kept.replace("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"), encoding="utf-8")
    try:
        painter = load(folders["sd"])
    finally:
        index.write_text(kept, encoding="utf-8")
    assert painter.profile.family == "StableDiffusionPipeline"
    assert draw(painter, job())[0].shape == (64, 64, 3)


def test_models_that_cannot_be_loaded_say_why(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be loaded"):
        load(tmp_path, local_files_only=True)
    with pytest.raises(StartupError, match="token file"):
        load(tmp_path, hub_token_file=str(tmp_path / "missing"))
    if not torch.cuda.is_available():
        with pytest.raises(StartupError, match="no GPU"):
            pipeline.load(ServiceConfig(auth="open", device="cuda"))


def test_the_builtin_model_has_its_sizes_and_knows_its_words() -> None:
    painter = pipeline.load(ServiceConfig(auth="open", device="cpu"))
    profile = painter.profile
    assert (profile.name, profile.default_width, profile.default_height) == ("builtin:shapes", 128, 128)
    assert (128, 128) in profile.sizes
    assert profile.default_steps <= 30
    prompt = "a red circle and a zebra"
    (warning,) = painter.warnings(job(prompt))
    assert (warning.code, [prompt[start:end] for start, end in warning.spans]) == ("unknown_words", ["zebra"])
    jobs = [
        job("a red circle on a blue background", width=128, height=128, steps=4, guidance=2.5),
        job("two things", seed=5, width=128, height=128, steps=4, guidance=1.5),
    ]
    for one, two in zip([draw(painter, one)[0] for one in jobs], draw(painter, *jobs), strict=True):
        assert difference(one, two) <= 1
