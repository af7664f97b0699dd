"""A load test that runs beside a test: what it has written so far, and its end."""

import json
import signal
from pathlib import Path
from typing import Any

import psutil


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON Lines file that may still be written; none where there is no file yet."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def made_by(folder: Path) -> set[str]:
    """The replicas that have made a good image in a run so far, as answers call them."""
    return {line["replica"] for line in lines(folder / "requests.jsonl") if line["outcome"] == "ok"}


def generator(parent: int) -> psutil.Process:
    """The load generator below a running `sdctl loadtest`."""
    return next(each for each in psutil.Process(parent).children() if "locust" in " ".join(each.cmdline()))


def end_load(parent: int) -> None:
    """End the load as the end of its plan does, so that no test depends on how fast this machine is."""
    generator(parent).send_signal(signal.SIGUSR1)
