"""From a manifest and a command line to the objects that will be applied; pure, asks no server."""

import copy
from dataclasses import dataclass

from sdctl import manifest as manifests
from sdctl.cluster import code, secrets
from sdctl.cluster.client import DEFAULT_NAMESPACE
from sdctl.cluster.ingress import dashboard_ingress
from sdctl.cluster.resources import labels, resource_of
from sdctl.errors import InvalidRequest
from sdctl.manifest import Manifest, Object, groups, head
from sdctl.manifest.change import changed, is_ours
from sdctl.manifest_checks import check, describe, refuse_failures
from sdctl.targets.base import DeploySpec, Selection

Version = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """What will be applied, in this order: the namespace, `secrets` (only if absent), `objects`, `rayservice`."""

    namespace: str
    name: str
    secrets: tuple[Object, ...]
    objects: tuple[Object, ...]
    rayservice: Object
    notes: tuple[str, ...] = ()  # for the user, before anything is sent

    @property
    def documents(self) -> tuple[Object, ...]:
        """Everything, in the order of application, the namespace first."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        return (namespace, *self.secrets, *self.objects, self.rayservice)


def plan(spec: DeploySpec, selection: Selection, *, kuberay: Version | None = None) -> Plan:
    """The plan for a command line; raises InvalidRequest with every finding that would keep it from working."""
    path = spec.manifest or manifests.packaged(manifests.GPU)
    read = manifests.load(path)
    manifest = changed(
        read,
        name=selection.name,
        model=spec.model,
        replicas=spec.replicas,
        image=spec.image,
        overrides=spec.overrides,
    )
    findings = check(manifest, kuberay=kuberay)
    refuse_failures(findings, manifest.path)
    notes = [describe(finding, manifest.path) for finding in findings]
    namespace = _namespace(manifest, selection)
    rayservice = copy.deepcopy(manifest.rayservice)
    name = str(rayservice["metadata"]["name"])
    extra: list[Object] = []
    if code.uses_placeholder(rayservice) and _all_ours(manifest):
        collected = code.collect()
        notes += code.onto_public_image(rayservice, collected)
        extra.append(code.configmap(collected, name))
    extra += [copy.deepcopy(one) for one in manifest.documents if one.get("kind") not in ("RayService", "Namespace")]
    if spec.apply.dashboard_ingress:
        extra.append(dashboard_ingress(rayservice, spec.apply.inbound_cidrs, spec.apply.ingress_scheme))
        notes.append(
            "The dashboard's load balancer speaks plain HTTP: its token can be read on the way. "
            "Give the Ingress a certificate, or keep to `sdctl dashboard`."
        )
    elif spec.apply.inbound_cidrs:
        raise InvalidRequest("--inbound-cidr goes with --dashboard-ingress.", hint="Give both, or neither.")
    _label(rayservice, name)
    return _placed(Plan(namespace, name, tuple(secrets.wanted(rayservice)), tuple(extra), rayservice, tuple(notes)))


def _all_ours(manifest: Manifest) -> bool:
    return all(is_ours(application) for application in manifest.serve_config["applications"])


def _namespace(manifest: Manifest, selection: Selection) -> str:
    written = str(manifest.rayservice["metadata"].get("namespace") or "")
    if written and selection.namespace and written != selection.namespace:
        raise InvalidRequest(
            f"{manifest.path} names the namespace {written}, the command line {selection.namespace}.",
            hint="Leave one of them out.",
        )
    return selection.namespace or written or DEFAULT_NAMESPACE


def _label(rayservice: Object, name: str) -> None:
    """Our labels on the object and on both kinds of pods: KubeRay hands none of its own down."""
    for holder in (rayservice, *(group["template"] for group in (head(rayservice), *groups(rayservice)))):
        metadata = holder.setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels(name)}


def _placed(whole: Plan) -> Plan:
    for document in (*whole.secrets, *whole.objects, whole.rayservice):
        metadata = document.setdefault("metadata", {})
        if not resource_of(document).namespaced or metadata.setdefault("namespace", whole.namespace) != whole.namespace:
            raise InvalidRequest(
                f"{document.get('kind')} {metadata.get('name')} does not lie in the RayService's namespace "
                f"({whole.namespace}); `sdctl cleanup` could not remove it again.",
                hint="Apply it with kubectl and keep it out of the file.",
            )
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels(whole.name)}
    return whole


def cluster_spec_changed(live: Object, coming: Object) -> bool:
    """Whether KubeRay would make a new RayCluster: its hash ignores replicas, their bounds and tolerations."""
    return _hashed(live) != _hashed(coming)


def _hashed(rayservice: Object) -> Object:
    cluster: Object = copy.deepcopy((rayservice.get("spec") or {}).get("rayClusterConfig") or {})
    for group in cluster.get("workerGroupSpecs") or []:
        for field in ("replicas", "minReplicas", "maxReplicas", "scaleStrategy"):
            group.pop(field, None)
    for group in (cluster.get("headGroupSpec") or {}, *(cluster.get("workerGroupSpecs") or [])):
        ((group.get("template") or {}).get("spec") or {}).pop("tolerations", None)
    return cluster
