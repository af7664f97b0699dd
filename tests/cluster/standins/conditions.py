"""Conditions in an object's status, as controllers write them."""

from tests.cluster.standins.mirror import Object, now


def condition(before: Object, kind: str, value: bool, reason: str, otherwise: str, message: str = "") -> Object:
    """A status condition; its time changes only with its value."""
    old: Object = next((item for item in before.get("conditions", []) if item["type"] == kind), {})
    status = "True" if value else "False"
    moment = old["lastTransitionTime"] if old.get("status") == status else now()
    reason = reason if value else otherwise
    said = {"reason": reason, "message": message or reason}
    return {"type": kind, "status": status, "lastTransitionTime": moment} | said


def get_condition(status: Object, kind: str) -> Object:
    """A condition of a status; empty without it."""
    found: Object = next((item for item in status.get("conditions", []) if item["type"] == kind), {})
    return found


def set_condition(status: Object, kind: str, value: bool, reason: str, message: str) -> None:
    """Put a condition into a status in place of the one of its type."""
    new = condition(status, kind, value, reason, reason, message)
    status["conditions"] = [*without(status, kind), new]


def without(status: Object, kind: str) -> list[Object]:
    """A status's conditions but one type."""
    return [item for item in status.get("conditions", []) if item["type"] != kind]
