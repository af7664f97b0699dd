"""The result folder: raw lines written as they come, the summary and the report from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from sdctl.errors import InvalidRequest, NotFound, SdctlError
from sdctl.files import Place, save
from sdctl.loadtest import transitions
from sdctl.loadtest.records import Record, from_event
from sdctl.loadtest.report import render
from sdctl.loadtest.salvage import rebuilt
from sdctl.loadtest.transitions import Transition

REQUESTS, TRANSITIONS, SUMMARY, REPORT, SAMPLES = (
    "requests.jsonl",
    "transitions.jsonl",
    "summary.json",
    "report.html",
    "samples",
)


class Results:
    """A result folder that is being written; a full disk stops the writing, never the counting."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / REQUESTS).exists():
                raise InvalidRequest(f"{folder} holds a run already.", hint="Give another folder with -o.")
            (folder / SAMPLES).mkdir(exist_ok=True)
            self._files: dict[str, TextIO] = {
                name: (folder / name).open("w", encoding="utf-8", buffering=1) for name in (REQUESTS, TRANSITIONS)
            }
        except OSError as error:
            raise InvalidRequest(
                f"The folder {folder} cannot be written: {error.strerror}.", hint="Give another folder with -o."
            ) from None

    def request(self, record: Record) -> None:
        """Write one request's record."""
        self._line(REQUESTS, record.to_json())

    def transition(self, change: Transition) -> None:
        """Write one transition."""
        self._line(TRANSITIONS, change.to_json())

    def _line(self, name: str, document: Mapping[str, Any]) -> None:
        if self.trouble:
            return
        try:
            self._files[name].write(json.dumps(document) + "\n")
        except OSError as error:
            self.trouble = f"{name} could not be written on: {error.strerror}"

    def close(self) -> None:
        """Close the raw files; what cannot be flushed is trouble too."""
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                self.trouble = self.trouble or f"a file could not be closed: {error.strerror}"

    def finish(
        self,
        summary: Mapping[str, Any],
        records: list[Record],
        changes: list[Transition],
        other: Mapping[str, Any] | None = None,
    ) -> None:
        """Write summary.json and report.html; trouble is kept in `trouble`, since the figures are in memory."""
        self.close()
        try:
            _whole(self.folder / SUMMARY, json.dumps(summary, indent=1))
            _whole(self.folder / REPORT, render(summary, records, changes, samples(self.folder), other))
        except SdctlError as error:
            self.trouble = self.trouble or error.message


def samples(folder: Path) -> list[Path]:
    """The sample images of a run, the bad ones first: they are what one looks for."""
    return sorted((folder / SAMPLES).glob("*.img"), key=lambda path: (".ok." in path.name, path.name))


def load(folder: Path) -> tuple[dict[str, Any], list[Record], list[Transition]]:
    """Read a result folder, that of a run which was killed too; raises NotFound when it is none."""
    try:
        records = [from_event(json.loads(line)) for line in _lines(folder / REQUESTS)]
        changes = [transitions.from_json(json.loads(line)) for line in _lines(folder / TRANSITIONS)]
        told = folder / SUMMARY
        summary = json.loads(told.read_text(encoding="utf-8")) if told.exists() else rebuilt(records, changes)
    except (OSError, ValueError, KeyError, TypeError, SdctlError) as error:
        raise NotFound(
            f"{folder} is no result folder of a load test ({type(error).__name__}).",
            hint=f"Give a folder that `sdctl loadtest -o` wrote, with {SUMMARY} and {REQUESTS}.",
        ) from None
    if not isinstance(summary, dict):
        raise NotFound(f"{folder / SUMMARY} is not a summary.", hint="Give a folder that `sdctl loadtest -o` wrote.")
    return summary, records, changes


def redraw(folder: Path, other: Mapping[str, Any] | None = None) -> Path:
    """Draw report.html again from the raw files, with another run's summary beside it where one is given."""
    summary, records, changes = load(folder)
    path = folder / REPORT
    _whole(path, render(summary, records, changes, samples(folder), other))
    return path


def _whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; raises SdctlError."""
    try:
        save(Place(path), text.encode(), force=True)
    except SdctlError as error:
        raise SdctlError(error.message, hint="Make room, then `sdctl loadtest --report DIR` draws it.") from None


def _lines(path: Path) -> list[str]:
    """The lines of a raw file; a last one that was cut off when the run was killed is left out."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines(keepends=True) if line.strip() and line.endswith("\n")]
