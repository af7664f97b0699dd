"""Whether an answer is the image that was asked for: cheap checks, without numpy or torch."""

import base64
import io

from PIL import Image, UnidentifiedImageError

GRID = 16
# A cell averages 8 x 8 pixels and more: one grey level a pixel moves it by at most one, and resizing rounds by one.
TOLERANCE = 3


def verdict(body: bytes, *, width: int | None, height: int | None, reference: str) -> tuple[str, str]:
    """Give (outcome, reason): ok, wrong (no image, wrong size, blank) or mismatch (not the reference's picture)."""
    try:
        with Image.open(io.BytesIO(body)) as opened:
            opened.load()
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        return "wrong", f"not a whole image: {type(error).__name__}"
    if (width and image.width != width) or (height and image.height != height):
        return "wrong", f"size {image.width}x{image.height} instead of {width}x{height}"
    if image.getcolors(1) is not None:
        return "wrong", "one colour only"
    if reference and not same(fingerprint(image), reference):
        return "mismatch", "not the picture of this prompt and seed"
    return "ok", ""


def fingerprint(image: Image.Image) -> str:
    """A 16 x 16 average of the picture, as base64 of RGB bytes."""
    small = image.convert("RGB").resize((GRID, GRID), Image.Resampling.BOX)
    return base64.b64encode(small.tobytes()).decode("ascii")


def same(one: str, other: str) -> bool:
    """Whether two fingerprints differ by no more than rounding."""
    left, right = base64.b64decode(one), base64.b64decode(other)
    return len(left) == len(right) and all(abs(a - b) <= TOLERANCE for a, b in zip(left, right, strict=True))
