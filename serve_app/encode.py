"""Pixels to the bytes of an image file."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app.schemas import Format

Pixels = npt.NDArray[np.uint8]

OPTIONS: dict[Format, dict[str, int]] = {
    "png": {"compress_level": 1},  # half the time of the default for a seventh more bytes
    "jpeg": {"quality": 92},
    "webp": {"quality": 92, "method": 0},
}


def encode(pixels: Pixels, format: Format) -> bytes:  # noqa: A002
    """The file for pixels of shape (height, width, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format.upper(), **OPTIONS[format])
    return buffer.getvalue()
