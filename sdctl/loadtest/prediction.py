"""Will this burst scale at all, to how many replicas, and when: told before the run, compared after it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdctl.loadtest.plan import Plan


@dataclass(frozen=True)
class Scaling:
    """The generator's autoscaling as Serve runs it; times in seconds."""

    minimum: int
    maximum: int
    target_ongoing: float
    upscale_delay_s: float
    downscale_delay_s: float
    look_back_s: float
    upscaling_factor: float = 1.0
    max_ongoing: int = 0
    worker_limit: int | None = None  # replicas that the worker groups or simulated nodes have room for


@dataclass(frozen=True)
class Prediction:
    """What is expected; `replicas` None when it cannot be told (an open loop against an unknown speed)."""

    scales: bool | None
    replicas: int | None
    decided_after_s: float | None
    drained_after_s: float | None  # after the last request
    reason: str
    running_after_s: float | None = None  # the replicas run; None without a start that was measured before

    def to_json(self) -> dict[str, Any]:
        """The `prediction` of summary.json."""
        return dict(vars(self))


def scaling_from(config: Mapping[str, Any], worker_limit: int | None = None) -> Scaling | None:
    """Read a deployment's effective config (Serve's REST API); None when it has a fixed number of replicas."""
    found = config.get("autoscaling_config")
    if not found:
        return None
    return Scaling(
        minimum=int(found.get("min_replicas") or 0),
        maximum=int(found.get("max_replicas") or 1),
        target_ongoing=float(found.get("target_ongoing_requests") or 2),
        upscale_delay_s=float(found.get("upscale_delay_s", 30)),
        downscale_delay_s=float(found.get("downscale_delay_s", 600)),
        look_back_s=float(found.get("look_back_period_s", 30)),
        upscaling_factor=float(found.get("upscaling_factor") or 1.0),
        max_ongoing=int(config.get("max_ongoing_requests") or 0),
        worker_limit=worker_limit,
    )


def predict(plan: Plan, scaling: Scaling | None, *, running: int, start_s: float | None = None) -> Prediction:
    """Say what a burst will do to `running` replicas; `start_s` is what one took from decision to running before."""
    if scaling is None:
        return Prediction(False, running, None, None, "the number of replicas is fixed: autoscaling is not configured")
    if plan.arrivals:
        return Prediction(
            None, None, None, None, "an open loop scales by how fast images are made, which is not known beforehand"
        )
    wanted = math.ceil(plan.peak_users / scaling.target_ongoing)
    limit = min(scaling.maximum, scaling.worker_limit if scaling.worker_limit is not None else scaling.maximum)
    replicas = max(scaling.minimum, min(wanted, limit), 0)
    if wanted <= running:
        reason = (
            f"{plan.peak_users} users at {scaling.target_ongoing:g} ongoing requests a replica need {wanted} "
            f"replica{'s' * (wanted != 1)}, and {running} run already"
        )
        return Prediction(False, running, None, None, reason)
    over, begins = _time_above(plan, running * scaling.target_ongoing)
    # The decision is an average over the look-back, and must hold for the whole upscale delay.
    if over < scaling.upscale_delay_s:
        reason = (
            f"the users are above the target for {over:.0f} s, and the upscale delay is {scaling.upscale_delay_s:g} s"
        )
        return Prediction(False, running, None, None, reason)
    reason = f"{plan.peak_users} users / {scaling.target_ongoing:g} ongoing requests a replica = {wanted}"
    if replicas < wanted:
        what = "the worker groups' limit" if replicas < scaling.maximum else "max_replicas"
        reason += f", held at {replicas} by {what}"
    decided = begins + scaling.upscale_delay_s
    return Prediction(
        scales=replicas > running,
        replicas=replicas,
        decided_after_s=decided,
        running_after_s=None if start_s is None else decided + start_s,
        drained_after_s=scaling.downscale_delay_s + scaling.look_back_s,
        reason=reason,
    )


def _time_above(plan: Plan, demand: float) -> tuple[float, float]:
    """The longest time that more users are wanted than `demand`, and when it begins, in seconds; 0.25 s apart."""
    step, longest, best, since = 0.25, 0.0, 0.0, None
    for tick in range(int(plan.run_time_s / step) + 1):
        moment = tick * step
        if plan.users_at(moment) > demand:
            since = moment if since is None else since
            if moment - since > longest:
                longest, best = moment - since, since
        else:
            since = None
    return longest, best


def told(prediction: Prediction) -> str:
    """The line before the run."""
    if prediction.scales is None:
        return f"Prediction: none; {prediction.reason}."
    if not prediction.scales:
        return f"Prediction: it will not scale; {prediction.reason}."
    decided, running = prediction.decided_after_s or 0.0, prediction.running_after_s
    when = "unknown, no run here measured it yet" if running is None else f"about {running:.0f} s"
    return (
        f"Prediction: {prediction.replicas} replicas ({prediction.reason}); decided about {decided:.0f} s after the "
        f"start, running after: {when}."
    )


def compare(
    prediction: Prediction,
    *,
    replicas: int | None,
    decided_after_s: float | None,
    running_after_s: float | None = None,
) -> str:
    """One line: prediction against fact."""
    if prediction.replicas is None:
        return "not predicted: " + prediction.reason
    if replicas is None:
        return f"predicted {prediction.replicas} replicas; what came could not be seen"
    line = f"predicted {prediction.replicas} replicas, came {replicas}"
    if prediction.decided_after_s is not None and decided_after_s is not None:
        line += f"; decision predicted after {prediction.decided_after_s:.0f} s, came after {decided_after_s:.0f} s"
    if prediction.scales and running_after_s is not None:
        expected = prediction.running_after_s
        when = "not predicted" if expected is None else f"predicted after {expected:.0f} s"
        line += f"; all of them running: {when}, came after {running_after_s:.0f} s"
    return line
