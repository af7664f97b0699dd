"""Causes in the machines: launches that fail, nodes that do not join, GPUs that do not register, spot losses."""

from sdctl.cluster.diagnosis.cause import Cause
from sdctl.cluster.diagnosis.messages import shorten
from sdctl.cluster.diagnosis.pods import alive
from sdctl.cluster.objects import (
    GPU,
    age_s,
    at,
    concerns,
    condition,
    event_time,
    gpus,
    is_true,
    label,
    message,
    name,
    quantity,
)
from sdctl.cluster.snapshot import Snapshot

GPU_PATIENCE_S = 180.0
NODE_PATIENCE_S = 600.0
RECENT_S = 900.0
QUOTA = ("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "LimitExceeded", "QuotaExceeded", "quota")
CAPACITY = ("InsufficientInstanceCapacity", "InsufficientCapacity", "insufficient capacity", "UnfulfillableCapacity")
# What clouds and NVIDIA's feature discovery put on machines that have a GPU, whether or not it is registered.
GPU_LABELS = ("nvidia.com/gpu.present", "karpenter.k8s.aws/instance-gpu-count", "cloud.google.com/gke-accelerator")


def gpu_never_registered(snapshot: Snapshot) -> Cause | None:
    """A GPU machine whose GPU the cluster does not know after three minutes: no device plugin."""
    wanted = any(gpus(pod) for pod in alive(snapshot))
    for node in snapshot.nodes:
        has_one = any(label(node, key) not in ("", "0", "false") for key in GPU_LABELS)
        known = quantity(at(node, "status", "allocatable", GPU)) > 0
        if wanted and has_one and not known and age_s(node, snapshot.now) > GPU_PATIENCE_S:
            reason = f"Node {name(node)} has a GPU that never registered as {GPU}."
            return Cause(
                "gpu_not_registered", reason, "Install the NVIDIA device plugin (or GPU operator) on it.", True
            )
    for claim in snapshot.nodeclaims:
        initialized = condition(claim, "Initialized")
        lacks = GPU in str(initialized.get("message") or "") and initialized.get("status") != "True"
        if wanted and lacks and is_true(claim, "Registered") and age_s(claim, snapshot.now) > GPU_PATIENCE_S:
            reason = f"Node {at(claim, 'status', 'nodeName')} joined, but its GPU never registered as {GPU}."
            return Cause(
                "gpu_not_registered", reason, "Install the NVIDIA device plugin (or GPU operator) on it.", True
            )
    return None


def spot_lost(snapshot: Snapshot) -> Cause | None:
    """A spot machine was taken back while the service needs it."""
    for event in reversed(snapshot.events):
        recent = (snapshot.now - event_time(event)).total_seconds() < RECENT_S
        if recent and event.get("reason") in ("SpotInterrupted", "TerminatingOnInterruption"):
            machine = at(event, "involvedObject", "name")
            hint = "Karpenter replaces it. For what must not go: capacity type on-demand (the head first)."
            return Cause("spot_lost", f"The spot machine {machine} was taken back: {shorten(message(event))}", hint)
    return None


def launch_failed(snapshot: Snapshot) -> Cause | None:
    """The cloud did not give the machine: no capacity, or no quota in the account."""
    texts = [
        f"{name(claim)}: {launched.get('reason', '')} {launched.get('message', '')}"
        for claim in snapshot.nodeclaims
        if (launched := condition(claim, "Launched")) and launched.get("status") != "True"
    ]
    # Karpenter deletes the claim of a launch that failed: often the event is all that is left.
    texts += [
        f"{at(event, 'involvedObject', 'name')}: {message(event)}"
        for event in snapshot.events
        if concerns(event, "NodeClaim") and (snapshot.now - event_time(event)).total_seconds() < RECENT_S
    ]
    for text in reversed(texts):
        if any(sign in text for sign in QUOTA):
            hint = (
                "Raise the account's quota for this instance family (AWS: Running On-Demand/Spot G and VT instances)."
            )
            return Cause(
                "account_quota", f"The cloud account's quota does not allow the node {shorten(text)}", hint, True
            )
        if any(sign in text for sign in CAPACITY):
            hint = "Allow more instance types, zones or on-demand in the NodePool; Karpenter keeps trying."
            return Cause("no_capacity", f"The cloud has no such machine free: {shorten(text)}", hint)
    return None


def node_late(snapshot: Snapshot) -> Cause | None:
    """A machine that runs and never joined the cluster."""
    for claim in snapshot.nodeclaims:
        joining = is_true(claim, "Launched") and not is_true(claim, "Registered")
        if joining and age_s(claim, snapshot.now) > NODE_PATIENCE_S:
            reason = f"The machine of NodeClaim {name(claim)} runs but never joined the cluster."
            return Cause("node_not_registered", reason, "Check its role, security groups, subnets and AMI.", True)
    return None


def pool_not_ready(snapshot: Snapshot) -> Cause | None:
    """No NodePool can make nodes: it, or its node class, is not ready."""
    if any(is_true(pool, "Ready") for pool in snapshot.nodepools):
        return None
    hints = {
        "EC2NodeClass": "Mend its role, subnets, security groups and AMI selectors.",
        "NodePool": "Mend what it names; kubectl describe nodepool shows more.",
    }
    for item in (*snapshot.nodeclasses, *snapshot.nodepools):
        ready, kind = condition(item, "Ready"), str(item.get("kind"))
        if ready.get("status") == "False":
            reason = f"{kind} {name(item)} is not ready: {shorten(str(ready.get('message') or ready.get('reason')))}"
            return Cause(f"{kind.removeprefix('EC2').lower()}_not_ready", reason, hints.get(kind, "Mend it."), True)
    return None
