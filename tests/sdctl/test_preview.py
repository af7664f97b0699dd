"""Previews: which one a terminal gets, and that each draws the picture it was given."""

import base64
import io
import itertools
import re

import pytest
from PIL import Image

from sdctl import preview
from sdctl.errors import InvalidRequest

XTERM = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


def picture(width: int = 64, height: int = 64) -> Image.Image:
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (0, height // 2, width, height))
    return image


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        (XTERM, "blocks"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({**XTERM, "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({**XTERM, "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({**XTERM, "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({**XTERM, "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({**XTERM, "TMUX": "/tmp/tmux", "LC_TERMINAL": "iTerm2"}, "blocks"),
        ({"TERM": "dumb"}, "none"),
        ({}, "none"),
        ({**XTERM, "NO_COLOR": "1"}, "none"),
        ({**XTERM, "SDCTL_PREVIEW": "sixel"}, "sixel"),
    ],
)
def test_the_environment_decides(environment: dict[str, str], mode: str) -> None:
    assert preview.choose("auto", environment, terminal=True) == mode
    assert preview.choose("auto", environment, terminal=False) == "none"


def test_an_option_is_stronger_than_the_environment() -> None:
    assert preview.choose("kitty", {"SDCTL_PREVIEW": "none"}, terminal=True) == "kitty"
    assert preview.choose("kitty", XTERM, terminal=False) == "none"


@pytest.mark.parametrize("environment", [{}, {"SDCTL_PREVIEW": "ascii"}])
def test_an_unknown_mode_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="no preview 'ascii'"):
        preview.choose("" if environment else "ascii", environment, terminal=True)


@pytest.mark.parametrize(
    ("width", "height", "cells"),
    [(100, 100, (44, 22)), (200, 100, (64, 16)), (100, 400, (11, 22)), (4000, 2, (64, 1)), (2, 4000, (1, 22))],
)
def test_a_picture_fits_undistorted(width: int, height: int, cells: tuple[int, int]) -> None:
    assert preview.fit(width, height, columns=64, rows=24) == cells


def test_half_blocks_carry_two_pixels_a_character() -> None:
    lines = list(preview.blocks(picture(4, 4), true_colour=True))
    assert lines[0] == "\x1b[38;2;255;0;0;48;2;255;0;0m▀" * 4 + "\x1b[0m"
    assert lines[1] == "\x1b[38;2;0;0;255;48;2;0;0;255m▀" * 4 + "\x1b[0m"


def test_terminals_with_256_colours_get_the_cube() -> None:
    lines = list(preview.blocks(picture(1, 4), true_colour=False))
    assert lines == ["\x1b[38;5;196;48;5;196m▀\x1b[0m", "\x1b[38;5;21;48;5;21m▀\x1b[0m"]


def test_kitty_gets_a_png_in_chunks() -> None:
    noisy = Image.effect_noise((200, 200), 90).convert("RGB")
    shown = preview.render(encoded(noisy, "JPEG"), "kitty", columns=80, rows=40, environment={})
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", shown)
    assert "a=T,f=100" in pieces[0][0]
    assert [keys[-3:] for keys, _ in pieces] == ["m=1"] * (len(pieces) - 1) + ["m=0"]
    assert all(len(piece) <= preview.KITTY_CHUNK for _, piece in pieces)
    decoded = Image.open(io.BytesIO(base64.b64decode("".join(piece for _, piece in pieces))))
    assert (decoded.format, decoded.size) == ("PNG", (200, 200))


def test_iterm2_gets_the_file_as_it_is() -> None:
    data = encoded(picture(), "WEBP")
    shown = preview.render(data, "iterm2", columns=80, rows=40, environment={})
    assert shown.startswith("\x1b]1337;File=inline=1;")
    assert base64.b64decode(shown.partition(":")[2].rstrip("\x07")) == data


def decode_sixel(text: str) -> Image.Image:
    """A small sixel decoder: enough to look at what the encoder drew."""
    head = re.match(r'\x1bPq"1;1;(\d+);(\d+)', text)
    assert head is not None
    image = Image.new("RGB", (int(head[1]), int(head[2])))
    palette: dict[int, tuple[int, ...]] = {}
    x = band = current = 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([?-~])|(\$)|(-)", text[head.end() : -2]):
        number, red, green, blue, select, count, run, one, home, down = token.groups()
        if number:
            palette[int(number)] = tuple(round(int(part) * 255 / 100) for part in (red, green, blue))
        elif select:
            current = int(select)
        elif home or down:
            x, band = 0, band + bool(down)
        else:
            end = x + int(count or 1)
            bits = [bit for bit in range(6) if (ord(run or one) - 63) >> bit & 1]
            for column, bit in itertools.product(range(x, end), bits):
                image.putpixel((column, band * 6 + bit), palette[current])
            x = end
    return image


def test_sixel_draws_the_picture() -> None:
    original = picture(31, 20)
    original.putpixel((3, 17), (0, 255, 0))
    drawn = decode_sixel(preview.sixel(original))
    assert drawn.tobytes() == original.tobytes()


def test_every_mode_renders_and_none_is_empty() -> None:
    for mode in preview.MODES[1:]:
        shown = preview.render(encoded(picture()), mode, columns=80, rows=24, environment=XTERM)
        assert bool(shown) is (mode != "none")
    lines = preview.render(encoded(picture()), "blocks", columns=80, rows=24, environment=XTERM).split("\n")
    assert len(lines) == 22
    assert all(line.count("▀") == 44 for line in lines)
