"""Where images go, and that a file is written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from sdctl import files
from sdctl.errors import InvalidRequest, SdctlError
from sdctl.files import Place

DATA = b"image" * 100


def test_suffixes_choose_the_format(tmp_path: Path) -> None:
    for name, kind in {"a.png": "png", "a.JPG": "jpeg", "a.jpeg": "jpeg", "a.webp": "webp"}.items():
        assert files.image_format(str(tmp_path / name), "") == kind
    assert files.image_format("", "") == "png"
    assert files.image_format("folder.d/", "webp") == "webp"
    assert files.image_format("/dev/null", "") == "png"


@pytest.mark.parametrize(
    ("output", "asked", "message"),
    [("a.gif", "", "not written as .gif"), ("a.png", "jpeg", "two formats"), ("", "tiff", "no format 'tiff'")],
)
def test_formats_that_do_not_fit_are_refused(output: str, asked: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        files.image_format(output, asked)


def test_several_images_after_a_file_are_numbered(tmp_path: Path) -> None:
    places = files.places(str(tmp_path / "x.png"), ["a", "b"], "png", force=False)
    assert [place.path.name for place in places] == ["x-1.png", "x-2.png"]


def test_a_folder_gets_names_that_are_free(tmp_path: Path) -> None:
    (tmp_path / "sun-7.png").write_bytes(DATA)
    places = files.places(str(tmp_path), ["sun-7", "sun-7", "moon"], "png", force=False)
    assert [place.path.name for place in places] == ["sun-7-1.png", "sun-7-2.png", "moon.png"]
    forced = files.places(str(tmp_path), ["sun-7", "sun-7"], "png", force=True)
    assert [place.path.name for place in forced] == ["sun-7.png", "sun-7-1.png"]


def test_a_name_without_suffix_is_a_folder(tmp_path: Path) -> None:
    assert files.places(str(tmp_path / "new"), ["a"], "webp", force=False)[0].path == tmp_path / "new" / "a.webp"


def test_an_existing_file_is_refused_and_a_free_name_offered(tmp_path: Path) -> None:
    for name in ("x.png", "x-1.png"):
        (tmp_path / name).write_bytes(b"old")
    with pytest.raises(InvalidRequest, match=r"x\.png exists") as caught:
        files.places(str(tmp_path / "x.png"), ["a"], "png", force=False)
    assert "x-2.png is free" in caught.value.hint
    assert files.places(str(tmp_path / "x.png"), ["a"], "png", force=True) == [Place(tmp_path / "x.png")]


@pytest.mark.parametrize(
    ("prompt", "seed", "private", "name"),
    [
        ("A red circle, on blue!", 7, False, "a-red-circle-on-blue-7"),
        ("../../etc/passwd", None, False, "etc-passwd"),
        ("Ёлка", 1, False, "ёлка-1"),
        ("a secret", 7, True, "image-7"),
        ("?!", None, False, "image"),
        ("x" * 300, 4294967295, False, "x" * 48 + "-4294967295"),
    ],
)
def test_names_come_from_the_prompt(prompt: str, seed: int | None, private: bool, name: str) -> None:
    assert files.name_for(prompt, seed, private=private) == name


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_saving_makes_the_folder_and_keeps_nothing_else(tmp_path: Path) -> None:
    place = Place(tmp_path / "new" / "deep" / "x.png")
    assert files.save(place, DATA, force=False) == place.path
    assert place.path.read_bytes() == DATA
    assert listing(place.path.parent) == ["x.png"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"theirs")
    with pytest.raises(InvalidRequest, match="exists"):
        files.save(Place(tmp_path / "x.png"), DATA, force=False)
    moved = files.save(Place(tmp_path / "x.png", free=True), DATA, force=False)
    assert moved.name == "x-1.png"
    assert (tmp_path / "x.png").read_bytes() == b"theirs"
    assert listing(tmp_path) == ["x-1.png", "x.png"]


def test_force_replaces_the_file_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    files.save(Place(tmp_path / "link.png"), DATA, force=True)
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").read_bytes() == DATA


def test_devices_are_written_to_and_not_replaced() -> None:
    files.save(Place(Path("/dev/null")), DATA, force=True)
    assert Path("/dev/null").is_char_device()
    with pytest.raises(SdctlError, match="not written: No space left") as caught:
        files.save(Place(Path("/dev/full")), DATA, force=True)
    assert caught.value.code == "no_space"


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.save(Place(tmp_path / "x.png"), DATA, force=False)
    finally:
        os.umask(before)
    assert (tmp_path / "x.png").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "x.png").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SdctlError, match="No space left"):
        files.save(Place(tmp_path / "x.png"), DATA, force=True)
    assert listing(tmp_path) == ["x.png"]
    assert (tmp_path / "x.png").read_bytes() == b"old"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_not_be_written_says_so(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, mode: str) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(SdctlError, match="cannot be written") as caught:
        files.save(Place(tmp_path / "x.png"), DATA, force=False)
    assert caught.value.code == "not_writable"
    assert listing(tmp_path) == []


def test_file_systems_without_hard_links_work_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    assert files.save(Place(tmp_path / "x.png"), DATA, force=False).read_bytes() == DATA
    with pytest.raises(InvalidRequest, match="exists"):
        files.save(Place(tmp_path / "x.png"), b"other", force=False)
    assert listing(tmp_path) == ["x.png"]
