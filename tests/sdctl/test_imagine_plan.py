"""From options to asks and places."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdctl import dialects, receipt
from sdctl.dialects import ImageAsk
from sdctl.errors import InvalidRequest
from sdctl.imagine.plan import MAX_IMAGES, Options, Order, plan
from sdctl.receipt import Receipt
from tests.fakes.http_service import draw

SUN = Options(prompts=("sun",))


def planned(options: Options, *lines: str, terminal: bool = True) -> Order:
    return plan(options, stdin=lines, terminal=terminal)


def test_each_prompt_gets_consecutive_seeds() -> None:
    order = planned(replace(SUN, prompts=("sun", "moon"), count=2, seed=5))
    assert [(ask.prompt, ask.seed) for ask in order.asks] == [("sun", 5), ("sun", 6), ("moon", 5), ("moon", 6)]
    assert order.seed_given


def test_seeds_are_drawn_here_so_that_another_try_makes_the_same_image() -> None:
    order = planned(replace(SUN, count=3))
    seeds = [ask.seed or 0 for ask in order.asks]
    assert {(seed - seeds[0]) % 2**32 for seed in seeds} == {0, 1, 2}
    assert not order.seed_given
    assert planned(SUN).asks != planned(SUN).asks


def test_seeds_wrap_around() -> None:
    assert [ask.seed for ask in planned(replace(SUN, count=2, seed=2**32 - 1)).asks] == [2**32 - 1, 0]


def test_a_dash_reads_a_prompt_a_line() -> None:
    order = planned(replace(SUN, prompts=("first", "-", "last")), " one \n", "\n", "two")
    assert [ask.prompt for ask in order.asks] == ["first", "one", "two", "last"]


def test_a_pipe_gets_the_bytes_and_a_terminal_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert planned(SUN, terminal=False).places == ()
    assert planned(replace(SUN, seed=7), terminal=True).places[0].path == Path("sun-7.png")
    assert planned(replace(SUN, as_json=True), terminal=False).places != ()
    assert planned(replace(SUN, output="x.webp"), terminal=False).asks[0].format == "webp"


@pytest.mark.parametrize(
    ("options", "terminal", "message"),
    [
        (Options(prompts=()), True, "no prompt"),
        (Options(prompts=("-",)), True, "no prompt"),
        (replace(SUN, count=0), True, "--count 0"),
        (replace(SUN, count=MAX_IMAGES + 1), True, "--count"),
        (replace(SUN, count=2), False, "takes one image, not 2"),
        (replace(SUN, output="-"), True, "is a terminal"),
        (replace(SUN, output="-", as_json=True), False, "both want stdout"),
    ],
)
def test_what_cannot_be_done_is_refused(options: Options, terminal: bool, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        planned(options, terminal=terminal)


def test_a_receipt_is_replayed_and_options_change_it(tmp_path: Path) -> None:
    made = Receipt(prompt="sun", negative_prompt="rain", seed=9, width=64, height=128, num_inference_steps=4, model="m")
    source = tmp_path / "sun.png"
    source.write_bytes(receipt.write(draw(1, 64, 128), made))
    again = planned(Options(prompts=(), replay=str(source)))
    assert again.asks == (ImageAsk("sun", "rain", 64, 128, 4, None, 9, "m", "png"),)
    assert again.replayed == made
    changed = planned(Options(prompts=("moon",), replay=str(source), steps=8, seed=1, size=(64, 64)))
    assert changed.asks == (ImageAsk("moon", "rain", 64, 64, 8, None, 1, "m", "png"),)


@pytest.mark.parametrize(
    ("ask", "option"),
    [
        (ImageAsk(""), "The prompt"),
        (ImageAsk("x" * 2001), "The prompt"),
        (ImageAsk("secret", width=513, height=512), "--size"),
        (ImageAsk("secret", width=-8, height=-8), "--size"),
        (ImageAsk("secret", width=100_000, height=64), "--size"),
        (ImageAsk("secret", num_inference_steps=0), "--steps"),
        (ImageAsk("secret", seed=-1), "--seed"),
        (ImageAsk("secret", seed=2**32), "--seed"),
        (ImageAsk("secret", guidance_scale=float("nan")), "--guidance"),
        (ImageAsk("secret", guidance_scale=31), "--guidance"),
    ],
)
def test_our_services_limits_are_checked_before_asking(ask: ImageAsk, option: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{option} is not valid") as caught:
        dialects.check(ask)
    assert "secret" not in caught.value.message
