"""What Ray's autoscaler reports of its work: demand that waits, nodes that are being launched, launches that failed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sdctl.loadtest.transitions import Transition

_PENDING, _FAILURES, _DEMAND = "Pending:", "Recent failures:", "Pending Demands:"
_NOTHING = re.compile(r"^\((no|none)\b")
_LAUNCHING = re.compile(r", (\d+) launching$")
_WAITING = re.compile(r": (\d+)\+? (?:pending|from)")


@dataclass(frozen=True)
class Report:
    """The lines of one report; each list is empty where the autoscaler has nothing to say."""

    pending: tuple[str, ...] = ()  # nodes that it asked for and that have not joined
    failures: tuple[str, ...] = ()
    demand: tuple[str, ...] = ()  # what replicas ask for and no node has room for

    @property
    def launching(self) -> int:
        """How many nodes it waits for."""
        return sum(_count(_LAUNCHING, line) for line in self.pending)

    @property
    def waiting(self) -> int:
        """How many requests for resources wait for a node."""
        return sum(_count(_WAITING, line) for line in self.demand)


def _count(pattern: re.Pattern[str], line: str) -> int:
    found = pattern.search(line)
    return int(found[1]) if found else 1


def parse(text: str) -> Report | None:
    """Read the report that `ray status` prints; None where there is none (nothing scales this Ray's nodes)."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            if not _NOTHING.match(line.strip()):
                lines.append(line.strip(" ,"))
        else:
            lines = sections.setdefault(line.strip(), [])
    if _PENDING not in sections or _DEMAND not in sections:
        return None
    return Report(*(tuple(sections.get(name, ())) for name in (_PENDING, _FAILURES, _DEMAND)))


def report_changes(before: Report | None, after: Report | None, observed: float) -> list[Transition]:
    """One transition where the report says something else than before; its detail has the lines and their sums."""
    if after is None or after == (before or Report()):
        return []
    detail = {**vars(after), "launching": after.launching, "waiting": after.waiting}
    return [Transition("autoscaler", "Ray", "report", observed, None, "ray", detail)]


def said(transitions: Iterable[Transition], burst: float) -> list[dict[str, Any]]:
    """Each report that differed from the one before it, with its time in seconds after the burst began."""
    mine = sorted((t for t in transitions if t.kind == "autoscaler"), key=lambda t: t.time)
    return [{"after_s": change.time - burst, **change.detail} for change in mine]


def wanted(transitions: Iterable[Transition], burst: float) -> list[dict[str, Any]]:
    """Each number of workers that was wanted of a RayCluster, with its time in seconds after the burst began."""
    mine = sorted((t for t in transitions if t.kind == "raycluster" and "workers" in t.detail), key=lambda t: t.time)
    return [{"after_s": t.time - burst, "cluster": t.name, "workers": t.detail["workers"]} for t in mine]


def failed_launches(transitions: Iterable[Transition]) -> list[str]:
    """Why nodes could not be launched, each reason once; a node that ended is no failed launch."""
    lines = [line for t in transitions if t.kind == "autoscaler" for line in t.detail["failures"]]
    return list(dict.fromkeys(line for line in lines if "NodeTerminated" not in line))
