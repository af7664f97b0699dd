"""The report in a real browser: drawn, silent, and asking the network for nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sdctl.loadtest.report import render
from sdctl.loadtest.summary import summarise
from tests.browser import visit
from tests.sdctl.loadtest.builders import record
from tests.sdctl.loadtest.test_figures import story
from tests.sdctl.loadtest.test_timeline import BURST


@pytest.mark.wire
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (420, True)])
def test_the_page_draws_and_loads_nothing(tmp_path: Path, width: int, dark: bool) -> None:
    sample = tmp_path / "1.ok.img"
    Image.effect_noise((128, 128), 60).convert("RGB").save(sample, "PNG")
    many = [record(n, BURST + n / 100, latency=1.0 + n % 7, replica="old") for n in range(20_000)]
    run = replace(story(), records=many)
    page = tmp_path / "report.html"
    page.write_text(render(summarise(run), run.records, run.transitions, [sample]), encoding="utf-8")
    assert page.stat().st_size < 500_000

    seen = visit(page, tmp_path, width=width, dark=dark)

    assert seen.console == []
    assert [url for url in seen.urls if not url.startswith(("data:", page.as_uri()))] == []
    assert seen.dom.count("<svg") >= 3
    assert seen.dom.count("<circle") > 1000
    assert "data:image/jpeg" in seen.dom
    with Image.open(seen.screenshot) as picture:
        colours = picture.convert("RGB").getcolors(1_000_000)
        assert picture.width >= width - 20
    assert colours is not None
    assert len(colours) > 50
