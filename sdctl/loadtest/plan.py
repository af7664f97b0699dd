"""How much load, and when: stages of users (closed loop) or arrival times (open loop)."""

import random
from dataclasses import dataclass

from sdctl.errors import InvalidRequest
from sdctl.options import duration

MAX_USERS = 5000
MAX_ARRIVALS = 200_000


@dataclass(frozen=True)
class Stage:
    """`users` for `seconds`, reached by starting or stopping `rate` users a second."""

    users: int
    rate: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The load of one run; either stages or arrivals (seconds after the start, in order)."""

    kind: str  # constant, burst, steps, ramp, stages, poisson, constant-rate
    stages: tuple[Stage, ...] = ()
    arrivals: tuple[float, ...] = ()
    run_time_s: float = 0.0

    @property
    def mode(self) -> str:
        """`open` when requests start at their times whatever the service does, else `closed`."""
        return "open" if self.arrivals else "closed"

    @property
    def peak_users(self) -> int:
        """The most users at once; 0 in an open loop."""
        return max((stage.users for stage in self.stages), default=0)

    def users_at(self, seconds: float) -> float:
        """Users wanted at a time after the start, with the slope of starting and stopping them."""
        current = 0.0
        for stage in self.stages:
            span = min(seconds, stage.seconds)
            step = stage.rate * span
            gap = stage.users - current
            current = stage.users if abs(gap) <= step else current + (step if gap > 0 else -step)
            if seconds <= stage.seconds:
                return current
            seconds -= stage.seconds
        return 0.0

    def describe(self) -> str:
        """One line for people."""
        if self.arrivals:
            rate = len(self.arrivals) / self.run_time_s if self.run_time_s else 0.0
            return f"open loop, {self.kind}, {rate:.3g} requests/s for {self.run_time_s:g} s"
        steps = ", ".join(f"{stage.users} users for {stage.seconds:g} s" for stage in self.stages)
        return f"closed loop, {self.kind}: {steps}"


def closed(kind: str, users: int, spawn_rate: float | None, run_time_s: float) -> Plan:
    """Give a plan from --plan, --users, --spawn-rate and --run-time; raises InvalidRequest for what cannot be run.

    constant: all users for the whole time. burst: a tenth, then all, then a tenth (1:4:1). steps: five equal steps up.
    ramp: one user more at a time over the first half. Or stages: `2@30s,50@3m,2@1m`.
    """
    if "@" in kind:
        asked = [_stage(part) for part in kind.split(",")]
        # Users start and stop at once unless a rate is given: a slow way down would be load that nobody asked for.
        quick = spawn_rate or float(max(1, *(count for count, _ in asked)))
        stages = tuple(Stage(count, quick, seconds) for count, seconds in asked)
        return Plan("stages", stages, run_time_s=sum(stage.seconds for stage in stages))
    _check_users(users)
    rate = spawn_rate or float(users)
    low = max(1, users // 10)
    shapes: dict[str, tuple[tuple[int, float, float], ...]] = {
        "constant": ((users, rate, run_time_s),),
        "burst": ((low, rate, run_time_s / 6), (users, rate, run_time_s * 4 / 6), (low, rate, run_time_s / 6)),
        "steps": tuple((max(1, round(users * step / 5)), rate, run_time_s / 5) for step in range(1, 6)),
        "ramp": ((users, spawn_rate or 2 * users / run_time_s, run_time_s),),
    }
    if kind not in shapes:
        raise InvalidRequest(
            f"--plan {kind} is no plan.",
            hint="Use constant, burst, steps, ramp, or stages such as --plan '2@30s,50@3m,2@1m' (users@time).",
        )
    return Plan(kind, tuple(Stage(*shape) for shape in shapes[kind]), run_time_s=run_time_s)


def open_loop(rate_per_s: float, arrivals: str, run_time_s: float, seed: int) -> Plan:
    """Give arrival times, evenly spaced or as a Poisson process; the same seed gives the same times."""
    if arrivals not in ("poisson", "constant"):
        raise InvalidRequest(f"--arrivals {arrivals} is not known.", hint="Use poisson or constant.")
    if rate_per_s * run_time_s > MAX_ARRIVALS:
        raise InvalidRequest(f"That is over {MAX_ARRIVALS:,} requests.", hint="Lower --rate or --run-time.")
    if arrivals == "constant":
        times = [number / rate_per_s for number in range(1, int(run_time_s * rate_per_s + 1e-9) + 1)]
    else:
        times = _poisson(rate_per_s, run_time_s, seed)
    if not times:
        raise InvalidRequest("No request falls into the run time.", hint="Raise --rate or --run-time.")
    kind = "poisson" if arrivals == "poisson" else "constant-rate"
    return Plan(kind, arrivals=tuple(times), run_time_s=run_time_s)


def _poisson(rate_per_s: float, run_time_s: float, seed: int) -> list[float]:
    source = random.Random(seed)  # noqa: S311 - repeatable load, not secrets
    times: list[float] = []
    moment = source.expovariate(rate_per_s)
    while moment <= run_time_s:
        times.append(moment)
        moment += source.expovariate(rate_per_s)
    return times


def rate(text: str) -> float:
    """Read `2/s`, `30/m` or `2` as requests per second."""
    number, _, unit = text.partition("/")
    seconds = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}.get(unit.strip())
    try:
        value = float(number) / seconds if seconds else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value < 1e5:
        raise InvalidRequest(f"--rate {text} is no rate.", hint="Use --rate 2/s or --rate 30/m.")
    return value


def _stage(text: str) -> tuple[int, float]:
    users, _, time = text.strip().partition("@")
    try:
        count, seconds = int(users), duration(time, "--plan")
    except (ValueError, InvalidRequest):
        raise InvalidRequest(
            f"--plan: {text.strip()!r} is no stage.", hint="A stage is USERS@TIME, such as 50@3m; commas between them."
        ) from None
    _check_users(count, least=0)
    return count, seconds


def _check_users(users: int, least: int = 1) -> None:
    if not least <= users <= MAX_USERS:
        raise InvalidRequest(f"{users} users cannot be run.", hint=f"Use {least} to {MAX_USERS} users.")
