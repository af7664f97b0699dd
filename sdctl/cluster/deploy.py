"""Prepare a deployment against what is running, and carry it out."""

import time
from collections.abc import Callable
from dataclasses import replace

from sdctl.cluster.apply import apply
from sdctl.cluster.client import Cluster
from sdctl.cluster.deploy_plan import Plan, cluster_spec_changed, plan
from sdctl.cluster.objects import GPU, at, gpus, quantity
from sdctl.cluster.refusals import Conflicts
from sdctl.cluster.resources import NODEPOOLS, NODES, PODS, RAYCLUSTERS, RAYSERVICES
from sdctl.cluster.snapshot import take
from sdctl.cluster.snapshot_reader import Reader, operator
from sdctl.errors import NotAllowed, NotFound, SdctlError, TimedOut
from sdctl.manifest import Object, groups
from sdctl.manifest.resources import of_group
from sdctl.manifest_checks.versions import version
from sdctl.targets.base import ApplyOptions, DeploySpec, Selection, Step

GONE_S = 900.0  # the longest that `--recreate` waits for the old cluster
EVERY_S = 1.0
Report = Callable[[tuple[Step, ...]], None]
_BOUNDS = ("minReplicas", "maxReplicas")


def prepare(cluster: Cluster, spec: DeploySpec, selection: Selection) -> Plan:
    """The plan, with notes on what it means for what runs now; reads only.

    Raises NotFound without KubeRay, and SdctlError when the change cannot work beside the running cluster.
    """
    kuberay = operator(Reader(cluster), cluster.namespace).image.rpartition(":")[2]
    planned = plan(spec, selection, kuberay=version(kuberay))
    here = placed(cluster, planned)
    try:
        live = here.get(RAYSERVICES, planned.name)
    except NotFound as error:
        if error.code == "kind_missing":
            raise
        return planned
    except NotAllowed:
        return planned
    return replace(planned, notes=(*planned.notes, *_consequences(here, planned, live, spec.apply)))


def placed(cluster: Cluster, planned: Plan) -> Cluster:
    """The same cluster, about the plan's service."""
    return replace(cluster, namespace=planned.namespace, name=planned.name)


def deploy(cluster: Cluster, planned: Plan, options: ApplyOptions, report: Report) -> list[str]:
    """Carry out the plan; gives what changed, one line each. Raises Conflicts, InvalidRequest, NotAllowed."""
    here = placed(cluster, planned)
    changes: list[str] = []
    if options.recreate and here.find(RAYSERVICES, planned.name):
        delete_and_wait(here, time.monotonic() + GONE_S, report)
        changes.append(f"RayService {planned.name} and its clusters deleted")
    return [*changes, *apply(here, planned, force=options.force_conflicts), *scale_clusters(here, planned.rayservice)]


def delete_and_wait(cluster: Cluster, deadline: float, report: Report) -> None:
    """Delete the RayService and wait until its clusters and pods are gone; raises TimedOut at `deadline`."""
    cluster.delete(RAYSERVICES, cluster.name)
    while True:
        seen = take(cluster)
        if seen.rayservice is None and not seen.rayclusters and not seen.pods:
            return
        left = f"{len(seen.rayclusters)} clusters, {len(seen.pods)} pods are left"
        report((Step("deletion", "running", left),))
        if time.monotonic() > deadline:
            raise TimedOut(
                f"RayService {cluster.name} is still being deleted: {left}.",
                hint="`sdctl status` says what holds it; then deploy again.",
            )
        cluster.pause(EVERY_S)


def scale_clusters(cluster: Cluster, rayservice: Object) -> list[str]:
    """Give running RayClusters the worker bounds of the RayService: KubeRay hands them to new clusters only."""
    live = cluster.find(RAYSERVICES, str(rayservice["metadata"]["name"]))
    names = {at(live, "status", side, "rayClusterName") for side in ("activeServiceStatus", "pendingServiceStatus")}
    wanted = {str(group.get("groupName")): group for group in groups(rayservice)}
    changes = []
    for name in sorted(str(name) for name in names if name):
        running = cluster.find(RAYCLUSTERS, name)
        for index, group in enumerate(at(running, "spec", "workerGroupSpecs") or []):
            goal = wanted.get(str(group.get("groupName")))
            if goal and any(goal.get(bound) != group.get(bound) for bound in _BOUNDS):
                cluster.json_patch(RAYCLUSTERS, name, _bound_changes(index, group, goal))
                called = f"RayCluster {name}, group {goal['groupName']}"
                changes.append(f"{called}: workers {goal.get('minReplicas')} to {goal.get('maxReplicas')}")
    return changes


def _bound_changes(index: int, group: Object, goal: Object) -> list[Object]:
    """JSON patch operations; the test keeps them from hitting another group, which the autoscaler may be writing."""
    path = f"/spec/workerGroupSpecs/{index}"
    changes: list[Object] = [{"op": "test", "path": f"{path}/groupName", "value": group["groupName"]}]
    changes += [{"op": "add", "path": f"{path}/{bound}", "value": goal.get(bound)} for bound in _BOUNDS]
    low, high = int(goal.get("minReplicas") or 0), int(goal.get("maxReplicas") or 0)
    now = int(group.get("replicas") or 0)
    if not low <= now <= high:
        changes.append({"op": "add", "path": f"{path}/replicas", "value": min(max(now, low), high)})
    return changes


def _consequences(cluster: Cluster, planned: Plan, live: Object, options: ApplyOptions) -> list[str]:
    coming = _merged(cluster, planned, live)
    if options.recreate:
        return [
            f"--recreate: RayService {planned.name} is deleted first. Nobody is served until the new cluster is ready: "
            "as long as a cold start takes."
        ]
    if not cluster_spec_changed(live, coming):
        return _tolerations(live, coming)
    if at(coming, "spec", "upgradeStrategy", "type") == "None":
        raise SdctlError(
            "The change needs a new Ray cluster, and upgradeStrategy None makes KubeRay ignore it.",
            hint="`sdctl deploy --recreate` deletes first and applies then, with a downtime; or use NewCluster.",
            code="ignored_change",
        )
    needed = sum(of_group(group).gpus * int(group.get("replicas") or 0) for group in groups(coming))
    free = free_gpus(cluster)
    if free is not None and needed > free:
        raise SdctlError(
            f"The change needs a second Ray cluster beside the running one: {needed:g} GPUs, and {free:g} are free.",
            hint="`sdctl deploy --recreate` deletes first and applies then: nobody is served for the time of a cold "
            "start. Or add GPU nodes.",
            code="too_few_gpus",
        )
    return [
        "The change needs a new Ray cluster: the running one serves until the new one is ready"
        + (f", with {needed:g} more GPUs for that time." if needed else ".")
    ]


def _merged(cluster: Cluster, planned: Plan, live: Object) -> Object:
    """The object as it would be; a conflict is told when it is applied, not here."""
    try:
        return cluster.apply(planned.rayservice, force=True, query={"dryRun": "All"})
    except (NotAllowed, Conflicts):
        return {**live, "spec": planned.rayservice["spec"]}


def _tolerations(live: Object, coming: Object) -> list[str]:
    def of(rayservice: Object) -> list[object]:
        return [at(group, "template", "spec", "tolerations") for group in groups(rayservice)]

    if of(live) == of(coming):
        return []
    return [
        "Changed tolerations reach pods only in a new Ray cluster, and KubeRay does not make one for them: "
        "`sdctl deploy --recreate` does."
    ]


def free_gpus(cluster: Cluster) -> float | None:
    """GPUs that no pod has asked for, where nodes are fixed; None where Karpenter can make more, or nobody may look."""
    reader = Reader(cluster)
    pools, nodes, pods = reader.items(NODEPOOLS), reader.items(NODES), reader.items(PODS, "")
    if pools or reader.forbidden:
        return None
    have = sum(quantity(at(node, "status", "allocatable", GPU)) for node in nodes)
    bound = [
        pod for pod in pods if at(pod, "spec", "nodeName") and at(pod, "status", "phase") in ("Running", "Pending")
    ]
    return have - sum(gpus(pod) for pod in bound)
