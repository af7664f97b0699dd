"""The one screen of a running load test: plain lines made from counters; drawn by output."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sdctl.loadtest.records import Record, quantile
from sdctl.loadtest.transitions import Transition

BARS = " ▁▂▃▄▅▆▇█"
WINDOW_S = 30.0
POINTS = 40


@dataclass
class Live:
    """What is known so far; fed by the reader and the watchers, read by the screen."""

    started: float
    run_time_s: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: float = 0.0
    in_flight: int = 0
    done: int = 0
    bad: int = 0
    target: int | None = None
    replicas: dict[str, str] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    recent: deque[tuple[float, float]] = field(default_factory=deque)  # done, latency of good images
    history: dict[str, deque[float]] = field(default_factory=dict)
    phase: str = "starting"

    def record(self, record: Record, in_flight: int) -> None:
        """Count one ended request."""
        with self.lock:
            self.in_flight = in_flight
            self.done += 1
            self.bad += record.outcome != "ok"
            if record.outcome == "ok" and record.done is not None and record.latency_s is not None:
                self.recent.append((record.done, record.latency_s))

    def change(self, change: Transition) -> None:
        """Take one transition of the server's side."""
        with self.lock:
            if change.kind == "deployment" and change.what == "target":
                self.target = int(change.detail["target"])
            elif change.kind == "replica":
                self.replicas[change.name] = change.what
                if change.what == "gone":
                    del self.replicas[change.name]
            elif change.kind == "ray_node":
                (self.nodes.add if change.what == "alive" else self.nodes.discard)(change.name)

    @property
    def running(self) -> int:
        """Replicas that serve."""
        return sum(state == "RUNNING" for state in self.replicas.values())

    def lines(self, now: float) -> list[str]:
        """The screen: at most 12 lines of at most 78 characters."""
        with self.lock:
            return self._lines(now)

    def _lines(self, now: float) -> list[str]:
        while self.recent and self.recent[0][0] < now - WINDOW_S:
            self.recent.popleft()
        latencies = sorted(latency for _, latency in self.recent)
        span = min(WINDOW_S, max(1.0, now - self.started))
        per_minute = len(latencies) / span * 60
        middle, slow = quantile(latencies, 0.5), quantile(latencies, 0.95)
        replicas = f"{self.running}" + (f" of {self.target}" if self.target is not None else "")
        for name, value in (("in flight", self.in_flight), ("img/min", per_minute), ("replicas", self.running)):
            self.history.setdefault(name, deque(maxlen=POINTS)).append(float(value))
        left = max(0.0, self.run_time_s - (now - self.started))
        newcomers = [f"{name[-6:]} {state.lower()}" for name, state in self.replicas.items() if state != "RUNNING"]
        return [
            f"{self.phase:<22} {now - self.started:6.0f} s   {left:5.0f} s left   users {self.users:5.0f}",
            f"in flight {self.in_flight:5d}   done {self.done:7d}   other than good {self.bad:5d}",
            f"latency p50 {_s(middle)}   p95 {_s(slow)}   (last {WINDOW_S:.0f} s)",
            f"replicas {replicas:<9} nodes {len(self.nodes)}   {', '.join(newcomers)}"[:78],
            *(f"{name:<10} {spark(values):<{POINTS}} {values[-1]:.4g}" for name, values in self.history.items()),
        ]

    def line(self, now: float) -> str:
        """The same in one line, for a place that is no terminal."""
        return " | ".join(text.strip() for text in self.lines(now)[:4])


def _s(value: float | None) -> str:
    return "      –" if value is None else f"{value:6.2f}s"


def spark(values: Sequence[float]) -> str:
    """A sparkline; the highest value fills its cell."""
    top = max(values, default=0.0)
    return "".join(BARS[round(value / top * (len(BARS) - 1))] if top > 0 else BARS[0] for value in values)


def clock() -> float:
    """Epoch seconds, as the records and transitions have them."""
    return time.time()
