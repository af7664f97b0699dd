"""Causes in Ray Serve: what the application and its deployments say."""

import re
from dataclasses import replace
from typing import Any

from sdctl.cluster.diagnosis.cause import Cause
from sdctl.cluster.diagnosis.messages import explain, last_exception, shorten
from sdctl.cluster.objects import Object, at
from sdctl.cluster.snapshot import Snapshot

RESOURCES = re.compile(r"Resources required for each replica: (.*?), total resources available: (.*?)\.\s", re.DOTALL)
BROKEN = ("DEPLOY_FAILED", "UNHEALTHY")


def application_failed(snapshot: Snapshot) -> Cause | None:
    """A failure that Serve reports, given up or still being retried."""
    for name, application in snapshot.applications.items():
        text = _text(application)
        broken = [what for what, status in _statuses(name, application) if status in BROKEN]
        if not broken and "failed to start" not in text:
            continue
        known = explain(text)
        if known:
            return _with_secret(known, snapshot)
        state = "failed to deploy" if broken else "fails to start and is tried again"
        reason = f"{(broken or [f'Application {name}'])[0]} {state}: {last_exception(text)}"
        return Cause("deploy_failed", reason, "The whole traceback: sdctl logs --role replica.", bool(broken))
    return None


def waiting_for_resources(snapshot: Snapshot) -> Cause | None:
    """Replicas that no node of the RayCluster has room for, yet or ever; or that are long in their constructor."""
    for application in snapshot.applications.values():
        for name, deployment in (application.get("serveDeploymentStatuses") or {}).items():
            text = str(deployment.get("message") or "")
            found = RESOURCES.search(text + " ")
            if found:
                reason = f"Replicas of {name} wait for resources: each needs {found[1]}; free are {shorten(found[2])}."
                hint = "Raise maxReplicas of the worker group, or its resources; a node may still be on its way."
                return Cause("waiting_for_resources", reason, hint)
            if "to initialize" in text:
                reason = f"Replicas of {name} are long in their start: the model is downloaded or loaded."
                return Cause("replica_loading", reason, "Wait; sdctl logs --role replica shows how far it is.")
    return None


def _statuses(name: str, application: Object) -> list[tuple[str, str]]:
    """(title, status) of the deployments, then of the application itself: the narrower one explains more."""
    deployments = application.get("serveDeploymentStatuses") or {}
    titles = [(f"Deployment {each}", str(entry.get("status"))) for each, entry in deployments.items()]
    return [*titles, (f"Application {name}", str(application.get("status")))]


def _text(application: Object) -> str:
    entries: list[Any] = list((application.get("serveDeploymentStatuses") or {}).values())
    return "\n".join(str(entry.get("message") or "") for entry in (application, *entries))


def _with_secret(cause: Cause, snapshot: Snapshot) -> Cause:
    """For a gated model: the command that makes the Secret which the manifest names for the hub's token."""
    if cause.code != "model_gated":
        return cause
    secret, key = hub_secret(snapshot)
    command = f"kubectl -n {snapshot.namespace} create secret generic {secret} --from-literal={key}=<token>"
    return replace(cause, hint=f"{cause.hint}{command}; then restart the pods (environment is read at their start).")


def hub_secret(snapshot: Snapshot) -> tuple[str, str]:
    """(Secret, key) from which the pods take HF_TOKEN; our own names where the manifest has none."""
    groups = [at(snapshot.rayservice, "spec", "rayClusterConfig", "headGroupSpec")]
    groups += at(snapshot.rayservice, "spec", "rayClusterConfig", "workerGroupSpecs") or []
    for group in groups:
        for container in at(group, "template", "spec", "containers") or []:
            for variable in container.get("env") or []:
                source = at(variable, "valueFrom", "secretKeyRef")
                if variable.get("name") in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") and source:
                    return str(source.get("name")), str(source.get("key"))
    return f"{snapshot.name}-hub-token", "token"
