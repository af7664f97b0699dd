"""What the service answers when it cannot give an image, and why it refuses to start."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


@dataclass(frozen=True)
class Refusal:
    """An HTTP status with the documented error; `message` never holds a prompt's text."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after_s: int | None = None

    @property
    def type(self) -> str:
        """The error's class in OpenAI's words."""
        if self.status >= 500:
            return "server_error"
        return TYPES.get(self.status, "invalid_request_error")


class ServiceError(Exception):
    """Ends a request with its refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class StartupError(Exception):
    """The service cannot start as configured: says what is wrong and what to do."""


class OutOfMemory(Exception):
    """A pipeline call did not fit into memory."""


class Stopped(Exception):
    """A pipeline call ended early because nobody waits for its images any more."""


class ReplicaLost(Exception):
    """The replica that worked on a request died or could not be reached."""


def place_of(error: BaseException) -> str:
    """The error's class and where it came from, without its message: libraries quote prompts in theirs."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ServiceError:
    """The error for a request that can never work as it stands."""
    return ServiceError(Refusal(400, code, message, param))


@contextmanager
def errors_that_name(fields: Mapping[str, str]) -> Iterator[None]:
    """Inside the block, a ServiceError about one of our fields names the dialect's field instead."""
    try:
        yield
    except ServiceError as error:
        refusal = error.refusal
        raise ServiceError(replace(refusal, param=fields.get(refusal.param or "", refusal.param))) from None
