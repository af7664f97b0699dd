"""What sdctl remembers between commands, under $XDG_STATE_HOME/sdctl."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def home() -> Path:
    """The folder of our state; not made by this call."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "sdctl"


def read(name: str) -> dict[str, Any]:
    """The JSON object kept as `name`; empty when there is none or it cannot be read (stale state is not trusted)."""
    try:
        value = json.loads((home() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write(name: str, value: dict[str, Any]) -> None:
    """Keep a JSON object as `name`, readable by this user only, whole or not at all."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
        Path(temporary).replace(folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove(name: str) -> None:
    """Forget `name`; no error when it is not there."""
    (home() / name).unlink(missing_ok=True)


def last_target() -> str:
    """The target of the last `sdctl deploy`, or an empty string."""
    value = read("last-target.json").get("target", "")
    return value if isinstance(value, str) else ""


def remember_target(target: str) -> None:
    """Make `target` the one that commands without --target use."""
    write("last-target.json", {"target": target})
