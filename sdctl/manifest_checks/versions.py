"""Names, versions of Ray and KubeRay, and what KubeRay itself would refuse."""

import re
from collections.abc import Iterator

from sdctl.manifest_checks.subject import CLUSTER, HEAD, Subject, mapping
from sdctl.targets.base import Finding

MAX_NAME = 47
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_RAY_IMAGE = re.compile(r"(?:^|/)ray(?:-ml|-llm)?:(\d+)\.(\d+)\.\d+")
_STRATEGIES = ("NewCluster", "None", "NewClusterWithIncrementalUpgrade")
Version = tuple[int, int]

OLDEST_SAFE: Version = (2, 54)
HANGS: tuple[Version, Version] = ((2, 11), (2, 37))
TOKENS_SINCE: Version = (2, 52)
KUBERAY_SINCE: dict[tuple[str, ...], Version] = {
    ("spec", "suspend"): (1, 7),
    (*map(str, CLUSTER), "authOptions", "secretName"): (1, 6),
    (*map(str, CLUSTER), "authOptions"): (1, 5),
    ("spec", "rayClusterDeletionDelaySeconds"): (1, 5),
    ("spec", "excludeHeadPodFromServeSvc"): (1, 3),
}


def version(text: object) -> Version | None:
    """`2.60.0` as (2, 60); None where it is no version."""
    found = re.match(r"v?(\d+)\.(\d+)", str(text or ""))
    return (int(found[1]), int(found[2])) if found else None


def check(subject: Subject, kuberay: Version | None) -> Iterator[Finding]:
    """Everything that depends on a name or a version."""
    yield from _name(subject)
    yield from _refused(subject)
    yield from _ray(subject)
    yield from _images(subject)
    yield from _kuberay(subject, kuberay)


def _name(subject: Subject) -> Iterator[Finding]:
    name = str(subject.metadata.get("name", ""))
    where = ("metadata", "name")
    if len(name) > MAX_NAME:
        why = f"has {len(name)} characters; KubeRay appends to it and allows {MAX_NAME}."
        yield subject.fail(f"metadata.name {name}", why, "Shorten it, or give --name.", *where)
    if not _DNS_1035.fullmatch(name):
        why = "is no DNS-1035 label: lower-case letters, digits and '-', a letter first."
        yield subject.fail(f"metadata.name {name!r}", why, "Rename it, or give --name.", *where)
    if subject.rayservice.get("apiVersion") != "ray.io/v1":
        why = "is not the version that KubeRay serves and sdctl speaks."
        yield subject.fail(f"apiVersion {subject.rayservice.get('apiVersion')}", why, "Use ray.io/v1.", "apiVersion")


def _refused(subject: Subject) -> Iterator[Finding]:
    if mapping(mapping(subject.head.get("headService")).get("metadata")).get("name"):
        yield subject.fail(
            "headGroupSpec.headService.metadata.name",
            "is refused by KubeRay since 1.3: it names the head service itself.",
            "Remove it; the service is called <name>-head-svc.",
            *(*HEAD, "headService", "metadata", "name"),
        )
    if mapping(subject.cluster.get("authOptions")).get("enableK8sTokenAuth"):
        yield subject.fail(
            "authOptions.enableK8sTokenAuth",
            "is refused by KubeRay for a RayService.",
            "Use mode: token with a secretName.",
            *(*CLUSTER, "authOptions", "enableK8sTokenAuth"),
        )
    strategy = mapping(subject.spec.get("upgradeStrategy")).get("type")
    if strategy is not None and strategy not in _STRATEGIES:
        where = ("spec", "upgradeStrategy", "type")
        why = "is no strategy that KubeRay knows."
        yield subject.fail(f"upgradeStrategy.type {strategy}", why, f"Use one of {', '.join(_STRATEGIES)}.", *where)


def _ray(subject: Subject) -> Iterator[Finding]:
    text, where = subject.cluster.get("rayVersion"), (*CLUSTER, "rayVersion")
    ray = version(text)
    if ray is None:
        why = "is missing or no version: KubeRay cannot know what this Ray needs."
        yield subject.warn("rayVersion", why, "Set it to the image's version.", *where)
        return
    if HANGS[0] <= ray <= HANGS[1]:
        yield subject.fail(
            f"rayVersion {text}",
            "does not work with today's KubeRay: its dashboard agent hangs and the probes fail (Ray 2.11 to 2.37).",
            "Use Ray 2.54 or newer.",
            *where,
        )
    elif ray < OLDEST_SAFE:
        yield subject.warn(
            f"rayVersion {text}",
            "is below 2.54: web pages can shut Serve down through the dashboard (CVE-2026-27482).",
            "Use Ray 2.54 or newer.",
            *where,
        )
    if mapping(subject.cluster.get("authOptions")).get("mode") == "token" and ray < TOKENS_SINCE:
        yield subject.fail(
            f"authOptions.mode token with Ray {text}",
            "KubeRay refuses it: Ray has tokens since 2.52.",
            "Use a newer Ray.",
            *(*CLUSTER, "authOptions"),
        )


def _images(subject: Subject) -> Iterator[Finding]:
    declared = version(subject.cluster.get("rayVersion"))
    found = [(path, image, _version_of(image)) for path, image in subject.images]
    if len({one for _, _, one in found if one}) > 1:
        path, image, _ = found[-1]
        why = "is another Ray than the head's: Ray refuses workers of another version."
        yield subject.fail(f"image {image}", why, "Use the same image for head and workers.", *path)
    elif declared and any(one and one != declared for _, _, one in found):
        path, image, _ = found[0]
        why = f"is not the Ray that rayVersion names ({subject.cluster.get('rayVersion')})."
        yield subject.fail(f"image {image}", why, "Make rayVersion and the image agree.", *path)


def _version_of(image: str) -> Version | None:
    found = _RAY_IMAGE.search(image)
    return (int(found[1]), int(found[2])) if found else None


def _kuberay(subject: Subject, kuberay: Version | None) -> Iterator[Finding]:
    for path, since in KUBERAY_SINCE.items():
        value: object = subject.rayservice
        for step in path:
            value = mapping(value).get(step)
        if value and kuberay and kuberay < since:
            why = f"needs KubeRay {since[0]}.{since[1]}; this cluster has {kuberay[0]}.{kuberay[1]}."
            yield subject.fail(".".join(path), why, "Upgrade KubeRay, or remove the field.", *path)
