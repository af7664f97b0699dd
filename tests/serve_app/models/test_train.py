"""The training code: a tiny run, and one that was interrupted and resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]


def weights(folder: Path, **changes: int) -> list[Any]:
    from serve_app.models.train.__main__ import train
    from serve_app.models.train.plan import TINY

    folder.mkdir(exist_ok=True)
    pipeline, minutes = train(folder, replace(TINY, **changes))
    assert set(minutes) == {"autoencoder", "latents", "denoiser", "decoder"}
    parts = (pipeline.vae, pipeline.unet, pipeline.text_encoder)
    return [value.clone() for part in parts for value in part.state_dict().values()]


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from serve_app.models.train import denoiser

    whole = weights(tmp_path / "whole")
    calls = iter(range(100))
    update = denoiser.Average.update

    def interrupt(average: denoiser.Average, module: torch.nn.Module, step: int) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        update(average, module, step)

    monkeypatch.setattr(denoiser.Average, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        weights(tmp_path / "resumed")
    monkeypatch.setattr(denoiser.Average, "update", update)
    resumed = weights(tmp_path / "resumed")
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_an_earlier_run_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from serve_app.models.train.__main__ import main

    (tmp_path / "work").mkdir()
    assert main(["--out", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_normalised_latents_decode_as_before() -> None:
    import torch

    from serve_app.models.train.autoencoder import drawings, encode_mean, new_autoencoder, normalise_latents, to_tensor

    pictures, _ = drawings(8)
    model = new_autoencoder().eval()
    images = to_tensor(pictures[:2])
    with torch.no_grad():
        before = model.decode(encode_mean(model, images)).sample
        normalise_latents(model, pictures)
        latents = encode_mean(model, to_tensor(pictures))
        after = model.decode(encode_mean(model, images)).sample
    assert torch.allclose(before, after, atol=1e-3)
    assert np.allclose(latents.mean((0, 2, 3)), 0, atol=1e-3)
    assert np.allclose(latents.std((0, 2, 3)), 1, atol=1e-2)
