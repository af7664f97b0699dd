"""The GPU benchmark in small: random weights pass the service's start, and every row has its figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.benchmarks import serving_gpu, serving_limit, serving_models
from loadtests.benchmarks.serving_models import Architecture
from loadtests.benchmarks.serving_stage import Cores, Stage
from loadtests.benchmarks.serving_wishes import crowd, wishes
from serve_app import pipeline, rehearsal
from serve_app.config import ServiceConfig
from tests.fakes.http_service import Reply, draw, http_service

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

WANTED = replace(serving_gpu.plan(tiny=True), users=(), seconds=0.1)


@pytest.fixture(params=serving_models.architectures(tiny=True), ids=lambda each: each.name)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    found: Architecture = request.param
    return found


@pytest.fixture
def folder(architecture: Architecture, tmp_path: Path) -> Path:
    serving_models.save(architecture, tmp_path, WANTED.device, WANTED.dtype)
    return tmp_path


def test_a_start_draws_with_random_weights_and_finds_that_they_batch(folder: Path) -> None:
    painter = pipeline.load(ServiceConfig(model=str(folder), auth="open", device="cpu"))
    job, alone = rehearsal.first_image(painter)
    assert rehearsal.batches_truly(painter, job, alone, painter.dtype)


def test_every_row_of_the_bare_pipeline_has_images_and_work(architecture: Architecture, folder: Path) -> None:
    nowhere = Stage({}, {}, Cores())
    with serving_limit.started(str(folder), guidance=serving_gpu.GUIDANCE) as limit:
        lines = serving_gpu.one_size(architecture, architecture.sides[0], WANTED, limit, nowhere)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == ["bare pipeline, batch 1", "bare pipeline, batch 2"]
    for _, images, _, batch, work, share, failed in rows:
        assert all(float(each) > 0 for each in (images, batch, work))
        assert share.endswith("%")
        assert failed == "0"


@pytest.mark.wire
def test_pictures_that_nobody_knows_beforehand_are_no_wrong_ones() -> None:
    asked = crowd("ours", "all", wishes("64", [(64, 2)]), 1)
    with http_service() as fake:
        fake.gets = Reply(200, draw(1, 64, 64), {"Content-Type": "image/png"})
        found = serving_gpu.users(Stage({"ours": fake.url}, {}, Cores()), "ours", asked, replace(WANTED, seconds=8.0))
    assert found.ok > 0
    assert (found.wrong, found.missing) == (0, 0)
