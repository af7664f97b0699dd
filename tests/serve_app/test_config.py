"""The application's arguments, API keys, and decisions about a request: without HTTP, Ray or torch."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app import families
from serve_app.config import ServiceConfig
from serve_app.errors import ServiceError, StartupError
from serve_app.keys import KeyRing
from serve_app.resolve import Call, resolve
from serve_app.schemas import ImageRequest
from tests.fakes.service_painter import PROFILE
from tests.fakes.service_replicas import Clock

CALL = Call("id", "ann", 10.0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "key_folder"),
        ({"auth": "open", "modle": "x"}, "modle"),
        ({"auth": "open", "device": "tpu"}, "device"),
        ({"auth": "open", "max_batch": 0}, "max_batch"),
        ({"auth": "open", "compile": "everything"}, "compile"),
        ({"auth": "open", "memory_limit_mb": 0}, "memory_limit_mb"),
        ({"auth": "open", "default_width": 100}, "default_width"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        ServiceConfig(**arguments)


def test_keys_are_the_default_and_the_tenant_limit_follows() -> None:
    config = ServiceConfig(key_folder="keys", max_in_flight=7)
    assert (config.auth, config.model, config.tenant_limit) == ("keys", "builtin:shapes", 7)


def write(path: Path, text: str) -> None:
    """Replace a file as a mounted Secret is: another inode."""
    temporary = path.with_name("." + path.name)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def tenant(ring: KeyRing, key: str) -> str | None:
    try:
        return ring.tenant(f"Bearer {key}")
    except ServiceError as error:
        return None if error.refusal.status == 401 else "not a 401"


def test_without_a_key_the_service_refuses_to_start(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(StartupError, match="No API key"):
            KeyRing(str(folder))
    write(tmp_path / "empty", " \n\n")
    with pytest.raises(StartupError, match="No API key"):
        KeyRing(str(tmp_path))


def test_keys_are_followed_when_their_files_change(tmp_path: Path) -> None:
    clock = Clock()
    write(tmp_path / "ann", "one\n")
    ring = KeyRing(str(tmp_path), clock=clock)
    assert (tenant(ring, "one"), tenant(ring, "two")) == ("ann", None)
    write(tmp_path / "ann", "one\ntwo\n")
    write(tmp_path / "bob", "three")
    clock.now += 2
    assert [tenant(ring, key) for key in ("one", "two", "three")] == ["ann", "ann", "bob"]
    write(tmp_path / "ann", "two\n")
    clock.now += 2
    assert [tenant(ring, key) for key in ("one", "two", "three")] == [None, "ann", "bob"]
    (tmp_path / "bob").unlink()
    clock.now += 2
    assert [tenant(ring, key) for key in ("two", "three")] == ["ann", None]


def test_an_unreadable_key_file_keeps_the_keys_that_work(tmp_path: Path) -> None:
    clock = Clock()
    write(tmp_path / "ann", "one")
    ring = KeyRing(str(tmp_path), clock=clock)
    (tmp_path / "bob").write_bytes(b"\xff\xfe\xff")
    clock.now += 2
    assert tenant(ring, "one") == "ann"


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (64, 64)),
        ({"img_size": 128}, (128, 128)),
        ({"width": 128, "height": 256}, (128, 256)),
        ({"width": 128}, (128, 128)),
        ({"height": 64}, (64, 64)),
    ],
)
def test_sizes(fields: dict[str, int], size: tuple[int, int]) -> None:
    job = resolve(ImageRequest(prompt="a", **fields), PROFILE, CALL)  # type: ignore[arg-type]
    assert (job.width, job.height) == size


@pytest.mark.parametrize(
    ("changes", "fields", "words"),
    [
        ({"sizes": ((64, 64), (128, 64))}, {"img_size": 128}, "64x64, 128x64"),
        ({"multiple": 16}, {"width": 72, "height": 64}, "multiples of 16"),
        ({"max_pixels": 100_000}, {"img_size": 512}, "100000 pixels"),
        ({"takes_negative": False}, {"negative_prompt": "x"}, "no negative prompt"),
    ],
)
def test_what_the_model_cannot_do_is_a_400(changes: dict[str, Any], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ServiceError, match=words) as caught:
        resolve(ImageRequest(prompt="a", **fields), replace(PROFILE, **changes), CALL)
    assert caught.value.refusal.status == 400


def test_zero_guidance_is_not_the_default() -> None:
    assert resolve(ImageRequest(prompt="a", guidance_scale=0), PROFILE, CALL).guidance == 0.0


@pytest.mark.parametrize(
    ("model", "scheduler", "config", "expected"),
    [
        ("stabilityai/sdxl-turbo", "EulerAncestralDiscreteScheduler", {}, (1, 0.0)),
        ("a/SDXL-Lightning", "EulerDiscreteScheduler", {}, (4, 0.0)),
        ("black-forest-labs/FLUX.1-schnell", "FlowMatch", {"guidance_embeds": False}, (4, 0.0)),
        ("somebody/dreamshaper", "LCMScheduler", {"time_cond_proj_dim": 256}, (4, 7.5)),
        ("somebody/dreamshaper", "LCMScheduler", {"time_cond_proj_dim": None}, (4, 1.0)),
        ("somebody/sdxl-lightning-8step", "EulerDiscreteScheduler", {}, (8, 0.0)),
        ("ByteDance/Hyper-SDXL_1-step", "TCDScheduler", {}, (1, 0.0)),
        ("stabilityai/stable-diffusion-3.5-large-turbo", "FlowMatch", {}, (4, 0.0)),
        ("/cache/models--stabilityai--sd-turbo/snapshots/b261bac6", "EulerDiscreteScheduler", {}, (1, 0.0)),
        ("stabilityai/stable-diffusion-xl-base-1.0", "EulerDiscreteScheduler", {}, (50, 7.5)),
        ("/turbo/lcm/stable-diffusion-2-1", "DDIMScheduler", {}, (50, 7.5)),
        ("lightning-ai/hyperrealistic", "DDIMScheduler", {}, (50, 7.5)),
        ("black-forest-labs/FLUX.2-klein-base-4B", "FlowMatch", {"guidance_embeds": False}, (50, 7.5)),
    ],
)
def test_few_step_models_have_their_own_defaults(
    model: str, scheduler: str, config: dict[str, Any], expected: tuple[int, float]
) -> None:
    signature = {"num_inference_steps": 50, "guidance_scale": 7.5}
    found = families.defaults(model, scheduler, signature, config)
    assert (found.steps, found.guidance) == expected


@pytest.mark.wire
@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("serve_app.app", {"torch", "diffusers", "transformers", "sdctl"}),
        ("serve_app.schemas", {"ray", "fastapi", "torch", "numpy"}),
    ],
)
def test_imports_stay_light(module: str, unwanted: set[str]) -> None:
    program = f"import sys, {module}\nprint(sorted({unwanted!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
