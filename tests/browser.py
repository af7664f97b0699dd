"""Debian's Chromium for tests that look at a page as a user's browser does."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

QUIET = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
]


@dataclass(frozen=True)
class Visit:
    """What a page did: its DOM after loading, what its console said, every URL that was asked for, its picture."""

    dom: str
    console: list[str]
    urls: list[str]
    screenshot: Path


def chromium() -> str:
    """The browser's path; installs Debian's package where that is possible. Raises RuntimeError with the way out."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment, capture_output=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        if found := shutil.which("chromium"):
            return found
    raise RuntimeError("These tests need a browser: install Debian's package `chromium`.")


def visit(page: Path, folder: Path, *, width: int, dark: bool = False) -> Visit:
    """Open a local page in a fresh headless browser; files go into `folder`."""
    net, shot = folder / f"net-{width}.json", folder / f"page-{width}{'-dark' if dark else ''}.png"
    command = [chromium(), *QUIET, f"--user-data-dir={folder / f'profile-{width}-{dark}'}", f"--log-net-log={net}"]
    command += [f"--window-size={width},2400", "--enable-logging=stderr", "--v=0"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    command += [f"--screenshot={shot}", "--dump-dom", "--virtual-time-budget=2000", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(done.stdout, console, _urls(net), shot)


def _urls(path: Path) -> list[str]:
    """The URLs of every request that a page made; those of the browser itself have no origin."""
    text = path.read_text(encoding="utf-8").rstrip()
    log = json.loads(text if text.endswith("}") else text.rstrip(",\n") + "]}")
    asked = [event["params"] for event in log["events"] if "initiator" in event.get("params", {})]
    return sorted({each["url"] for each in asked if "url" in each and each["initiator"] != "not an origin"})
