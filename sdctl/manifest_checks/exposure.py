"""Who can reach the dashboard and the service, and whether they are asked for a token or a key."""

from collections.abc import Iterator

from sdctl.manifest import Object
from sdctl.manifest.change import is_ours
from sdctl.manifest_checks.subject import CLUSTER, HEAD, Subject, mapping
from sdctl.targets.base import Finding

DASHBOARD_PORTS = (8265, "dashboard")
SERVE_PORTS = (8000, "serve")
_OPEN_TYPES = ("LoadBalancer", "NodePort")


def check(subject: Subject) -> Iterator[Finding]:
    """A dashboard without a token, a service without keys."""
    yield from _dashboard(subject)
    yield from _keys(subject)


def _dashboard(subject: Subject) -> Iterator[Finding]:
    if mapping(subject.cluster.get("authOptions")).get("mode") == "token":
        return
    why = "anyone who reaches Ray's dashboard can run code in the cluster."
    fix = "Set spec.rayClusterConfig.authOptions: {mode: token, secretName: …}"
    exposed = False
    if subject.head.get("serviceType") in _OPEN_TYPES or subject.head.get("enableIngress"):
        key = "serviceType" if subject.head.get("serviceType") in _OPEN_TYPES else "enableIngress"
        exposed = True
        yield subject.fail(
            f"headGroupSpec.{key} without token authentication", why, f"{fix}, or remove it.", *HEAD, key
        )
    for index, document in enumerate(subject.manifest.documents):
        if _leads_to(document, DASHBOARD_PORTS):
            exposed = True
            name = mapping(document.get("metadata")).get("name")
            line = subject.lines.of_document(index, "spec")
            what = f"{document.get('kind')} {name} exposes the dashboard without token authentication"
            yield Finding("fail", what, why, f"{fix}, or take the dashboard out of it.", line)
    if not exposed:
        yield subject.warn("the dashboard has no token authentication", why, f"{fix}.", *CLUSTER, "authOptions")


def _keys(subject: Subject) -> Iterator[Finding]:
    for path, application in subject.applications:
        if not is_ours(application) or mapping(application.get("args")).get("auth", "keys") != "open":
            continue
        serve = mapping(mapping(subject.spec.get("serveService")).get("spec")).get("type")
        public = serve in _OPEN_TYPES or any(_leads_to(one, SERVE_PORTS) for one in subject.manifest.documents)
        report = subject.fail if public else subject.warn
        yield report(
            "args.auth: open",
            "whoever reaches the service can use its GPUs" + (", and it is exposed." if public else "."),
            "Use auth: keys; `sdctl` makes the key and sends it.",
            *path,
            "args",
            "auth",
        )


def _leads_to(document: Object, ports: tuple[int | str, ...]) -> bool:
    """Whether an Ingress, or a Service open to the outside, leads to one of these ports."""
    spec = mapping(document.get("spec"))
    if document.get("kind") == "Service" and spec.get("type") in _OPEN_TYPES:
        listed = [mapping(port) for port in spec.get("ports") or []]
        return any(port.get("port") in ports or port.get("targetPort") in ports for port in listed)
    if document.get("kind") != "Ingress":
        return False
    rules = [mapping(mapping(rule).get("http")).get("paths") or [] for rule in spec.get("rules") or []]
    backends = [mapping(mapping(path).get("backend")) for paths in rules for path in paths]
    backends.append(mapping(spec.get("defaultBackend")))
    found = [mapping(mapping(backend.get("service")).get("port")) for backend in backends]
    return any(port.get("number") in ports or port.get("name") in ports for port in found)
