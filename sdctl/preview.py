"""An image in the terminal: half blocks everywhere, kitty, iTerm2 and sixel graphics where the terminal has them."""

import base64
import io
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sdctl.errors import InvalidRequest

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = ("auto", "kitty", "iterm2", "sixel", "blocks", "none")
MAX_COLUMNS = 64
CELL_PIXELS = 8  # width of a character cell that sixel images are scaled for; terminals don't tell without a query
KITTY_CHUNK = 4096
SIXEL_COLOURS = 128


def choose(asked: str, environment: Mapping[str, str], *, terminal: bool) -> str:
    """The mode to use: what was asked for, else SDCTL_PREVIEW, else what the environment says the terminal has.

    "none" wherever stdout is no terminal. Raises InvalidRequest for a mode that does not exist.
    """
    mode = asked if asked not in ("", "auto") else environment.get("SDCTL_PREVIEW", "") or "auto"
    if mode not in MODES:
        raise InvalidRequest(f"There is no preview {mode!r}.", hint=f"Use one of {', '.join(MODES)}.")
    if not terminal:
        return "none"
    return _detected(environment) if mode == "auto" else mode


def _detected(environment: Mapping[str, str]) -> str:
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if term in ("", "dumb") or environment.get("NO_COLOR"):
        return "none"
    if "TMUX" in environment or term.startswith(("tmux", "screen")):
        return "blocks"  # graphics need its allow-passthrough, and half blocks always arrive
    if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return "sixel" if term.startswith(("foot", "mlterm", "contour", "yaft")) else "blocks"


def render(data: bytes, mode: str, *, columns: int, rows: int, environment: Mapping[str, str]) -> str:
    """The characters that show an encoded image in a terminal of this many columns and rows; empty for "none"."""
    if mode == "none":
        return ""
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB")
    across, down = fit(image.width, image.height, columns=min(columns, MAX_COLUMNS), rows=rows)
    if mode == "kitty":
        return kitty(_png(image), columns=across, rows=down)
    if mode == "iterm2":
        return iterm2(data, columns=across)
    if mode == "sixel":
        return sixel(image.resize((across * CELL_PIXELS, down * 2 * CELL_PIXELS)))
    true_colour = environment.get("COLORTERM", "") in ("truecolor", "24bit")
    return "\n".join(blocks(image.resize((across, down * 2)), true_colour=true_colour))


def fit(width: int, height: int, *, columns: int, rows: int) -> tuple[int, int]:
    """The most columns and rows that an image fills without distortion; a cell is twice as high as wide."""
    room = max(1, rows - 2)  # the prompt and one line of text stay in sight
    across = max(1, min(columns, room * 2 * width // height))
    return across, max(1, min(room, round(across * height / width / 2)))


def blocks(image: "Image", *, true_colour: bool) -> Iterator[str]:
    """Lines of half blocks: two pixels a character, the upper one its foreground, the lower one its background."""
    pixels = image.load()
    assert pixels is not None
    code = _rgb if true_colour else _cube
    for y in range(0, image.height - 1, 2):
        cells = (f"\x1b[38;{code(pixels[x, y])};48;{code(pixels[x, y + 1])}m▀" for x in range(image.width))
        yield "".join(cells) + "\x1b[0m"


def _rgb(pixel: object) -> str:
    red, green, blue = _channels(pixel)
    return f"2;{red};{green};{blue}"


def _cube(pixel: object) -> str:
    """The nearest colour of xterm's 6 x 6 x 6 cube, whose levels are 0, 95, 135, 175, 215, 255."""
    red, green, blue = (0 if value < 48 else 1 if value < 115 else (value - 35) // 40 for value in _channels(pixel))
    return f"5;{16 + 36 * red + 6 * green + blue}"


def _channels(pixel: object) -> tuple[int, int, int]:
    assert isinstance(pixel, tuple)
    red, green, blue = pixel
    return red, green, blue


def kitty(png: bytes, *, columns: int, rows: int) -> str:
    """The kitty graphics protocol: transmit and show, in chunks (https://sw.kovidgoyal.net/kitty/graphics-protocol)."""
    text = base64.b64encode(png).decode()
    pieces = [text[start : start + KITTY_CHUNK] for start in range(0, len(text), KITTY_CHUNK)]
    first = f"a=T,f=100,q=2,c={columns},r={rows},"
    return "".join(
        f"\x1b_G{first if number == 0 else ''}m={int(number + 1 < len(pieces))};{piece}\x1b\\"
        for number, piece in enumerate(pieces)
    )


def iterm2(data: bytes, *, columns: int) -> str:
    """iTerm2's inline image (https://iterm2.com/documentation-images.html)."""
    text = base64.b64encode(data).decode()
    return f"\x1b]1337;File=inline=1;size={len(data)};width={columns};preserveAspectRatio=1:{text}\x07"


def sixel(image: "Image") -> str:
    """DEC sixel: bands of six rows, one pass a colour (VT330/VT340 Programmer Reference, chapter 14)."""
    from PIL import Image

    indexed = image.quantize(SIXEL_COLOURS, dither=Image.Dither.NONE)
    palette = indexed.getpalette() or []
    colours = [palette[start : start + 3] for start in range(0, len(palette), 3)]
    register = "".join(
        f"#{number};2;" + ";".join(str(round(value * 100 / 255)) for value in colour)
        for number, colour in enumerate(colours)
    )
    rows = [indexed.crop((0, y, indexed.width, y + 1)).tobytes() for y in range(indexed.height)]
    bands = "-".join(_band(rows[start : start + 6]) for start in range(0, len(rows), 6))
    return f'\x1bPq"1;1;{image.width};{image.height}{register}{bands}\x1b\\'


def _band(rows: list[bytes]) -> str:
    masks: dict[int, bytearray] = {}
    for bit, row in enumerate(rows):
        for x, colour in enumerate(row):
            if colour not in masks:
                masks[colour] = bytearray(len(row))
            masks[colour][x] |= 1 << bit
    return "$".join(f"#{colour}{_runs(bytes(mask))}" for colour, mask in masks.items())


def _runs(mask: bytes) -> str:
    text = mask.translate(_SIXELS).decode()
    return _REPEATED.sub(lambda found: f"!{len(found[0])}{found[1]}", text)


_SIXELS = bytes((value + 63) & 127 for value in range(256))
_REPEATED = re.compile(r"(.)\1{3,}")


def _png(image: "Image") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
