"""Receipts: into a PNG and out of it again, in our JSON and in A1111's layout."""

import base64
import io
import json
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdctl import png, receipt
from sdctl.errors import InvalidRequest, NotFound
from sdctl.receipt import Receipt

FULL = Receipt(
    prompt="a red circle, on a blue background",
    negative_prompt="text: none",
    seed=4294967295,
    width=768,
    height=512,
    num_inference_steps=8,
    guidance_scale=4.5,
    scheduler="DDIMScheduler",
    model="builtin:shapes",
    revision="abc",
    app_version="0.1.0",
    replica="r#1",
    batch_size=2,
    timings_ms={"generate": 12.5},
    request_id="id",
    time="2026-11-28T12:00:00+00:00",
)


def picture(info: PngInfo | None = None) -> bytes:
    image = Image.effect_noise((40, 24), 80).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_the_receipt_comes_back_and_the_pixels_stay() -> None:
    plain = picture()
    written = receipt.write(plain, FULL)
    with Image.open(io.BytesIO(written)) as image:
        assert set(image.info) == {"parameters", "sdctl"}
        assert image.tobytes() == Image.open(io.BytesIO(plain)).tobytes()
    assert receipt.from_json(json.loads(png.text(written)["sdctl"])) == FULL
    assert png.is_whole(written)
    assert png.is_whole(written + b"something behind it")
    assert not png.is_whole(written[:-1])


def test_parameters_have_the_layout_that_other_tools_read() -> None:
    assert FULL.parameters() == (
        "a red circle, on a blue background\n"
        "Negative prompt: text: none\n"
        "Steps: 8, Sampler: DDIMScheduler, CFG scale: 4.5, Seed: 4294967295, Size: 768x512, "
        'Model: "builtin:shapes", Version: sdctl 0.1.0'
    )


def test_a_receipt_written_again_replaces_the_first() -> None:
    twice = receipt.write(receipt.write(picture(), FULL), Receipt(prompt="другое"))
    assert png.text(twice)["parameters"].startswith("другое")
    assert twice.count(b"sdctl\0") == 1


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_prompt_survives(prompt: str) -> None:
    texts = png.text(receipt.write(picture(), Receipt(prompt=prompt)))
    assert json.loads(texts["sdctl"])["prompt"] == prompt
    assert texts["parameters"].startswith(prompt)


def test_a1111_images_can_be_replayed(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text(
        "parameters",
        "two lines\nof prompt\nNegative prompt: bad, ugly\n"
        'Steps: 20, Sampler: "DPM++ 2M, Karras", CFG scale: 7, Seed: 12, Size: 512x768, Model: sd15, Version: v1.10',
    )
    path = tmp_path / "a1111.png"
    path.write_bytes(picture(info))
    assert receipt.read(path) == Receipt(
        prompt="two lines\nof prompt",
        negative_prompt="bad, ugly",
        seed=12,
        width=512,
        height=768,
        num_inference_steps=20,
        guidance_scale=7.0,
        scheduler="DPM++ 2M, Karras",
    )


def test_parameters_without_a_last_line_are_a_prompt() -> None:
    assert receipt.from_parameters("only, a: prompt") == Receipt(prompt="only, a: prompt")


def test_packed_and_international_texts_are_read() -> None:
    info = PngInfo()
    info.add_text("packed", "x" * 500, zip=True)
    info.add_itxt("both", "й" * 500, zip=True)
    assert png.text(picture(info)) == {"packed": "x" * 500, "both": "й" * 500}


def test_damaged_texts_are_passed_over() -> None:
    body = b"zTXtsdctl\0\0not packed"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    whole = picture()
    broken = whole[:33] + chunk + whole[33:]
    assert png.text(broken) == {}
    assert png.text(whole[:50]) == {}
    assert png.text(b"GIF89a") == {}


def test_wrong_types_and_unknown_fields_are_left_out() -> None:
    odd = {"seed": "7", "width": True, "prompt": 3, "model": "m", "surprise": 1, "timings_ms": [1]}
    assert receipt.from_json(odd) == Receipt(model="m")


@pytest.mark.parametrize("value", ["", "%%%", "bm90IGpzb24", base64.urlsafe_b64encode(b"[1]").decode(), "é"])
def test_a_damaged_header_is_no_receipt(value: str) -> None:
    assert receipt.from_header(value) == {}


def test_a_header_needs_no_padding() -> None:
    assert receipt.from_header(base64.urlsafe_b64encode(b'{"seed":7}').decode().rstrip("=")) == {"seed": 7}


def test_a_file_without_a_receipt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.png").write_bytes(picture())
    (tmp_path / "text.txt").write_text("no image")
    for name in ("plain.png", "text.txt"):
        with pytest.raises(InvalidRequest, match="no receipt"):
            receipt.read(tmp_path / name)
    with pytest.raises(NotFound, match="cannot be read"):
        receipt.read(tmp_path / "missing.png")
