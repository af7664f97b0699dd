"""From a command line's selection to the target that it means."""

import os
from urllib.parse import urlsplit

from sdctl import state
from sdctl.errors import InvalidRequest
from sdctl.targets.base import Selection, Target


def select(selection: Selection) -> Target:
    """Give the target named by the option, else by SDCTL_TARGET, else by the last `sdctl deploy`, else Kubernetes.

    Raises InvalidRequest for a target that is none of local, kubernetes and an http(s) URL.
    """
    name = selection.target or os.environ.get("SDCTL_TARGET", "") or state.last_target() or "kubernetes"
    if name == "local":
        from sdctl.targets.local import LocalTarget

        return LocalTarget(selection)
    if name == "kubernetes":
        from sdctl.targets.kubernetes import KubernetesTarget

        return KubernetesTarget(selection)
    if _is_url(name):
        from sdctl.targets.url import UrlTarget

        return UrlTarget(name, selection)
    raise InvalidRequest(
        f"There is no target {name!r}.",
        hint="Use --target local, --target kubernetes or --target https://host[:port][/path].",
    )


def _is_url(name: str) -> bool:
    try:
        parts = urlsplit(name)
    except ValueError:  # a bracket that opens an IPv6 address and does not close
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
