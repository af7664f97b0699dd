"""How many images fit: the arithmetic, the kernel's counters, and the caps of a real model within a limit."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app import rehearsal
from serve_app.batching import BatchKey
from serve_app.config import ServiceConfig
from serve_app.memory import Fit, HostMemory, MeasuredCaps, fit

MIB = 2**20


def key(side: int) -> BatchKey:
    return BatchKey("m", "s", side, side, 4, True)


def test_the_fit_separates_what_is_fixed_from_what_each_image_takes() -> None:
    found = fit(budget=1000 * MIB, one=30 * MIB, two=50 * MIB, other=None, pixels=128 * 128)
    assert (found.fixed, found.per_image) == (10 * MIB, 20 * MIB)
    assert found.images(128 * 128) == 49
    assert found.images(256 * 128) == 24
    assert found.most_pixels() == pytest.approx(49.5 * 128 * 128, rel=0.01)


def test_growth_above_linear_is_carried_to_larger_sizes_only() -> None:
    quadratic = fit(1000 * MIB, 20 * MIB, 40 * MIB, (64 * 128, 5 * MIB), 128 * 128)
    assert quadratic.exponent == pytest.approx(2.0)
    assert quadratic.images(256 * 128) == 12
    assert quadratic.images(64 * 128) == 100
    assert quadratic.images(quadratic.most_pixels()) == 1


def test_noise_never_makes_images_free() -> None:
    found = fit(budget=1000 * MIB, one=30 * MIB, two=29 * MIB, other=(64, 31 * MIB), pixels=128 * 128)
    assert 0 < found.images(128 * 128) < 1000


@given(
    budget=st.integers(0, 2**38),
    one=st.integers(0, 2**34),
    two=st.integers(0, 2**35),
    other=st.one_of(st.none(), st.tuples(st.integers(64, 2**22), st.integers(0, 2**34))),
    side=st.integers(8, 256).map(lambda n: n * 8),
)
def test_a_larger_size_never_fits_more_often_and_what_fits_is_within_the_budget(
    budget: int, one: int, two: int, other: tuple[int, int] | None, side: int
) -> None:
    found = fit(budget, one, two, other, 512 * 512)
    pixels = side * side
    assert found.images(4 * pixels) <= found.images(pixels)
    if pixels == 512 * 512 and found.images(pixels):
        assert found.fixed + found.images(pixels) * found.per_image <= budget
    caps = MeasuredCaps(8, 512 * 512, found)
    assert 1 <= caps.of(key(side)) <= 8


def test_caps_are_lowered_never_raised_and_halved_as_others() -> None:
    caps = MeasuredCaps(8, 128 * 128, Fit(budget=100, fixed=0, per_image=20, pixels=128 * 128))
    assert [caps.of(key(side)) for side in (64, 128, 192, 256)] == [8, 5, 2, 1]
    assert caps.halve(key(128), 5) == 2
    assert caps.of(key(128)) == 2


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return folder


@pytest.mark.parametrize(
    ("cgroup", "limit", "mib"),
    [
        ({}, None, 1000),
        ({"memory.max": "max", "memory.current": "7"}, None, 1000),
        ({"memory.max": f"{800 * MIB}", "memory.current": f"{500 * MIB}"}, None, 400),  # 100 of them cached files
        ({"memory/memory.limit_in_bytes": f"{50 * MIB}", "memory/memory.usage_in_bytes": f"{20 * MIB}"}, None, 30),
        ({}, 300 * MIB, 100),
        ({}, 100 * MIB, 0),
    ],
)
def test_free_is_what_the_tightest_limit_leaves(
    tmp_path: Path, cgroup: dict[str, str], limit: int | None, mib: int
) -> None:
    tables = {"meminfo": "MemTotal: 1 kB\nMemAvailable: 1024000 kB\n", "self/status": "Name: x\nVmRSS:\t204800 kB\n"}
    cached = {"memory.stat": f"anon 1\ninactive_file {100 * MIB}\n"}
    memory = HostMemory(limit, written(tmp_path / "proc", tables), written(tmp_path / "cgroup", cgroup | cached))
    assert memory.free() == mib * MIB


def test_the_peak_is_the_kernels_own() -> None:
    memory = HostMemory()
    assert memory.free() > 0
    assert memory.peak(lambda: bytearray(64 * MIB)) >= 60 * MIB


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_replica_lowers_its_caps_and_its_largest_image_to_the_memory_that_it_may_hold() -> None:
    from serve_app import pipeline

    painter = pipeline.load(ServiceConfig(auth="open", device="cpu"))
    shipped = painter.profile
    roomy = rehearsal.measured_caps(painter, ServiceConfig(auth="open", memory_limit_mb=2**20, max_batch=2))
    assert roomy.of(key(128)) == 2
    tight = rehearsal.measured_caps(painter, ServiceConfig(auth="open", memory_limit_mb=1, max_batch=8))
    assert (tight.of(key(128)), tight.of(key(64))) == (1, 1)
    assert (shipped.max_pixels, painter.profile.max_pixels) == (2048 * 2048, 128 * 128)  # what the first image proved
