"""One archive with all that helps to find a fault, for any target; secrets masked."""

import io
import json
import platform
import re
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from sdctl import __version__, show
from sdctl.errors import NotAllowed, SdctlError
from sdctl.targets.base import HoldsEvidence, LogQuery, Target

MASK = "*** masked ***"
TAIL = 2000  # lines of each log
PACKAGES = ("kubernetes", "httpx", "locust", "ray", "torch", "diffusers", "transformers", "pydantic", "rich", "typer")
# Whatever carries a credential by its look, wherever it turns up.
CREDENTIALS = (
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    re.compile(r"\bhf_[A-Za-z0-9]{16,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"),
    re.compile(
        r"(?i)(?<![\w.])(?:[\w-]*(?:password|secret_access_key|auth_token|api_key))[\"']?\s*[=:]\s*[\"']?([^\s\"',}]{6,})"
    ),
)
SECRET_NAMES = re.compile(r"(?i)(token|password|secret|api_?key|credential)")


def write(path: Path, target: Target) -> list[str]:
    """Write the archive, readable by this user only; gives the names in it. Raises NotAllowed where that fails.

    What cannot be had is noted in `errors.txt` in it, and keeps nothing else out.
    """
    secrets = _secrets(target)
    folder = path.name.removesuffix(".tar.gz")
    names = []
    try:
        with tarfile.open(path, "x:gz") as archive:
            path.chmod(0o600)
            for name, text in collect(target):
                names.append(name)
                _add(archive, f"{folder}/{name}", mask(text, secrets).encode())
    except OSError as error:
        raise NotAllowed(f"{path} cannot be written: {error.strerror}.", hint="Choose another file with -o.") from None
    return names


def collect(target: Target) -> Iterator[tuple[str, str]]:
    """(name, text) of everything that the target gives, and at last what it refused."""
    errors: list[str] = []

    def tried(name: str, make: Callable[[], str]) -> Iterator[tuple[str, str]]:
        try:
            yield name, make()
        except SdctlError as error:
            errors.append(f"{name}: {error.message} {error.hint}")

    yield "versions.json", as_json(versions())
    yield from tried("status.json", lambda: as_json(target.status().to_json()))
    yield from tried("doctor.json", lambda: as_json([asdict(finding) for finding in target.doctor()]))
    if isinstance(target, HoldsEvidence):
        evidence = target.evidence()
        try:
            yield from evidence
        except SdctlError as error:
            errors.append(f"objects: {error.message}")
    yield from tried("logs.txt", lambda: _lines(target))
    yield "errors.txt", "\n".join(errors) or "none"


def versions() -> dict[str, Any]:
    """What runs here: sdctl, Python, the system, the packages that matter."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = ""
    return {"sdctl": __version__, "python": sys.version, "platform": platform.platform(), "packages": installed}


def as_json(value: object) -> str:
    """The value as readable JSON."""
    return json.dumps(value, indent=1, default=str, ensure_ascii=False)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the given secrets and without anything that looks like a credential."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern in CREDENTIALS:
        text = pattern.sub(lambda found: _hidden(found), text)
    return text


def _hidden(found: re.Match[str]) -> str:
    if not found.re.groups:
        return MASK
    whole, value = found[0], found[1]
    return whole[: len(whole) - len(value)] + MASK


def without_secrets(value: Any) -> Any:
    """A Kubernetes object without Secret data, without values of variables that are named like credentials.

    What server-side apply keeps about managers goes too: it repeats the object.
    """
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    hidden = {key: without_secrets(item) for key, item in value.items() if key != "managedFields"}
    if value.get("kind") == "Secret":
        hidden |= {key: dict.fromkeys(value[key], MASK) for key in ("data", "stringData") if value.get(key)}
    if isinstance(value.get("value"), str) and SECRET_NAMES.search(str(value.get("name", ""))):
        hidden["value"] = MASK
    return hidden


def _secrets(target: Target) -> tuple[str, ...]:
    if not isinstance(target, HoldsEvidence):
        return ()
    try:
        return tuple(value for value in target.secret_values() if len(value) >= 6)
    except SdctlError:
        return ()


def _lines(target: Target) -> str:
    return "\n".join(show.log_line(line) for line in target.logs(LogQuery(tail=TAIL)))


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
    archive.addfile(entry, io.BytesIO(content))
