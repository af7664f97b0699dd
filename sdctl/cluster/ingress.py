"""An AWS load balancer before Ray's dashboard, only on request and never without a token and a source range."""

import ipaddress
from collections.abc import Sequence

from sdctl.cluster.objects import at
from sdctl.cluster.resources import labels
from sdctl.errors import InvalidRequest
from sdctl.manifest import Object

SCHEMES = ("internal", "internet-facing")


def dashboard_ingress(rayservice: Object, cidrs: Sequence[str], scheme: str) -> Object:
    """The Ingress; raises InvalidRequest without source ranges, for open ones, and without token authentication."""
    name = str(rayservice["metadata"]["name"])
    if at(rayservice, "spec", "rayClusterConfig", "authOptions", "mode") != "token":
        raise InvalidRequest(
            "The dashboard is not put behind a load balancer without token authentication: it can run any code.",
            hint="Set spec.rayClusterConfig.authOptions: {mode: token, secretName: …} in the manifest.",
        )
    if not cidrs:
        raise InvalidRequest(
            "--dashboard-ingress needs --inbound-cidr: without it the whole network reaches the dashboard.",
            hint="Give the range that you work from, such as --inbound-cidr 203.0.113.0/24.",
        )
    if scheme not in SCHEMES:
        raise InvalidRequest(f"--ingress-scheme {scheme} is none of {', '.join(SCHEMES)}.", hint="Use internal.")
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": f"{name}-dashboard",
            "labels": labels(name),
            "annotations": {
                "alb.ingress.kubernetes.io/scheme": scheme,
                "alb.ingress.kubernetes.io/target-type": "ip",
                "alb.ingress.kubernetes.io/inbound-cidrs": ",".join(_checked(cidr) for cidr in cidrs),
                # Answers without the token, so that the load balancer's own checks need none.
                "alb.ingress.kubernetes.io/healthcheck-path": "/api/gcs_healthz",
            },
        },
        "spec": {"ingressClassName": "alb", "rules": [{"http": {"paths": [_path(name)]}}]},
    }


def _path(name: str) -> Object:
    service = {"name": f"{name}-head-svc", "port": {"number": 8265}}
    return {"path": "/", "pathType": "Prefix", "backend": {"service": service}}


def _checked(cidr: str) -> str:
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise InvalidRequest(f"--inbound-cidr {cidr} is no range: {error}.", hint="Use 203.0.113.0/24.") from None
    if network.prefixlen == 0:
        raise InvalidRequest(f"--inbound-cidr {cidr} is everybody.", hint="Give the range that you work from.")
    return str(network)
