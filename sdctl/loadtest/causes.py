"""Why it did not scale, or not further: read from the plan, the limits and what was seen; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from sdctl.loadtest.autoscaler import failed_launches
from sdctl.loadtest.prediction import Prediction, Scaling
from sdctl.loadtest.records import Record
from sdctl.loadtest.transitions import Transition

GPU_WAIT_S = 180.0


@dataclass(frozen=True)
class Cause:
    """One reason, with what shows it and what to do about it."""

    code: str
    text: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """One entry of `causes` in summary.json."""
        return vars(self)


def why_not_further(
    scaling: Scaling | None,
    prediction: Prediction,
    transitions: Sequence[Transition],
    records: Sequence[Record],
    *,
    max_running: int | None,
) -> list[Cause]:
    """Every reason that held replicas down in this run, most direct first; empty when nothing did."""
    causes = _from_cluster(transitions)
    if scaling is None:
        causes.append(Cause("fixed", "The number of replicas is fixed.", "Configure autoscaling_config."))
        return causes
    if prediction.scales is False and (max_running is None or max_running <= (prediction.replicas or 0)):
        code = "burst_too_short" if "upscale delay" in prediction.reason else "target_not_exceeded"
        hint = (
            f"Run for longer than {scaling.upscale_delay_s + scaling.look_back_s:.0f} s, or lower upscale_delay_s."
            if code == "burst_too_short"
            else "Send more users, or lower target_ongoing_requests."
        )
        causes.append(Cause(code, f"It was not to scale: {prediction.reason}.", hint))
    reached = max_running or 0
    if reached >= scaling.maximum:
        causes.append(
            Cause("max_replicas", f"All {scaling.maximum} replicas of max_replicas ran.", "Raise max_replicas.")
        )
    elif scaling.worker_limit is not None and reached >= scaling.worker_limit:
        causes.append(
            Cause(
                "worker_limit",
                f"The worker groups have room for {scaling.worker_limit} replicas.",
                "Raise maxReplicas of the GPU worker group (or --gpu-nodes).",
            )
        )
    causes += _from_records(scaling, records, reached)
    return causes


def _from_cluster(transitions: Sequence[Transition]) -> list[Cause]:
    """Reasons that the cluster itself gave; each once."""
    rules = {
        "pool_limit": ("A NodePool's limit was reached.", "Raise spec.limits of the NodePool."),
        "no_capacity": ("The cloud had no capacity for a node.", "Allow more instance types, zones or on-demand."),
        "quota": ("The account's quota refused a node.", "Ask for a higher GPU quota."),
        "image_pull": ("An image could not be pulled.", "Check the image's name and the pull secret."),
        "unschedulable": ("A pod fitted no node.", "Compare its requests and tolerations with the nodes."),
        "spot_loss": ("A spot node was taken back.", "Use on-demand nodes where this must not happen."),
    }
    found: dict[str, Cause] = {}
    registered: dict[str, float] = {}
    last = max((t.observed for t in transitions), default=0.0)
    placed = {t.name for t in transitions if (t.kind, t.what) == ("pod", "bound")}
    for change in transitions:
        code = "" if change.detail.get("baseline") else str(change.detail.get("cause", ""))
        if code == "unschedulable" and change.detail.get("about") in placed:
            continue  # every pod that waits for a new node is that for a while
        if code in rules and code not in found:
            said = str(change.detail.get("message", ""))[:200]
            text, hint = rules[code]
            found[code] = Cause(code, f"{text} {said}".strip(), hint)
        if change.kind == "nodeclaim" and change.what == "registered":
            registered[change.name] = change.time
        if change.kind == "nodeclaim" and change.what in ("initialized", "gone"):
            registered.pop(change.name, None)
    if refused := failed_launches(transitions):
        text = f"Ray's autoscaler could not launch a node: {refused[-1][:200]}."
        found["launch_failed"] = Cause("launch_failed", text, "Read the autoscaler's log: `sdctl logs`.")
    stuck = [name for name, since in registered.items() if last - since > GPU_WAIT_S]
    if stuck:
        text = f"The GPU of {', '.join(stuck)} never registered."
        found["gpu_never_registered"] = Cause("gpu_never_registered", text, "Check the NVIDIA device plugin.")
    return list(found.values())


def _from_records(scaling: Scaling, records: Sequence[Record], reached: int) -> list[Cause]:
    causes: list[Cause] = []
    busy = sum(record.outcome == "refused_busy" for record in records)
    if busy and reached < scaling.maximum:
        causes.append(
            Cause(
                "busy_is_no_demand",
                f"{busy} requests were refused as busy: Serve does not count those as demand.",
                "Raise max_ongoing_requests above target_ongoing_requests x the users a replica should hold.",
            )
        )
    if scaling.max_ongoing and scaling.max_ongoing < scaling.target_ongoing:
        causes.append(
            Cause(
                "target_above_max_ongoing",
                f"max_ongoing_requests ({scaling.max_ongoing}) is below the target ({scaling.target_ongoing:g}).",
                "Set max_ongoing_requests to at least twice target_ongoing_requests.",
            )
        )
    starts = [record.sent - record.scheduled for record in records]
    if starts and sum(delay > 1.0 for delay in starts) > len(starts) / 100:
        causes.append(
            Cause(
                "generator_limit",
                "The load generator itself was late: more than 1 % of the requests started over 1 s after their time.",
                "Give it a core of its own, or lower the rate.",
            )
        )
    return causes
