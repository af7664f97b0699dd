"""The one screen of a running load test: plain lines made from counters; drawn by output."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sdctl.loadtest.records import Record, quantile, same
from sdctl.loadtest.transitions import Transition

BARS = " ▁▂▃▄▅▆▇█"
WINDOW_S = 30.0
POINTS = 44
WIDTH = 78
NEWCOMERS = 6
BAR = 26
# The phase that follows each mark of a newcomer; an empty one ends its row.
NEXT = {
    ("pod", "created"): "provision",
    ("pod", "unschedulable"): "provision",
    ("pod", "bound"): "pull",
    ("pod", "pulled"): "start",
    ("pod", "started"): "start",
    ("pod", "ready"): "",
    ("nodeclaim", "created"): "provision",
    ("nodeclaim", "launched"): "boot",
    ("nodeclaim", "registered"): "gpu",
    ("nodeclaim", "initialized"): "",
    ("replica", "STARTING"): "load",
    ("replica", "RUNNING"): "first image",
}


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
    launching: int = 0  # nodes that Ray's autoscaler waits for
    recent: deque[tuple[float, float]] = field(default_factory=deque)  # done, latency of good images
    history: dict[str, deque[float]] = field(default_factory=dict)
    phase: str = "starting"
    began: float = 0.0  # the present phase
    ends: float | None = None  # when it should be over
    newcomers: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)  # phase, since
    sampled: float = 0.0

    def enter(self, phase: str, now: float, seconds: float | None) -> None:
        """Begin a phase of the run that is expected to last so long."""
        with self.lock:
            self.phase, self.began = phase, now
            self.ends = None if seconds is None else now + seconds

    def record(self, record: Record, in_flight: int) -> None:
        """Count one ended request."""
        with self.lock:
            self.in_flight = in_flight
            self.done += 1
            self.bad += record.outcome != "ok"
            if record.outcome == "ok" and record.done is not None and record.latency_s is not None:
                self.recent.append((record.done, record.latency_s))
                for key in [key for key in self.newcomers if key[0] == "replica" and same(record.replica, key[1])]:
                    del self.newcomers[key]

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
            elif change.kind == "autoscaler":
                self.launching = int(change.detail["launching"])
            self._follow(change)

    def _follow(self, change: Transition) -> None:
        key, following = (change.kind, change.name), NEXT.get((change.kind, change.what))
        if (change.kind, change.what) == ("replica", "STARTING") and not change.detail.get("node"):
            following = "waits for node"
        if following and not change.detail.get("baseline"):
            self.newcomers[key] = (following, change.time)
        elif following == "" or change.what in ("gone", "STOPPING"):
            self.newcomers.pop(key, None)

    @property
    def running(self) -> int:
        """Replicas that serve."""
        return sum(state == "RUNNING" for state in self.replicas.values())

    def lines(self, now: float) -> list[str]:
        """The screen: 11 lines of at most 78 characters, always as many, so that nothing jumps."""
        with self.lock:
            return [text[:WIDTH] for text in (*self._figures(now), *self._arriving(now), *self._curves())]

    def _figures(self, now: float) -> list[str]:
        while self.recent and self.recent[0][0] < now - WINDOW_S:
            self.recent.popleft()
        latencies = sorted(latency for _, latency in self.recent)
        per_minute = len(latencies) / min(WINDOW_S, max(1.0, now - self.started)) * 60
        middle, slow = quantile(latencies, 0.5), quantile(latencies, 0.95)
        self._sample(
            now, {"in flight": self.in_flight, "img/min": per_minute, "p50 s": middle, "replicas": self.running}
        )
        replicas = f"{self.running} running of {self.target} wanted   nodes {len(self.nodes)}"
        replicas += f" and {self.launching} launching" if self.launching else ""
        users = f"users {self.users:4.0f}" if self.users else ""
        return [
            f"{self.phase:<10} {self._time(now):<50}{users}",
            f"requests   {self.in_flight} in flight   {self.done - self.bad} good   {self.bad} other   "
            f"{per_minute:.0f} img/min",
            f"latency    p50 {_s(middle)}   p95 {_s(slow)}   (last {WINDOW_S:.0f} s)",
            f"replicas   {'not seen' if self.target is None else replicas}",
        ]

    def _time(self, now: float) -> str:
        """How far the present phase is: a bar where its end is known."""
        passed = now - self.began if self.began else now - self.started
        if self.ends is None or self.ends <= self.began:
            return f"{passed:.0f} s"
        full = min(BAR, int(BAR * passed / (self.ends - self.began)))
        return f"{'█' * full}{'░' * (BAR - full)}  {passed:.0f} s, {max(0.0, self.ends - now):.0f} s left"

    def _sample(self, now: float, values: Mapping[str, float | None]) -> None:
        """Add a point to the curves, which hold the whole run; between two points the last one is renewed."""
        fresh = now - self.sampled >= max(0.5, self.run_time_s / POINTS)
        self.sampled = now if fresh else self.sampled
        for name, value in values.items():
            curve = self.history.setdefault(name, deque(maxlen=POINTS))
            if not fresh and curve:
                curve.pop()
            curve.append(float(value or 0.0))

    def _arriving(self, now: float) -> list[str]:
        """Newcomers and what each is at, the latest last, in three rows of two."""
        rows = [
            f"{name[-10:]:<10} {phase} {max(0.0, now - since):.0f} s"
            for (_, name), (phase, since) in [*self.newcomers.items()][-NEWCOMERS:]
        ]
        rows += [""] * (NEWCOMERS - len(rows))
        return [f"{'arriving' if place == 0 else '':<11}{rows[place]:<33}{rows[place + 1]}" for place in (0, 2, 4)]

    def _curves(self) -> list[str]:
        return [
            f"{name:<11}{spark(values):<{POINTS}} {values[-1]:.3g} (most {max(values):.3g})"
            for name, values in self.history.items()
        ]

    def line(self, now: float) -> str:
        """The same in one line, for a place that is no terminal."""
        with self.lock:
            arriving = [f"{name[-10:]} {phase}" for (_, name), (phase, _) in self.newcomers.items()]
            parts = [" ".join(text.replace("█", "").replace("░", "").split()) for text in self._figures(now)]
            return " | ".join([*parts, *([f"arriving {', '.join(arriving)}"] if arriving else [])])


def _s(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def spark(values: Sequence[float]) -> str:
    """A sparkline; the highest value fills its cell."""
    top = max(values, default=0.0)
    return "".join(BARS[round(value / top * (len(BARS) - 1))] if top > 0 else BARS[0] for value in values)
