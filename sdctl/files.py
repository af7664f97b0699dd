"""Where images go, and files that are written whole or not at all."""

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdctl.errors import InvalidRequest, SdctlError

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


@dataclass(frozen=True)
class Place:
    """Where one image goes; a `free` name was not the user's own and gives way to files that exist."""

    path: Path
    free: bool = False


def image_format(output: str, asked: str) -> str:
    """png, jpeg or webp: as asked, else by the suffix of the output; raises InvalidRequest where they contradict."""
    suffix = "" if is_folder(output) or _is_special(Path(output)) else Path(output).suffix.lower()
    by_name = FORMATS.get(suffix, "")
    if asked and asked not in SUFFIXES:
        raise InvalidRequest(f"There is no format {asked!r}.", hint="Use png, jpeg or webp.")
    if suffix and not by_name:
        raise InvalidRequest(f"Images are not written as {suffix}.", hint="Use .png, .jpg or .webp.")
    if asked and by_name and asked != by_name:
        raise InvalidRequest(f"--format {asked} and -o {output} name two formats.", hint="Give one of them.")
    return asked or by_name or "png"


def is_folder(output: str) -> bool:
    """Whether -o names a folder: it is one, ends like one, or has no suffix as a file would have."""
    path = Path(output)
    return not output or output.endswith(("/", os.sep)) or path.is_dir() or not (path.suffix or _is_special(path))


def places(output: str, names: list[str], image_format: str, *, force: bool) -> list[Place]:
    """A place for each of the images called `names`: in the folder, or numbered after the file.

    Raises InvalidRequest, before any image is made, when the user's file exists and `force` is not given.
    """
    suffix = SUFFIXES[image_format]
    if is_folder(output):
        taken: set[Path] = set()
        return [Place(_next_free(Path(output) / f"{name}{suffix}", taken, force), free=not force) for name in names]
    path = Path(output)
    if len(names) > 1:
        chosen = [path.with_stem(f"{path.stem}-{number}") for number in range(1, len(names) + 1)]
    else:
        chosen = [path]
    for each in chosen:
        if each.exists() and not force and not _is_special(each):
            raise exists(each)
    return [Place(each) for each in chosen]


def exists(path: Path) -> InvalidRequest:
    """The error for a file that is there already; offers a numbered name."""
    free = _next_free(path, set(), force=False)
    return InvalidRequest(
        f"{path} exists already.", hint=f"--force overwrites it; -o {free} is free.", code="file_exists"
    )


def name_for(prompt: str, seed: int | None, *, private: bool) -> str:
    """A file's name without suffix: the prompt's first words and the seed; no words where they are private."""
    words = "" if private else re.sub(r"[^\w]+", "-", prompt.lower())[:48].strip("-_")
    return "-".join(part for part in (words or "image", "" if seed is None else str(seed)) if part)


def save(place: Place, data: bytes, *, force: bool) -> Path:
    """Write a file whole or not at all and give its path; a place that is free moves on to the next free name.

    Raises InvalidRequest (it exists) or SdctlError (no right, no space, …), with nothing left behind.
    """
    path = place.path.resolve() if place.path.is_symlink() else place.path
    try:
        if _is_special(path):
            path.write_bytes(data)
            return place.path
        path.parent.mkdir(parents=True, exist_ok=True)
        return _written(path, place, data, force)
    except OSError as error:
        raise _explained(error, path) from None


def _written(path: Path, place: Place, data: bytes, force: bool) -> Path:
    # Named apart from the image, so that a long name stays valid, and in its folder, so that the move is atomic.
    part = path.parent / f".sdctl-{secrets.token_hex(6)}.part"
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if force:
            part.replace(path)
            return place.path
        return _linked(part, path, place)
    finally:
        part.unlink(missing_ok=True)


def _linked(part: Path, path: Path, place: Place) -> Path:
    """Move without ever overwriting: a link fails where a rename replaces."""
    for candidate in _numbered(path):
        try:
            _claim(part, candidate)
        except FileExistsError:
            if not place.free:
                raise exists(place.path) from None
        else:
            return candidate if place.free else place.path
    raise AssertionError("numbers have no end")


def _claim(part: Path, path: Path) -> None:
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        path.touch(exist_ok=False)  # a file system without hard links (FAT, some network ones)
        part.replace(path)


def _explained(error: OSError, path: Path) -> SdctlError:
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SdctlError(
            f"{path} cannot be written: {reason}.",
            hint="Use -o with a folder that you may write to.",
            code="not_writable",
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return SdctlError(
            f"{path} was not written: {reason}.",
            hint="Make room, or use -o on another disk; the same --seed makes the image again.",
            code="no_space",
        )
    return SdctlError(f"{path} cannot be written: {reason}.", hint="Use another -o.")


def _next_free(path: Path, taken: set[Path], force: bool) -> Path:
    free: Callable[[Path], bool] = lambda each: each not in taken and (force or not each.exists())  # noqa: E731
    found = next(each for each in _numbered(path) if free(each))
    taken.add(found)
    return found


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 0
    while True:
        number += 1
        yield path.with_stem(f"{path.stem}-{number}")


def _is_special(path: Path) -> bool:
    """A device or a pipe: written to, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()
