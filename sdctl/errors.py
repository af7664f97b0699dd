"""What can go wrong, as one tree; the exit code is on the class.

SdctlError                 1  failed
├── InvalidRequest         2  usage, invalid manifest or request
├── NotFound               3  no such service, model, file
├── TimedOut               4
├── Unreachable            5
├── SloMissed              6
├── NotAllowed             7  401 or 403
├── Busy                   8  503 or 429 after retries
└── Interrupted          130
"""


class SdctlError(Exception):
    """Something a user can cause or mend: what happened, to what, and in `hint` what to do next."""

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code:
            self.code = code

    def to_json(self) -> dict[str, dict[str, str]]:
        """The error document that `--json` prints."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class InvalidRequest(SdctlError):
    exit_code = 2
    code = "invalid"


class NotFound(SdctlError):
    exit_code = 3
    code = "not_found"


class TimedOut(SdctlError):
    exit_code = 4
    code = "timed_out"


class Unreachable(SdctlError):
    exit_code = 5
    code = "unreachable"


class SloMissed(SdctlError):
    exit_code = 6
    code = "slo_missed"


class NotAllowed(SdctlError):
    exit_code = 7
    code = "not_allowed"


class Busy(SdctlError):
    exit_code = 8
    code = "busy"


class Interrupted(SdctlError):
    exit_code = 130
    code = "interrupted"
