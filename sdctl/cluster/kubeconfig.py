"""Find the API server and its credentials, as kubectl does."""

import logging
import os
from pathlib import Path
from typing import Any

from sdctl.errors import NotFound, SdctlError


def api_client(kubeconfig: str = "", context: str = "") -> Any:
    """A `kubernetes.client.ApiClient`: from --kubeconfig, $KUBECONFIG, ~/.kube/config, else the pod's own account.

    Raises NotFound when there is none of them or no such context.
    """
    from kubernetes import client, config

    files = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    settings = type.__call__(client.Configuration)  # not a copy of a process-wide default
    try:
        if any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file):
            config.load_kube_config(files, context or None, settings, persist_config=False)
        elif not kubeconfig and not context and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(settings)
        else:
            raise NotFound(
                f"There is no kubeconfig at {files}.",
                hint="Give --kubeconfig, set KUBECONFIG, or make one (EKS: aws eks update-kubeconfig --name CLUSTER).",
            )
    except config.ConfigException as error:
        raise NotFound(f"The kubeconfig {files} cannot be used: {error}", hint="Check --context.") from None
    except (OSError, ValueError) as error:
        raise SdctlError(f"The kubeconfig {files} cannot be read: {error}", hint="Check the file.") from None
    # Its retries would be told on stderr, one line each, before our one message.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return client.ApiClient(settings)
