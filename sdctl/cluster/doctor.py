"""`sdctl doctor` on Kubernetes: what the cluster has, what this user may do, each lack with its fix."""

import importlib.util
import re
from collections.abc import Iterator

from sdctl import manifest
from sdctl.cluster.client import Cluster
from sdctl.cluster.doctor_nodes import READER_FIX, machines, quotas
from sdctl.cluster.doctor_rights import rights
from sdctl.cluster.objects import Object, label, name
from sdctl.cluster.resources import FIELD_MANAGER, MANAGED_BY, NAMESPACES, QUOTAS
from sdctl.cluster.snapshot import Snapshot, take
from sdctl.cluster.snapshot_reader import Reader
from sdctl.errors import NotAllowed, NotFound, SdctlError
from sdctl.targets.base import Finding

OLDEST_KUBERAY = (1, 6)  # authOptions.secretName
KUBERAY_FIX = "helm install kuberay-operator kuberay/kuberay-operator --namespace kuberay-system --create-namespace"
EXTRAS = {"locust": "sdctl loadtest", "websocket": "port-forwarding", "PIL": "image previews"}


def doctor(cluster: Cluster, namespace: str, service: str) -> Iterator[Finding]:
    """Each check's finding as soon as it is known; works for a user without any rights and without a cluster."""
    yield from extras()
    try:
        major, minor = cluster.version()
    except SdctlError as error:
        yield Finding("fail", "API server", error.message, error.hint)
        return
    yield Finding("ok", "API server", f"Kubernetes {major}.{minor} at {cluster.host}")
    try:
        snapshot = take(cluster, namespace, service)
    except SdctlError as error:  # the server answers, but not to this user, or not now
        yield Finding("fail", "Credentials", error.message, error.hint)
        return
    yield from _kuberay(cluster, snapshot)
    yield from _karpenter(cluster)
    yield _namespace(cluster, namespace)
    yield from rights(cluster, namespace, service)
    wanted = snapshot.rayservice or _packaged()
    yield from machines(snapshot, wanted)
    yield from quotas(Reader(cluster).items(QUOTAS, namespace), wanted)
    yield _secrets(snapshot)


def extras() -> Iterator[Finding]:
    """What is installed beside sdctl on this machine."""
    for module, purpose in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            yield Finding(
                "fail", f"Python package for {purpose}", f"{module} is missing", "pip install --upgrade sdctl"
            )
    yield Finding("ok", "sdctl", f"packages for {', '.join(EXTRAS.values())}")


def served_versions(cluster: Cluster, group: str) -> tuple[str, ...] | None:
    """The versions of an API group that the server has; () when it has none, None where it does not say."""
    try:
        entries = cluster.read(f"/apis/{group}").get("versions") or []
    except NotFound:
        return ()
    except SdctlError:
        return None
    return tuple(str(entry.get("version")) for entry in entries)


def _kuberay(cluster: Cluster, snapshot: Snapshot) -> Iterator[Finding]:
    versions = served_versions(cluster, "ray.io")
    if versions is None:
        yield Finding("unknown", "KubeRay's CRDs", "the API server does not say what it serves", READER_FIX)
    elif "v1" not in versions:
        yield Finding("fail", "KubeRay's CRDs", "the cluster does not know ray.io/v1", KUBERAY_FIX)
        return
    else:
        yield Finding("ok", "KubeRay's CRDs", "ray.io/v1")
    operator = snapshot.operator
    if operator.state == "gone":
        yield Finding("fail", "KubeRay's operator", operator.detail, KUBERAY_FIX)
    elif operator.state == "unknown":
        yield Finding("unknown", "KubeRay's operator", operator.detail, READER_FIX)
    else:
        yield _operator_version(operator.image, operator.detail)


def _operator_version(image: str, detail: str) -> Finding:
    found = re.search(r":v?(\d+)\.(\d+)", image)
    if found is None:
        return Finding("ok", "KubeRay's operator", f"{detail}; version unknown")
    version = int(found[1]), int(found[2])
    text = f"{version[0]}.{version[1]}, {detail}"
    if version < OLDEST_KUBERAY:
        needs = (
            f"{text}; the manifests need {OLDEST_KUBERAY[0]}.{OLDEST_KUBERAY[1]} (a Secret of our own for the token)"
        )
        return Finding("fail", "KubeRay's operator", needs, "Upgrade KubeRay: its CRDs first, then its chart.")
    return Finding("ok", "KubeRay's operator", text)


def _karpenter(cluster: Cluster) -> Iterator[Finding]:
    versions = served_versions(cluster, "karpenter.sh")
    if versions is None:
        yield Finding("unknown", "Karpenter", "the API server does not say what it serves", READER_FIX)
    elif not versions:
        yield Finding("ok", "Karpenter", "not installed (optional): nodes come from fixed groups and run on when idle")
    elif "v1" not in versions:
        yield Finding("warn", "Karpenter", f"serves {', '.join(versions)} only", "Upgrade to karpenter.sh/v1.")
    else:
        yield Finding("ok", "Karpenter", "karpenter.sh/v1")


def _namespace(cluster: Cluster, namespace: str) -> Finding:
    what = f"Namespace {namespace}"
    try:
        found = cluster.find(NAMESPACES, namespace)
    except NotAllowed:
        return Finding("unknown", what, "you may not get namespaces", READER_FIX)
    if found is None:
        return Finding("ok", what, "not there yet: sdctl deploy makes it")
    level = label(found, "pod-security.kubernetes.io/enforce")
    ours = "made by sdctl" if label(found, MANAGED_BY) == FIELD_MANAGER else "not made by sdctl: clean-up leaves it"
    return Finding("ok", what, ours + (f"; Pod Security {level}" if level else ""))


def _secrets(snapshot: Snapshot) -> Finding:
    if snapshot.rayservice is None:
        return Finding("ok", "Secrets", f"no RayService {snapshot.name} yet: sdctl deploy makes the Secrets it needs")
    if snapshot.absent:
        missing = ", ".join(sorted(snapshot.absent))
        return Finding(
            "fail", "Secrets", f"{name(snapshot.rayservice)} needs what is not there: {missing}", "sdctl deploy"
        )
    if "get secrets" in snapshot.forbidden:
        fix = "Put the service's key into SDCTL_TOKEN, or ask for the right to get this Secret."
        return Finding("unknown", "Secrets", "you may not get secrets", fix)
    return Finding("ok", "Secrets", "all that the pods need are there")


def _packaged() -> Object:
    return manifest.load(manifest.packaged(manifest.GPU)).rayservice
