"""Causes in Ray and Serve: environments, models, drivers, versions, resources."""

import pytest

from sdctl.cluster.snapshot import Snapshot
from tests.sdctl.diagnosis.builders import (
    CLUSTER,
    coming,
    ended,
    pod,
    starting,
)
from tests.sdctl.diagnosis.story import Story

FAILED = "The deployment failed to start 3 times in a row. See controller logs for details. Error:\n%s"
SLOW = (
    "Deployment 'Generator' in application 'app' has 1 replicas that have taken more than 30s to be scheduled. "
    'This may be due to waiting for the cluster to auto-scale. Resources required for each replica: {"GPU": 1.0}, '
    'total resources available: {"CPU": 2.0}. Use `ray status` for more details.'
)
VERSIONS = "RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.11.9"


def broken(error: str) -> Snapshot:
    """A service whose deployment failed with this error."""
    return coming(pod(), rayservice=starting(FAILED % error, "DEPLOY_FAILED", "DEPLOY_FAILED"))


STORIES = (
    Story(
        "out of memory by Ray's monitor",
        broken("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."),
        "ray_out_of_memory",
        "memory monitor",
        "Raise memory",
    ),
    Story(
        "gated model",
        broken("huggingface_hub.errors.GatedRepoError: 401 Client Error. Access to model a/b is restricted."),
        "model_gated",
        "gated or private",
        "kubectl -n images create secret generic sd-hub-token --from-literal=token=",
    ),
    Story(
        "model missing",
        broken("huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error."),
        "model_missing",
        "does not exist",
        "--model",
    ),
    Story(
        "no way to the hub",
        broken("OSError: We couldn't connect to 'https://huggingface.co' to load the files"),
        "model_unreachable",
        "cannot reach the model hub",
        "NetworkPolicy",
        fatal=False,
    ),
    Story(
        "driver too old",
        broken("RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."),
        "cuda_mismatch",
        "too old",
        "newer driver",
    ),
    Story(
        "GPU too small",
        broken("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        "gpu_out_of_memory",
        "memory of the GPU",
        "smaller model",
    ),
    Story(
        "Ray versions differ",
        coming(
            pod(ready=False, containers=[ended(1)]),
            logs={f"{CLUSTER}-gpu-worker-bbbbb": tuple(VERSIONS.splitlines())},
        ),
        "ray_version_mismatch",
        "different versions",
        "one image",
    ),
    Story(
        "the constructor raises",
        broken("Traceback (most recent call last):\n  File x\nValueError: no such scheduler: foo\n"),
        "deploy_failed",
        "Deployment Generator failed to deploy: ValueError: no such scheduler: foo",
        "--role replica",
    ),
    Story(
        "replica waits for resources",
        coming(pod(), rayservice=starting(SLOW)),
        "waiting_for_resources",
        'each needs {"GPU": 1.0}',
        "maxReplicas",
        fatal=False,
    ),
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_cause(story: Story) -> None:
    story.check()
