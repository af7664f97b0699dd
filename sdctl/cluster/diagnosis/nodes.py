"""Causes below the pods: no node fits, none can be made, or one came without its GPU."""

import re
from dataclasses import dataclass

from sdctl.cluster.diagnosis import machines
from sdctl.cluster.diagnosis.cause import Cause
from sdctl.cluster.diagnosis.messages import shorten
from sdctl.cluster.diagnosis.pods import alive
from sdctl.cluster.objects import (
    GPU,
    NODEPOOL_LABEL,
    Object,
    age_s,
    at,
    concerns,
    condition,
    gpus,
    is_true,
    label,
    message,
    name,
    quantity,
)
from sdctl.cluster.snapshot import Snapshot

SCHEDULER_PATIENCE_S = 90.0
# Nodes get these while they start or fail; Kubernetes takes them away itself.
PASSING_TAINTS = ("node.kubernetes.io/", "karpenter.sh/", "node.cloudprovider.kubernetes.io/")
TAINT = re.compile(r"(?:untolerated taint(?:\(s\))? |did not tolerate taint(?: \(taint=)?)\{?([^},;\s)]+)")


@dataclass(frozen=True)
class Stuck:
    """A pod that no node takes: what the scheduler and Karpenter say about it."""

    pod: Object
    scheduler: str
    karpenter: str

    @property
    def said(self) -> str:
        """Both, Karpenter first: it speaks of the nodes that could be made."""
        return " ".join(text for text in (self.karpenter, self.scheduler) if text)


def no_node(snapshot: Snapshot) -> Cause | None:
    """Why a pod has no node: the first cause on the way from the pool to the machine."""
    for pod in alive(snapshot):
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            stuck = Stuck(pod, str(scheduled.get("message") or ""), _karpenter_says(snapshot, pod))
            below = next((cause for check in MACHINES if (cause := check(snapshot))), None)
            return below or next((cause for check in CHECKS if (cause := check(snapshot, stuck))), None)
    return machines.gpu_never_registered(snapshot)


def _pool_limit(snapshot: Snapshot, stuck: Stuck) -> Cause | None:
    for pool in snapshot.nodepools:
        for resource, limit in (at(pool, "spec", "limits") or {}).items():
            used = quantity(at(pool, "status", "resources", resource))
            needs = gpus(stuck.pod) if resource == GPU else 0.0
            if needs and used + needs > quantity(limit):
                count = f"{resource} {used:g} used of {limit}, {needs:g} more needed"
                reason = f"NodePool {name(pool)} is at its limit: {count}."
                return Cause(
                    "pool_limit", reason, "Raise spec.limits of the NodePool, or lower the service's maximum.", True
                )
    if re.search(r"exceeds? limits?", stuck.karpenter):
        return Cause(
            "pool_limit", f"A NodePool is at its limit: {shorten(stuck.karpenter)}", "Raise its spec.limits.", True
        )
    return None


def _node_coming(snapshot: Snapshot, stuck: Stuck) -> Cause | None:
    for claim in snapshot.nodeclaims:
        if not is_true(claim, "Initialized"):
            stage = next((kind for kind in ("Registered", "Launched") if is_true(claim, kind)), "Created")
            pool = label(claim, NODEPOOL_LABEL)
            reason = (
                f"Pod {name(stuck.pod)} waits for a node: NodeClaim {name(claim)} of pool {pool} is {stage.lower()}."
            )
            return Cause("node_starting", reason, "A GPU node usually takes one to five minutes.")
    for event in reversed(snapshot.events):
        if event.get("reason") == "TriggeredScaleUp" and concerns(event, "Pod", name(stuck.pod)):
            return Cause("node_starting", f"Pod {name(stuck.pod)} waits for a node: {shorten(message(event))}", "Wait.")
    return None


def _nothing_fits(snapshot: Snapshot, stuck: Stuck) -> Cause | None:
    text, pod = stuck.said, name(stuck.pod)
    lasting = age_s(stuck.pod, snapshot.now) > SCHEDULER_PATIENCE_S
    taint = _untolerated(snapshot, stuck)
    if taint:
        reason = f"Pod {pod} fits no node: it does not tolerate the taint {taint}. ({shorten(text)})"
        return Cause("taint", reason, "Add the toleration to the pod template of its group.", lasting)
    if gpus(stuck.pod) and (GPU in text or not _gpu_nodes(snapshot)):
        where = "Karpenter made none" if snapshot.nodepools else "there is no Karpenter NodePool that could make one"
        reason = f"Pod {pod} needs {gpus(stuck.pod):g} GPU and no node has one free; {where}. ({shorten(text)})"
        hint = "Add GPU nodes or a NodePool (manifests/karpenter.yaml); see sdctl doctor."
        return Cause("no_gpu_node", reason, hint, lasting)
    if "affinity" in text or "incompatible" in text or "selector" in text:
        reason = f"Pod {pod} fits no node, its nodeSelector or affinity matches none: {shorten(text)}"
        return Cause("no_matching_node", reason, "Compare nodeSelector and affinity with the nodes' labels.", lasting)
    reason = f"Pod {pod} fits no node: {shorten(text) or 'the scheduler has not said why'}"
    return Cause("no_room", reason, "Add nodes, or ask for less CPU and memory.", lasting and not snapshot.nodepools)


def _untolerated(snapshot: Snapshot, stuck: Stuck) -> str:
    """The taint that keeps the pod away from the nodes that could serve it; empty where it is something else."""
    tolerated = {str(entry.get("key")) for entry in at(stuck.pod, "spec", "tolerations") or []}
    named = [found.split("=")[0].rstrip(":") for found in TAINT.findall(stuck.said)]
    open_ = [key for key in named if key not in tolerated and not key.startswith(PASSING_TAINTS)]
    if gpus(stuck.pod):  # a control plane's taint is no reason: a GPU pod has no business there
        pools = [at(pool, "spec", "template", "spec", "taints") or [] for pool in snapshot.nodepools]
        of_gpus = [at(node, "spec", "taints") or [] for node in _gpu_nodes(snapshot)]
        guards = {str(taint.get("key")) for taints in (*pools, *of_gpus) for taint in taints} | {GPU}
        open_ = [key for key in open_ if key in guards]
    elif "Insufficient" in stuck.scheduler:
        return ""
    return open_[0] if open_ else ""


def _gpu_nodes(snapshot: Snapshot) -> list[Object]:
    return [node for node in snapshot.nodes if quantity(at(node, "status", "allocatable", GPU)) > 0]


def _karpenter_says(snapshot: Snapshot, pod: Object) -> str:
    found = [
        message(event)
        for event in snapshot.events
        if concerns(event, "Pod", name(pod))
        and event.get("reason") == "FailedScheduling"
        and "karpenter" in str(event.get("reportingComponent") or at(event, "source", "component") or "")
    ]
    return found[-1] if found else ""


MACHINES = (
    machines.gpu_never_registered,
    machines.launch_failed,
    machines.node_late,
    machines.pool_not_ready,
)
# A node on its way first: its GPU counts against the limit of its pool already.
CHECKS = (_node_coming, _pool_limit, _nothing_fits)
