"""`sdctl imagine` as a user runs it, against a real HTTP service on loopback."""

import io
import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdctl import receipt
from sdctl.cli import run
from tests.fakes import http_service as fake
from tests.fakes.http_service import HttpService, Reply, http_service

pytestmark = pytest.mark.wire

SDCTL = [sys.executable, "-m", "sdctl"]


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDCTL_TOKEN", "SDCTL_TARGET", "SDCTL_PREVIEW"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def service() -> Iterator[HttpService]:
    with http_service() as running:
        yield running


def imagine(service: HttpService, *arguments: str) -> int:
    return run(["imagine", *arguments, "--target", service.url])


def pixels(file: Path | io.BytesIO) -> tuple[str | None, tuple[int, int], bytes]:
    with Image.open(file) as image:
        return image.format, image.size, image.tobytes()


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_one_image_into_a_file(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    assert imagine(service, "a frobnicated sun", "-o", "sun.png", "--size", "64x96", "--seed", "7") == 0
    streams = capsys.readouterr()
    assert streams.out == "sun.png\n"
    assert f"Using {service.url} (url)." in streams.err
    assert "64x96  seed 7  8 steps  fake:bars" in streams.err
    assert "Warning: The model does not know: 'frobnicated'" in streams.err
    assert pixels(Path("sun.png")) == pixels(io.BytesIO(fake.draw(7, 64, 96)))
    assert receipt.read("sun.png").prompt == "a frobnicated sun"


def test_prompts_go_by_post_and_never_into_a_url(service: HttpService) -> None:
    assert imagine(service, "very private", "-o", "x.png") == 0
    assert all("private" not in seen.path for seen in service.seen)
    assert service.posts[0].body["prompt"] == "very private"
    assert float(service.posts[0].headers["x-request-timeout"]) <= 120


def test_many_prompts_into_a_folder_in_order(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = [f"prompt {number}" for number in range(20)]
    assert imagine(service, *prompts, "-n", "2", "--seed", "3", "-o", "out/") == 0
    paths = capsys.readouterr().out.split()
    assert paths == [f"out/prompt-{number}-{seed}.png" for number in range(20) for seed in (3, 4)]
    assert sorted(paths) == sorted(str(path) for path in Path("out").iterdir())
    assert len(service.posts) == 40


def test_prompts_from_stdin(
    service: HttpService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo\n"))
    assert imagine(service, "-", "--json", "-o", "x.webp") == 0
    images = document(capsys)["images"]
    assert [(each["path"], each["receipt"]["prompt"]) for each in images] == [("x-1.webp", "one"), ("x-2.webp", "two")]
    assert pixels(Path("x-2.webp"))[0] == "WEBP"


def test_a_pipe_gets_the_bytes_and_nothing_else(
    service: HttpService, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert imagine(service, "sun", "--seed", "1", "--no-metadata") == 0
    assert capfdbinary.readouterr().out == fake.draw(1, 128, 128)
    assert list(Path().iterdir()) == []


def test_json_is_one_document(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    assert imagine(service, "a frobnicated sun", "--json", "--seed", "5") == 0
    found = document(capsys)
    (image,) = found["images"]
    assert found["endpoint"] == {"url": service.url}
    assert image["path"] == "a-frobnicated-sun-5.png"
    assert image["bytes"] == Path(image["path"]).stat().st_size
    assert image["receipt"]["seed"] == 5
    assert image["warnings"][0]["words"] == ["frobnicated"]
    assert image["tries"] == 1


def test_a_receipt_makes_the_same_image_again(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    assert imagine(service, "sun", "-o", "one.png", "--size", "64", "--negative", "rain") == 0
    assert imagine(service, "--from", "one.png", "-o", "two.png") == 0
    first, second = (seen.body for seen in service.posts)
    assert {**first, "num_inference_steps": 8, "guidance_scale": 4.0, "model": fake.MODEL} == second
    assert pixels(Path("one.png")) == pixels(Path("two.png"))
    other = fake.imagine(second)
    service.script.append(Reply(200, other.body, {"Content-Type": "image/png", "X-Model": "another"}))
    capsys.readouterr()
    assert imagine(service, "--from", "one.png", "-o", "three.png") == 0
    assert f"may differ from the one that is replayed: model {fake.MODEL}, now another" in capsys.readouterr().err


def test_no_metadata_keeps_the_prompt_out(service: HttpService) -> None:
    assert imagine(service, "very private", "--no-metadata", "-o", "out/", "--seed", "1") == 0
    (path,) = Path("out").iterdir()
    assert path.name == "image-1.png"
    assert b"private" not in path.read_bytes()


def test_existing_files_stay(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.png").write_bytes(b"old")
    assert imagine(service, "sun", "-o", "x.png") == 2
    assert "x-1.png is free" in capsys.readouterr().err
    assert service.seen == []
    assert imagine(service, "sun", "-o", "x.png", "--force") == 0
    assert pixels(Path("x.png"))[1] == (128, 128)


def test_trouble_is_survived(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    good = fake.imagine({"prompt": "x"})
    service.script += [
        fake.error(503, "busy", **{"Retry-After": "0"}),
        Reply(drop=True),
        Reply(200, good.body, good.headers, cut=50),
        Reply(500, b"Internal Server Error"),
    ]
    assert imagine(service, "sun", "-o", "x.png", "--seed", "2") == 0
    assert len(service.posts) == 5
    assert {seen.body["seed"] for seen in service.posts} == {2}
    said = capsys.readouterr().err
    for reason in ("is busy", "dropped the connection", "lost the request"):
        assert f"The service {reason}: trying again in" in said


@pytest.mark.parametrize(
    ("reply", "exit_code", "code"),
    [
        (fake.error(400, "invalid", param="width"), 2, "invalid"),
        (fake.error(400, "content_policy_violation"), 2, "content_refused"),
        (fake.error(401, "invalid_api_key"), 7, "not_allowed"),
        (fake.error(403, "forbidden"), 7, "not_allowed"),
        (fake.error(404, "model_not_found", param="model"), 3, "not_found"),
        (fake.error(500, "internal"), 1, "service_failed"),
        (fake.error(503, "busy", **{"Retry-After": "999"}), 8, "busy"),
        (fake.error(429, "rate_limited", **{"Retry-After": "999"}), 8, "busy"),
        (fake.error(504, "deadline"), 4, "timed_out"),
        (Reply(200, b"<html>oh</html>", {"Content-Type": "text/html"}), 1, "wrong_image"),
        (Reply(200, b"no png", {"Content-Type": "image/png"}), 1, "wrong_image"),
    ],
)
def test_errors_have_their_exit_code_and_nothing_is_saved(
    service: HttpService, reply: Reply, exit_code: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.script.append(reply)
    assert imagine(service, "sun", "-o", "x.png", "--json") == exit_code
    streams = capsys.readouterr()
    error = json.loads(streams.out)["error"]
    assert error["code"] == code
    assert error["message"]
    assert "Traceback" not in streams.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        ["x" * 2001],
        ["sun", "--size", "513"],
        ["sun", "--size", "big"],
        ["sun", "--steps", "0"],
        ["sun", "--steps", "many"],
        ["sun", "--seed", "-1"],
        ["sun", "--guidance", "nan"],
        ["sun", "-n", "0"],
        ["sun", "--timeout", "soon"],
        ["sun", "--preview", "ascii"],
        ["sun", "--dialect", "french"],
        ["sun", "-o", "x.gif"],
        ["sun", "--format", "bmp"],
        ["sun", "--surprise"],
        ["sun", "--local"],
    ],
)
def test_wrong_input_is_exit_2(service: HttpService, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert imagine(service, *arguments, "--json") == 2
    assert document(capsys)["error"]["code"] == "invalid"
    assert service.posts == []
    assert list(Path().iterdir()) == []


def test_one_failure_among_many_is_reported_and_the_rest_is_saved(
    service: HttpService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.script.append(fake.error(400, "content_policy_violation"))
    assert imagine(service, "one", "two", "three", "-o", "out/", "--json") == 2
    found = document(capsys)
    assert found["error"]["code"] == "content_refused"
    assert [each["path"] is None for each in found["images"]].count(True) == 1
    assert len(list(Path("out").iterdir())) == 2
    service.script.append(fake.error(400, "content_policy_violation"))
    assert imagine(service, "one", "two", "-o", "more/") == 2
    assert "1 of 2 images failed" in capsys.readouterr().err


def test_a_key_goes_along_from_the_environment_or_a_file(
    service: HttpService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SDCTL_TOKEN", "from-environment")
    assert imagine(service, "sun", "-o", "a.png") == 0
    (tmp_path / "key").write_text("from-file\n")
    assert imagine(service, "sun", "-o", "b.png", "--token-file", str(tmp_path / "key")) == 0
    keys = [seen.headers["authorization"] for seen in service.posts]
    assert keys == ["Bearer from-environment", "Bearer from-file"]


def test_a_proxy_is_used_and_a_key_in_the_clear_is_warned_of(
    service: HttpService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", service.url)
    monkeypatch.setenv("SDCTL_TOKEN", "k")
    assert run(["imagine", "sun", "--target", "http://images.invalid", "-o", "x.png"]) == 0
    assert service.posts[0].path == "http://images.invalid/imagine"
    assert "the key travels in the clear" in capsys.readouterr().err


def test_any_openai_server_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    with http_service("openai") as other:
        assert run(["imagine", "sun", "--target", f"{other.url}/v1", "-o", "a.png", "--size", "64"]) == 0
        assert run(["imagine", "sun", "--target", other.url, "--dialect", "openai", "-o", "b.jpg"]) == 0
        assert run(["imagine", "sun", "--target", other.url, "--dialect", "sdctl", "-o", "c.png"]) == 3
    assert receipt.read("a.png").prompt == "sun"
    assert pixels(Path("b.jpg"))[0] == "JPEG"
    assert not Path("c.png").exists()


def test_nobody_there_is_unreachable(service: HttpService, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["imagine", "sun", "--target", "http://127.0.0.1:1", "--timeout", "1s", "--json", "-o", "x.png"]) == 5
    assert document(capsys)["error"]["code"] == "unreachable"


def limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_that_cannot_grow_is_a_clear_error_with_nothing_left(service: HttpService) -> None:
    command = [*SDCTL, "imagine", "sun", "-o", "out/x.png", "--target", service.url]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=lambda: limited(200)
    )
    assert done.returncode == 1
    assert "out/x.png was not written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(Path("out").iterdir()) == []


def test_ctrl_c_ends_at_once_and_hangs_up(service: HttpService) -> None:
    hold = threading.Event()
    service.script.append(Reply(hold=hold))
    command = [*SDCTL, "imagine", "sun", "-o", "x.png", "--target", service.url, "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not service.posts:
            assert child.poll() is None, child.communicate()
            threading.Event().wait(0.02)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=100)  # the held request would last 120 s
    finally:
        hold.set()
        child.kill()
        child.wait()
    assert child.returncode == 130
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert list(Path().iterdir()) == []


def test_a_terminal_gets_a_file_and_its_preview(service: HttpService) -> None:
    shown, code = in_terminal([*SDCTL, "imagine", "sun", "--seed", "1", "--target", service.url])
    assert code == 0
    assert "▀" in shown
    assert "sun-1.png" in shown
    assert pixels(Path("sun-1.png"))[1] == (128, 128)


def in_terminal(command: list[str]) -> tuple[str, int]:
    """Run a command in a terminal of its own; gives what it showed and its exit code."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "100", "LINES": "30"}
    for name in ("NO_COLOR", "TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL"):
        environment.pop(name, None)
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True)
    os.close(slave)
    shown = bytearray()
    try:
        while select.select([master], [], [], 120)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the terminal's last user is gone
                break
            if not piece:
                break
            shown += piece
        return shown.decode(), child.wait(120)
    finally:
        os.close(master)
        child.kill()
        child.wait()
