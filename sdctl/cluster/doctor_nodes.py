"""Whether the cluster has, or can make, the machines that the service asks for; pure."""

from collections.abc import Iterator

from sdctl.cluster.diagnosis.machines import GPU_LABELS, GPU_PATIENCE_S
from sdctl.cluster.diagnosis.nodes import PASSING_TAINTS
from sdctl.cluster.objects import GPU, Object, age_s, at, condition, is_true, label, name, quantity
from sdctl.cluster.snapshot import Snapshot
from sdctl.targets.base import Finding

GPU_FIX = (
    "Add GPU nodes, or a NodePool (manifests/karpenter.yaml); or deploy without GPUs: -f manifests/rayservice.cpu.yaml."
)
PLUGIN_FIX = "Install the NVIDIA device plugin, or the GPU operator."
READER_FIX = "Ask for the reader role in manifests/rbac.yaml."


def machines(snapshot: Snapshot, rayservice: Object) -> Iterator[Finding]:
    """GPU nodes or a NodePool for them, with taints, limits and readiness."""
    groups = [group for group in at(rayservice, "spec", "rayClusterConfig", "workerGroupSpecs") or [] if _gpus(group)]
    for item in (*snapshot.nodepools, *snapshot.nodeclasses):
        ready = condition(item, "Ready")
        if ready and ready.get("status") != "True":
            reason = str(ready.get("message") or ready.get("reason") or "not ready")
            yield Finding("fail", f"{item['kind']} {name(item)}", reason, "Mend what it names: it makes no nodes now.")
    if not groups:
        yield Finding("ok", "GPUs", "the manifest asks for none")
        return
    if "list nodes" in snapshot.forbidden:
        yield Finding("unknown", "GPUs", "you may not list nodes", READER_FIX)
        return
    yield from _device_plugin(snapshot)
    for group in groups:
        yield _group(snapshot, group)


def _group(snapshot: Snapshot, group: Object) -> Finding:
    what = f"Nodes for worker group {group.get('groupName')}"
    needed = _gpus(group) * max(int(group.get("minReplicas") or 0), 1)
    nodes = [node for node in snapshot.nodes if quantity(at(node, "status", "allocatable", GPU)) > 0]
    open_nodes = [node for node in nodes if not _kept_out(group, at(node, "spec", "taints"))]
    pools = [pool for pool in snapshot.nodepools if is_true(pool, "Ready") or not condition(pool, "Ready")]
    open_pools = [pool for pool in pools if not _kept_out(group, at(pool, "spec", "template", "spec", "taints"))]
    roomy = [pool for pool in open_pools if _room(pool) >= needed]
    here = sum(quantity(at(node, "status", "allocatable", GPU)) for node in open_nodes)
    if here >= needed:
        return Finding("ok", what, f"{here:g} GPUs on {len(open_nodes)} nodes")
    if roomy:
        return Finding("ok", what, f"NodePool {name(roomy[0])} can make some")
    if open_pools:
        return Finding(
            "fail", what, f"NodePool {name(open_pools[0])} is at its limit of {GPU}", "Raise its spec.limits."
        )
    taints = [taint for item in nodes for taint in _kept_out(group, at(item, "spec", "taints"))]
    taints += [taint for pool in pools for taint in _kept_out(group, at(pool, "spec", "template", "spec", "taints"))]
    if taints:
        return Finding(
            "fail", what, f"the pods do not tolerate the taint {taints[0]}", "Add the toleration to the group."
        )
    return Finding("fail", what, f"{needed:g} GPUs are needed, there are {here:g} and no NodePool", GPU_FIX)


def _gpus(group: Object) -> float:
    wanted = (at(each, "resources", "limits", GPU) for each in at(group, "template", "spec", "containers") or [])
    return sum(quantity(value) for value in wanted)


def _room(pool: Object) -> float:
    limit = at(pool, "spec", "limits", GPU)
    return float("inf") if limit is None else quantity(limit) - quantity(at(pool, "status", "resources", GPU))


def _kept_out(group: Object, taints: object) -> list[str]:
    """Keys of the taints that the group's pods do not tolerate."""
    tolerations = at(group, "template", "spec", "tolerations") or []
    hard = (
        [taint for taint in taints or [] if taint.get("effect") != "PreferNoSchedule"]
        if isinstance(taints, list)
        else []
    )
    lasting = [taint for taint in hard if not str(taint.get("key")).startswith(PASSING_TAINTS)]
    return [str(taint.get("key")) for taint in lasting if not any(_tolerates(each, taint) for each in tolerations)]


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return bool(toleration.get("key") == taint.get("key") and toleration.get("value", "") == taint.get("value", ""))


def _device_plugin(snapshot: Snapshot) -> Iterator[Finding]:
    """Machines with a GPU that the cluster does not know of, some minutes after they came."""
    for node in snapshot.nodes:
        has_one = any(label(node, key) not in ("", "0", "false") for key in GPU_LABELS)
        known = quantity(at(node, "status", "allocatable", GPU)) > 0
        if has_one and not known and age_s(node, snapshot.now) > GPU_PATIENCE_S:
            yield Finding("fail", f"GPU of node {name(node)}", f"not registered as {GPU}", PLUGIN_FIX)


def quotas(found: tuple[Object, ...], rayservice: Object) -> Iterator[Finding]:
    """ResourceQuotas of the namespace that leave no room for one worker."""
    groups = at(rayservice, "spec", "rayClusterConfig", "workerGroupSpecs") or []
    gpus = sum(_gpus(group) * max(int(group.get("minReplicas") or 0), 1) for group in groups)
    for quota in found:
        for key, hard in (at(quota, "status", "hard") or at(quota, "spec", "hard") or {}).items():
            free = quantity(hard) - quantity(at(quota, "status", "used", key))
            if (key.endswith(GPU) and free < gpus) or (key in ("pods", "count/pods") and free < 1 + len(groups)):
                detail = f"{key}: {free:g} of {hard} free"
                yield Finding("warn", f"ResourceQuota {name(quota)}", detail, "Raise it, or free what uses it.")
