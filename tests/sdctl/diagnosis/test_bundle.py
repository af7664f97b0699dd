"""A debug bundle: everything that can be had is in it, and no secret."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdctl import bundle
from sdctl.bundle import MASK, mask, without_secrets
from sdctl.errors import NotAllowed, Unreachable
from sdctl.targets.base import Finding, LogLine, LogQuery, ServiceStatus

KEY = "5f8c2a91d0e7b364"


class Broken:
    """A target whose logs cannot be had, and whose evidence is full of its key."""

    name = "kubernetes"

    def status(self) -> ServiceStatus:
        return ServiceStatus(self.name, "sd", "failing", f"The key {KEY} is refused.")

    def doctor(self) -> Iterator[Finding]:
        yield Finding("ok", "API server", "Kubernetes 1.33")

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        yield LogLine("sd-head", "one line")
        raise Unreachable("The API server went away.")

    def evidence(self) -> Iterator[tuple[str, str]]:
        yield "objects/Secret-sd.json", json.dumps({"token": KEY})

    def secret_values(self) -> Iterator[str]:
        yield KEY


def test_bundle_masks_and_notes_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    target: Any = Broken()
    names = bundle.write(path, target)
    assert names == ["versions.json", "status.json", "doctor.json", "objects/Secret-sd.json", "errors.txt"]
    assert path.stat().st_mode & 0o077 == 0
    with tarfile.open(path) as archive:
        contents = {Path(entry.name).name: _text(archive, entry) for entry in archive.getmembers()}
        assert {Path(entry.name).parts[0] for entry in archive.getmembers()} == {"bundle"}
    assert KEY not in "".join(contents.values())
    assert MASK in contents["status.json"]
    assert "logs.txt: The API server went away." in contents["errors.txt"]
    assert json.loads(contents["versions.json"])["packages"]["kubernetes"]


def _text(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    file = archive.extractfile(entry)
    assert file is not None
    return file.read().decode()


def test_an_archive_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    path.write_text("mine")
    target: Any = Broken()
    with pytest.raises(NotAllowed, match="cannot be written"):
        bundle.write(path, target)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {KEY}",
        "HF_TOKEN is hf_abcdefghijklmnopqrstuv",
        f'"auth_token": "{KEY}"',
        f"AWS_SECRET_ACCESS_KEY={KEY}",
        "eyJhbGciOiJSUzI1NiJ9x.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        "AKIAABCDEFGHIJKLMNOP",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    assert MASK in mask(text)
    assert KEY not in mask(text)


def test_ordinary_lines_stay_as_they_are() -> None:
    line = "INFO 2026-11-20 12:00:00,123 Generator sd#a1b2c3 -- POST /imagine 200 1234.5ms, max_tokens=77"
    assert mask(line) == line


def test_objects_lose_secret_data_and_variables_named_like_secrets() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "x", "managedFields": [1]}, "data": {"auth_token": "YWJj"}}
    assert without_secrets(secret) == {"kind": "Secret", "metadata": {"name": "x"}, "data": {"auth_token": MASK}}
    pod = {"env": [{"name": "HF_TOKEN", "value": "abc"}, {"name": "MODEL", "value": "sdxl"}]}
    assert without_secrets(pod) == {"env": [{"name": "HF_TOKEN", "value": MASK}, {"name": "MODEL", "value": "sdxl"}]}
