"""What an HTTP answer of a service means: pure, from status, headers and body to an error of ours."""

import json
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from sdctl.errors import Busy, InvalidRequest, NotAllowed, NotFound, SdctlError, TimedOut, Unreachable
from sdctl.retry import Again

REFUSED_CONTENT = {"content_policy_violation", "moderation_blocked", "content_filter"}
OUT_OF_CREDIT = {"insufficient_quota", "billing_hard_limit_reached"}
OPTIONS = {
    "width": "--size",
    "height": "--size",
    "img_size": "--size",
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "negative_prompt": "--negative",
    "prompt": "the prompt",
}
UNASKED = re.compile(r"[`'\"](response_format|seed)[`'\"]")
MAX_SHOWN = 400


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class FieldRefused(InvalidRequest):
    """The service refuses one field of the request; `field` is its name there."""

    def __init__(self, message: str, *, hint: str, field: str) -> None:
        super().__init__(message, hint=hint)
        self.field = field


@dataclass(frozen=True)
class Refusal:
    """An error body, read from our shape, OpenAI's, FastAPI's or plain text; `documented` when it is the first two."""

    message: str
    code: str = ""
    param: str = ""
    documented: bool = False


def refusal(answer: Answer) -> Refusal:
    """Read the error body of an answer; control characters are removed, since it is shown in a terminal."""
    document = answer.json()
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        texts = {key: plain(str(error.get(key) or "")) for key in ("message", "code", "param")}
        return Refusal(texts["message"], texts["code"], texts["param"], documented=True)
    detail = document.get("detail", error) if isinstance(document, dict) else None
    if isinstance(detail, str):
        return Refusal(plain(detail))
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        place = detail[0].get("loc") or [""]
        return Refusal(plain(f"{detail[0].get('msg', '')}"), param=plain(str(place[-1])))
    kind = answer.headers.get("content-type", "")
    return Refusal(plain(answer.body[: 4 * MAX_SHOWN].decode("utf-8", "replace")) if "html" not in kind else "")


def error(answer: Answer, where: str) -> SdctlError | Again:
    """The error that a status of 300 or more means, wrapped in Again where a repetition may help."""
    found, status = refusal(answer), answer.status
    said = f": {found.message}" if found.message else "."
    if found.code in REFUSED_CONTENT:
        return InvalidRequest(
            f"{where} refuses to make this picture{said}",
            hint="Say it in other words, or use another --seed if its safety checker took offence at the picture.",
            code="content_refused",
        )
    if status in (401, 403):
        return NotAllowed(
            f"{where} wants a valid key (HTTP {status}){said}", hint="Give it in SDCTL_TOKEN or with --token-file."
        )
    if status in (429, 503):
        return _busy(answer, found, where, said)
    if status in (408, 504):
        return TimedOut(
            f"{where} did not make the image in time (HTTP {status}){said}",
            hint="--timeout gives it longer, up to the service's own limit; fewer --steps are faster.",
        )
    if status == 404:
        return _not_found(found, where, said)
    if 400 <= status < 500:
        field = found.param or _unasked(found.message)
        option = OPTIONS.get(field, f"--{field}") if field else "the request"
        return FieldRefused(f"{where} refuses {option}{said}", hint="See `sdctl imagine --help`.", field=field)
    return _server_error(answer, found, where, said)


def _unasked(message: str) -> str:
    """The field that a refusal quotes in its text alone, of those that go out without the user asking for them."""
    found = UNASKED.search(message)
    return found[1] if found else ""


def _busy(answer: Answer, found: Refusal, where: str, said: str) -> SdctlError | Again:
    busy = Busy(
        f"{where} is busy or not ready (HTTP {answer.status}){said}",
        hint="`sdctl status` shows why; --timeout keeps trying for longer.",
    )
    if found.code in OUT_OF_CREDIT:
        return busy
    return Again(busy, reason="is busy", after_s=retry_after_s(answer))


def _not_found(found: Refusal, where: str, said: str) -> SdctlError:
    if found.code == "model_not_found" or found.param == "model":
        return NotFound(f"{where} has no such model{said}", hint="Leave --model out to use the one it has.")
    return NotFound(
        f"{where} has no image service at this address (HTTP 404){said}",
        hint="Check the URL's path, or say what it speaks by --dialect sdctl|openai.",
    )


def _server_error(answer: Answer, found: Refusal, where: str, said: str) -> SdctlError | Again:
    name = answer.headers.get("x-request-id", "")
    failed = SdctlError(
        f"{where} failed (HTTP {answer.status}){said}",
        hint=f"`sdctl logs` has more{f' about request {plain(name)}' if name else ''}.",
        code="service_failed",
    )
    if answer.status == 502:
        return Again(Unreachable(failed.message, hint="Its load balancer finds no service."), reason="has no replica")
    if answer.status >= 500 and not found.documented:
        # Not our application's answer: Ray Serve's, for a request whose replica died. Seeds make a repetition safe.
        return Again(failed, reason="lost the request", most=6)
    return failed


def retry_after_s(answer: Answer, now: float | None = None) -> float | None:
    """The Retry-After header in seconds from now (a number or an HTTP date), or None."""
    text = answer.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < 1e9 else None


def plain(text: str) -> str:
    """One short printable line of a text that a server sent."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "…"
