"""How a model is fetched: from the built-in folder, any folder, or a model hub; pure of torch."""

from pathlib import Path
from typing import Any

from serve_app.config import BUILTIN, ServiceConfig
from serve_app.errors import StartupError

BUILTIN_FOLDER = Path(__file__).parent / "models" / "shapes"


def source(config: ServiceConfig) -> str:
    """A folder or a hub's id, as diffusers takes it."""
    return str(BUILTIN_FOLDER) if config.model == BUILTIN else config.model


def options(config: ServiceConfig) -> dict[str, Any]:
    """The arguments of every fetch: revision, token, and whether the network may be used; raises StartupError."""
    found: dict[str, Any] = {"local_files_only": config.local_files_only}
    if config.revision:
        found["revision"] = config.revision
    if config.hub_token_file:
        try:
            found["token"] = Path(config.hub_token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise StartupError(f"The hub's token file cannot be read: {error}.") from None
    return found


def why_not(config: ServiceConfig, error: Exception) -> str:
    """What to tell about a model that cannot be loaded, and what to do."""
    words = next((line for line in str(error).splitlines() if line.strip()), "no message")[:300]
    return (
        f"The model {config.model} cannot be loaded ({type(error).__name__}: {words}). "
        "Check its name, the network, and for a gated model hub_token_file."
    )
