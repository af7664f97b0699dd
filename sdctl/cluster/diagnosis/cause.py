"""Why a service is not ready, in one line with its next step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """`reason` says what is wrong with what, `hint` what to do; `fatal`: waiting longer does not mend it."""

    code: str
    reason: str
    hint: str = ""
    fatal: bool = False
