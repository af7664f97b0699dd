"""What the API server refused, as errors that say which verb on which resource, and what to do."""

import json
from dataclasses import dataclass
from typing import Any

from sdctl.cluster.resources import Resource
from sdctl.errors import Busy, InvalidRequest, NotAllowed, NotFound, SdctlError, Unreachable

KIND_MISSING = "kind_missing"  # the server knows no such kind: its definition is not installed, or not loaded yet
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


@dataclass(frozen=True)
class Conflict:
    """One field that somebody else manages."""

    manager: str
    field: str


class Conflicts(SdctlError):
    """Server-side apply met fields of other managers, or an update met a newer object."""

    code = "conflict"

    def __init__(self, message: str, found: tuple[Conflict, ...], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.found = found


class Expired(SdctlError):
    """410: the resource version is too old to watch from; list again."""

    code = "expired"


@dataclass(frozen=True)
class Attempt:
    """What was asked of the API server, for the words of an error."""

    method: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def verb(self) -> str:
        """The RBAC verb."""
        return "list" if self.method == "GET" and not self.name else _VERBS[self.method]

    @property
    def target(self) -> str:
        """The resource (with its subresource) and where, such as `pods/log in namespace sdctl`."""
        title = self.resource.title + (f"/{self.subresource}" if self.subresource else "")
        named = f"{title} {self.name}" if self.name else title
        return f"{named} in namespace {self.namespace}" if self.namespace else named


def refusal(status: int, body: str, attempt: Attempt) -> SdctlError:
    """The error for an answer with an HTTP status of 400 and above."""
    answer = _status_object(body)
    message = str(answer.get("message") or body.strip()[:300] or f"HTTP {status}")
    if status == 401:
        return NotAllowed(
            "The API server does not accept these credentials.",
            hint="Log in again (for EKS: aws eks update-kubeconfig), or choose another --context.",
            code="unauthenticated",
        )
    if status == 403:
        return _forbidden(message, attempt)
    if status == 404:
        return _missing(answer, attempt)
    if status == 409:
        return Conflicts(message, _conflicts(answer), hint="")
    if status == 410:
        return Expired(f"The API server no longer has what {attempt.verb} {attempt.target} asked for: {message}")
    if status in (429, 503):
        return Busy(f"The API server is busy: {message}", hint="Try again in a moment.")
    if status in (400, 413, 415, 422):
        return InvalidRequest(
            f"The API server refused {attempt.verb} {attempt.target}: {message}", hint=_causes(answer)
        )
    return SdctlError(
        f"The API server failed to {attempt.verb} {attempt.target} (HTTP {status}): {message}",
        hint="Try again; if it stays, look at the API server's and the webhooks' logs.",
    )


def unreachable(host: str, error: Exception) -> Unreachable:
    """The error for a server that gave no answer."""
    text = str(error)
    reason = getattr(error, "reason", None)
    if reason is not None and not isinstance(reason, str):
        text = str(reason)
    return Unreachable(
        f"The API server {host} cannot be reached: {text.splitlines()[0][:200] if text else type(error).__name__}",
        hint="Check the network and VPN, --context and --kubeconfig; `sdctl doctor` looks further.",
    )


def _forbidden(message: str, attempt: Attempt) -> NotAllowed:
    if " cannot " not in message:  # an admission controller said no: quota, Pod Security, a webhook
        return NotAllowed(
            f"The API server does not admit {attempt.verb} {attempt.target}: {message}",
            hint="Ask whoever runs the cluster; the message names the rule.",
        )
    return NotAllowed(
        f"You may not {attempt.verb} {attempt.target}.",
        hint=f"Ask for the verb `{attempt.verb}` on `{attempt.resource.title}"
        + (f"/{attempt.subresource}" if attempt.subresource else "")
        + "`; manifests/rbac.yaml has the whole list.",
    )


def _missing(answer: dict[str, Any], attempt: Attempt) -> NotFound:
    if answer.get("details") or not attempt.resource.group:
        return NotFound(f"There is no {attempt.target}.", hint="Check --name, --namespace and --context.")
    hints = {
        "ray.io": "Install KubeRay 1.6 or newer: its operator's chart brings the CRDs.",
        "karpenter.sh": "Karpenter is optional; without it nodes come from fixed groups.",
    }
    return NotFound(
        f"This cluster does not know {attempt.resource.title} ({attempt.resource.api_version}).",
        hint=hints.get(attempt.resource.group, "Install what defines it."),
        code=KIND_MISSING,
    )


def _status_object(body: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _conflicts(answer: dict[str, Any]) -> tuple[Conflict, ...]:
    causes = (answer.get("details") or {}).get("causes") or []
    return tuple(
        Conflict(manager=_quoted(str(cause.get("message", ""))), field=str(cause.get("field", "")).removeprefix("."))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )


def _quoted(message: str) -> str:
    """The manager in `conflict with "kubectl" using v1`."""
    parts = message.split('"')
    return parts[1] if len(parts) > 2 else message


def _causes(answer: dict[str, Any]) -> str:
    causes = (answer.get("details") or {}).get("causes") or []
    lines = [f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in causes[:5]]
    return "; ".join(lines) or "Mend what the message names."
