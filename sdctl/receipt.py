"""What an image was made from, in our JSON and in the layout of A1111's `parameters`."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sdctl import png
from sdctl.errors import InvalidRequest, NotFound

PARAMETERS, OURS = "parameters", "sdctl"  # keywords of the PNG's texts
_PAIR = re.compile(r'\s*([A-Z][\w ]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')


@dataclass(frozen=True)
class Receipt:
    """All that made an image, as far as the service told; sizes in pixels, timings in ms."""

    prompt: str = ""
    negative_prompt: str | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    model: str | None = None
    revision: str | None = None
    app_version: str | None = None
    replica: str | None = None
    batch_size: int | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    request_id: str | None = None
    time: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The document in the PNG's `sdctl` text and in `imagine --json`."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"timings_ms": dict(self.timings_ms)}

    def parameters(self) -> str:
        """The text that A1111 and the tools around it read."""
        size = f"{self.width}x{self.height}" if self.width and self.height else None
        pairs = {
            "Steps": self.num_inference_steps,
            "Sampler": self.scheduler,
            "CFG scale": self.guidance_scale,
            "Seed": self.seed,
            "Size": size,
            "Model": self.model,
            "Version": f"sdctl {self.app_version}" if self.app_version else None,
        }
        last = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value is not None)
        negative = [f"Negative prompt: {self.negative_prompt}"] if self.negative_prompt else []
        return "\n".join([self.prompt, *negative, last])


def from_json(document: Mapping[str, Any]) -> Receipt:
    """A receipt from a document that somebody else wrote: unknown fields and wrong types are left out."""
    known: dict[str, Any] = {}
    for name, kinds in _TYPES.items():
        value = document.get(name)
        if isinstance(value, kinds) and not isinstance(value, bool):
            known[name] = value
    return Receipt(**known)


_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("prompt", "negative_prompt", "scheduler", "model", "revision", "app_version"), str),
    **dict.fromkeys(("replica", "request_id", "time"), str),
    **dict.fromkeys(("seed", "width", "height", "num_inference_steps", "batch_size"), int),
    "guidance_scale": (int, float),
    "timings_ms": dict,
}


def from_header(value: str) -> dict[str, Any]:
    """The document in an X-Receipt header (base64url JSON); empty when it is absent or damaged."""
    try:
        document = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    except (ValueError, binascii.Error):
        return {}
    return document if isinstance(document, dict) else {}


def from_parameters(text: str) -> Receipt:
    """A receipt from A1111's `parameters`; its model's name means nothing to other servers and is left out."""
    *lines, last = text.strip().split("\n")
    pairs = {key: _unquoted(value) for key, value in _PAIR.findall(last)}
    if "Steps" not in pairs:
        lines, pairs = [*lines, last], {}
    start = next((number for number, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    negative = "\n".join(lines[start:]).removeprefix("Negative prompt:").strip()
    width, _, height = pairs.get("Size", "").partition("x")
    return Receipt(
        prompt="\n".join(lines[:start]).strip(),
        negative_prompt=negative or None,
        seed=_whole(pairs.get("Seed")),
        width=_whole(width),
        height=_whole(height),
        num_inference_steps=_whole(pairs.get("Steps")),
        guidance_scale=_number(pairs.get("CFG scale")),
        scheduler=pairs.get("Sampler"),
    )


def write(data: bytes, receipt: Receipt) -> bytes:
    """A PNG with the receipt in it."""
    document = json.dumps(receipt.to_json())
    return png.with_text(data, {PARAMETERS: receipt.parameters(), OURS: document})


def read(path: str | Path) -> Receipt:
    """The receipt in a PNG file; raises NotFound for no file, InvalidRequest for a file without one."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.", hint="Check --from.") from None
    texts = png.text(data)
    try:
        document = json.loads(texts.get(OURS, "null"))
    except ValueError:
        document = None
    if isinstance(document, dict):
        return from_json(document)
    if PARAMETERS in texts:
        return from_parameters(texts[PARAMETERS])
    raise InvalidRequest(
        f"{path} has no receipt in it.",
        hint="Only PNG files have one, unless --no-metadata or an editor removed it.",
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if set(text) & {",", ":", "\n", '"'} else text


def _unquoted(text: str) -> str:
    try:
        value = json.loads(text) if text.startswith('"') else text
    except ValueError:
        return text
    return str(value).strip()


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
