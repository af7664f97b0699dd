"""Causes in pods: refused, without image or Secret, ended, evicted, waiting."""

import pytest

from sdctl.cluster.snapshot import Snapshot
from tests.sdctl.diagnosis.builders import (
    CLUSTER,
    coming,
    condition,
    ended,
    event,
    pod,
    raycluster,
    snapshot,
    starting,
    waiting,
)
from tests.sdctl.diagnosis.story import Story

GO_DEATH = (
    "Deleted worker Pod images/sd-x7k2p-gpu-worker-ccccc; Pod status: Failed; Pod restart policy: Never; Ray container "
    "terminated status: &ContainerStateTerminated{ExitCode:%s,Signal:0,Reason:%s,Message:,StartedAt:2026-11-20}"
)
FAILED = "The deployment failed to start 3 times in a row. See controller logs for details. Error:\n%s"


def broken(error: str) -> Snapshot:
    """A service whose deployment failed with this error."""
    return coming(pod(), rayservice=starting(FAILED % error, "DEPLOY_FAILED", "DEPLOY_FAILED"))


STORIES = (
    Story(
        "Pod Security",
        coming(
            pods=(),
            events=(
                event(
                    "FailedToCreateHeadPod",
                    'pods "x" is forbidden: violates PodSecurity "restricted": allowPrivilegeEscalation != false',
                    "RayCluster",
                    CLUSTER,
                ),
            ),
        ),
        "pod_security",
        "allowPrivilegeEscalation",
        "autoscalerOptions.securityContext",
    ),
    Story(
        "quota",
        coming(
            rayclusters=(
                raycluster(
                    conditions=(
                        condition(
                            "ReplicaFailure",
                            "True",
                            "FailedCreateWorkerPod",
                            'pods "x" is forbidden: exceeded quota: gpu, requested: requests.nvidia.com/gpu=1',
                        ),
                    )
                ),
            ),
        ),
        "resource_quota",
        "exceeded quota: gpu",
        "Raise the quota",
    ),
    Story(
        "webhook",
        coming(
            pods=(),
            events=(
                event(
                    "FailedToCreateWorkerPod",
                    'admission webhook "policy.test" denied the request',
                    "RayCluster",
                    CLUSTER,
                ),
            ),
        ),
        "webhook_refused",
        "policy.test",
        "policy",
    ),
    Story(
        "image missing",
        coming(
            pod(ready=False, phase="Pending", containers=[waiting("ImagePullBackOff", "Back-off pulling image")]),
            events=(event("Failed", 'Failed to pull image "registry.test/sd:9": manifest unknown: not found'),),
        ),
        "image_pull",
        "registry.test/sd:9 (ImagePullBackOff): there is no such image",
        "--image",
    ),
    Story(
        "registry refuses",
        coming(
            pod(ready=False, phase="Pending", containers=[waiting("ErrImagePull", "401 Unauthorized: no basic auth")])
        ),
        "image_pull",
        "the registry refuses",
        "imagePullSecrets",
    ),
    Story(
        "registry limits the rate",
        coming(pod(ready=False, phase="Pending", containers=[waiting("ErrImagePull", "429 toomanyrequests")])),
        "image_pull",
        "limits the rate",
        "mirror",
        fatal=False,
    ),
    Story(
        "Secret missing, container cannot be made",
        coming(pod(ready=False, containers=[waiting("CreateContainerConfigError", 'secret "sd-api-keys" not found')])),
        "object_missing",
        "needs Secret sd-api-keys",
        "sdctl deploy",
    ),
    Story(
        "ConfigMap missing, volume cannot be mounted",
        coming(
            pod(ready=False, phase="Pending", containers=[waiting("ContainerCreating")]),
            events=(
                event("FailedMount", 'MountVolume.SetUp failed for volume "code" : configmap "sd-code-1" not found'),
            ),
        ),
        "object_missing",
        "needs ConfigMap sd-code-1",
        "manifest",
    ),
    Story(
        "worker waits for the head",
        coming(
            pod("head", ready=False),
            pod(ready=False, phase="Pending", init=[{"name": "wait-gcs-ready", "state": {"running": {}}}]),
        ),
        "waiting_for_head",
        "head pod sd-x7k2p-head-aaaaa is not ready",
        "by itself",
        fatal=False,
    ),
    Story(
        "worker cannot reach a head that is ready",
        coming(pod(ready=False, phase="Pending", init=[{"name": "wait-gcs-ready", "state": {"running": {}}}])),
        "waiting_for_head",
        "cannot reach the head",
        "6379",
        fatal=False,
    ),
    Story(
        "container exits, once",
        coming(
            pod(ready=False, phase="Failed", containers=[ended(2)]),
            logs={f"{CLUSTER}-gpu-worker-bbbbb": ("Starting", "bash: ray: command not found")},
        ),
        "container_exits",
        "ended with exit code 2, 1 times so far. Last line: bash: ray: command not found",
        "sdctl logs",
        fatal=False,
    ),
    Story(
        "container exits again and again, and each pod is replaced",
        coming(
            events=tuple(
                event("DeletedWorkerPod", GO_DEATH % (1, "Error"), "RayCluster", CLUSTER, age_s=age)
                for age in (90, 60, 30)
            )
        ),
        "container_exits",
        "sd-x7k2p-gpu-worker-ccccc ended with exit code 1, 3 times so far",
        "debug-bundle",
    ),
    Story(
        "out of memory by the kernel",
        coming(pod(ready=False, containers=[ended(137, "OOMKilled")])),
        "out_of_memory",
        "more memory than its limit",
        "Raise memory",
        fatal=False,
    ),
    Story(
        "out of memory by the kernel, the pod is replaced already",
        coming(events=(event("DeletedWorkerPod", GO_DEATH % (137, "OOMKilled"), "RayCluster", CLUSTER),)),
        "out_of_memory",
        "sd-x7k2p-gpu-worker-ccccc",
        "Raise memory",
        fatal=False,
    ),
    Story(
        "disk eviction",
        coming(
            pod(
                ready=False,
                phase="Failed",
                status={"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            )
        ),
        "disk_eviction",
        "disk is full",
        "bigger disk",
        fatal=False,
    ),
    Story(
        "runtime_env",
        broken("ray.exceptions.RuntimeEnvSetupError: Failed to set up runtime environment.\nNo matching distribution"),
        "runtime_env_failed",
        "runtime_env could not be set up",
        "--image",
    ),
    Story(
        "idle worker",
        snapshot(pods=(pod("head"), pod(ready=False))),
        "idle_workers",
        "NotReady by design",
        "Nothing to do",
        fatal=False,
    ),
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_cause(story: Story) -> None:
    story.check()
