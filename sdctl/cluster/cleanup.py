"""`sdctl cleanup` on Kubernetes: delete what sdctl made and nothing else, wait, and prove that it is gone."""

from collections.abc import Iterator
from contextlib import suppress

from sdctl.cluster import cleanup_namespace, cleanup_record
from sdctl.cluster.cleanup_left import fixed_nodes, machines_left, ray_left
from sdctl.cluster.cleanup_record import Record
from sdctl.cluster.client import Cluster
from sdctl.cluster.objects import Object, at, deleting, label, name, uid
from sdctl.cluster.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    DEPLOYMENTS,
    EC2NODECLASSES,
    FIELD_MANAGER,
    INGRESSES,
    INSTANCE,
    MANAGED_BY,
    NAMESPACES,
    NETWORKPOLICIES,
    NODEPOOLS,
    QUOTAS,
    RAYCLUSTERS,
    RAYSERVICES,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
    Resource,
    selector,
)
from sdctl.cluster.snapshot import Snapshot, take
from sdctl.cluster.snapshot_reader import Reader, passing
from sdctl.errors import InvalidRequest, NotAllowed, SdctlError
from sdctl.targets.base import Leftover

EVERY_S = 2.0
# After the pods: until then KubeRay needs the token, and pods that end need their files.
COMPANIONS = (
    *(INGRESSES, NETWORKPOLICIES, SERVICES, DEPLOYMENTS, CONFIGMAPS, SECRETS),
    *(ROLEBINDINGS, ROLES, SERVICEACCOUNTS, QUOTAS),
)
# A manifest may have brought them, but others may rest on them by now: a NodePool takes its nodes along.
SHARED = (NODEPOOLS, EC2NODECLASSES, CLUSTERROLEBINDINGS, CLUSTERROLES)


def cleanup(
    cluster: Cluster, namespace: str, service: str, *, keep_namespace: bool = False, every_s: float = EVERY_S
) -> Iterator[tuple[Leftover, ...]]:
    """Delete the service and what belongs to it; gives what is still there about every `every_s` seconds.

    Entries with `stays` are told and not waited for. It ends when nothing else is left; the caller's patience is the
    time-out. NodeClaims are never deleted and finalizers never taken off. Raises InvalidRequest for a RayService that
    sdctl did not make, NotAllowed where the proof needs reads that this user has not.
    """
    snapshot = take(cluster, namespace, service)
    _check_ours(snapshot)
    record = cleanup_record.load(cluster).joined(Record.of(snapshot))
    cleanup_record.save(cluster, record)
    _delete_ray(cluster, snapshot)
    left = _advance(cluster, snapshot, record)
    while _waited_for(left):
        yield left
        cluster.pause(every_s)
        try:
            snapshot = take(cluster, namespace, service)
            record = record.joined(Record.of(snapshot))
            left = _advance(cluster, snapshot, record)
        except SdctlError as error:
            if not passing(error):  # else the caller decides how long the API server is worth waiting for
                raise
    if record.unseen:
        _check_seen(snapshot, "nodes")
    yield from _remove_namespace(cluster, namespace, left, keep=keep_namespace, every_s=every_s)
    cleanup_record.forget(cluster)


def _advance(cluster: Cluster, snapshot: Snapshot, record: Record) -> tuple[Leftover, ...]:
    """Delete what can go by now, and give what is still there."""
    _delete_orphans(cluster, snapshot)
    ray = tuple(ray_left(snapshot))
    machines = (*machines_left(cluster, snapshot, record), *fixed_nodes(snapshot, record))
    if ray:
        return ray + machines
    _check_seen(snapshot, "pods", "rayclusters.ray.io")
    companions = _companions(cluster, snapshot.namespace, snapshot.name)
    return (*companions, *machines, *_shared(cluster, snapshot.name))


def _waited_for(left: tuple[Leftover, ...]) -> bool:
    return any(not leftover.stays for leftover in left)


def _check_ours(snapshot: Snapshot) -> None:
    service = snapshot.rayservice
    if "get rayservices.ray.io" in snapshot.forbidden:
        raise NotAllowed(
            f"You may not get rayservices.ray.io in namespace {snapshot.namespace}.",
            hint="Ask for the deployer role in manifests/rbac.yaml.",
        )
    if service is not None and label(service, MANAGED_BY) != FIELD_MANAGER:
        raise InvalidRequest(
            f"RayService {snapshot.name} in namespace {snapshot.namespace} was not made by sdctl: nothing was removed.",
            hint=f"If it is yours: kubectl -n {snapshot.namespace} delete rayservice {snapshot.name}.",
        )


def _check_seen(snapshot: Snapshot, *resources: str) -> None:
    refused = [entry for entry in snapshot.forbidden for title in resources if entry == f"list {title}"]
    if refused:
        raise NotAllowed(
            f"What sdctl made was deleted, but that it is gone cannot be proved: you may not {', '.join(refused)}.",
            hint="Ask for the reader role in manifests/rbac.yaml and run sdctl cleanup again.",
        )


def _delete_ray(cluster: Cluster, snapshot: Snapshot) -> None:
    service = snapshot.rayservice
    if service is not None and not deleting(service):
        cluster.delete(RAYSERVICES, name(service), snapshot.namespace, uid=uid(service))


def _delete_orphans(cluster: Cluster, snapshot: Snapshot) -> None:
    """RayClusters whose RayService is gone (deleted with --cascade=orphan): nobody else ends them."""
    if snapshot.rayservice is not None:
        return
    for item in snapshot.rayclusters:
        template = at(item, "spec", "headGroupSpec", "template") or {}
        if not deleting(item) and label(template, MANAGED_BY) == FIELD_MANAGER and not _owned(item):
            with suppress(NotAllowed):  # it stays among what is left, with the command that removes it
                cluster.delete(RAYCLUSTERS, name(item), snapshot.namespace, uid=uid(item))


def _owned(item: Object) -> bool:
    return bool(at(item, "metadata", "ownerReferences"))


def _companions(cluster: Cluster, namespace: str, service: str) -> Iterator[Leftover]:
    """Secrets, ConfigMaps and the like that deploy made for this service, asked to go."""
    for resource in COMPANIONS:
        for item in _of_service(cluster, resource, namespace, service):
            if not deleting(item):
                cluster.delete(resource, name(item), namespace, uid=uid(item))
            waits = ", ".join(at(item, "metadata", "finalizers") or [])
            yield Leftover(resource.kind, name(item), f"waits for its finalizer {waits}" if waits else "")


def _shared(cluster: Cluster, service: str) -> Iterator[Leftover]:
    """What deploy made for the whole cluster: told, never deleted."""
    for resource in SHARED:
        for item in Reader(cluster).items(resource, labels=selector(service)):
            why = f"it belongs to the whole cluster: kubectl delete {resource.title} {name(item)} when nobody needs it"
            yield Leftover(resource.kind, name(item), why, stays=True)


def _of_service(cluster: Cluster, resource: Resource, namespace: str, service: str) -> list[Object]:
    try:
        return [item for item in cluster.items(resource, namespace, labels=selector(service)) if label(item, INSTANCE)]
    except NotAllowed:
        if resource in (CONFIGMAPS, SECRETS):
            raise
        return []  # deploy makes these only on request, which needs the right to write them


def _remove_namespace(
    cluster: Cluster, namespace: str, left: tuple[Leftover, ...], *, keep: bool, every_s: float
) -> Iterator[tuple[Leftover, ...]]:
    ours = None if keep else cleanup_namespace.remove(cluster, namespace)
    while ours is not None and not ours.stays and cluster.find(NAMESPACES, namespace) is not None:
        yield (*left, ours)
        cluster.pause(every_s)
    stays = (ours,) if ours is not None and ours.stays else ()
    yield (*left, *stays)
