"""The report's strip of sample images, small and inside the page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

MAX_SAMPLES = 12
THUMBNAIL = 128


def strip_part(samples: Sequence[Path]) -> str:
    """A strip of sample images."""
    images = [image for image in (thumbnail(path) for path in samples[:MAX_SAMPLES]) if image]
    if not images:
        return ""
    drawn = "".join(f'<img src="{image}" alt="A sample image of the run">' for image in images)
    return f"<h2>Samples</h2><div class=strip>{drawn}</div>"


def thumbnail(path: Path) -> str:
    """A small JPEG of a sample as a data URI; empty for what is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=80)
    except (UnidentifiedImageError, OSError, ValueError):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
