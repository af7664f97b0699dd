"""What the stand-ins shall do: fields that a test sets at any time, before or while things run."""

from dataclasses import dataclass


@dataclass
class Scenario:
    """Everything works and takes `step_s` by default; a field that is set makes one thing go wrong.

    Seconds are the least that something takes, never a promise: on a busy machine everything takes longer.
    """

    step_s: float = 0.05  # each stage of a pod, a Ray cluster, a Serve application
    deletion_delay_s: float | None = None  # old cluster after a swap; None: spec.rayClusterDeletionDelaySeconds

    # Pods. `pod_group` limits these four to one group ("headgroup", "gpu-workers", …); empty: all Ray pods.
    pod_group: str = ""
    image_pull_error: str = ""  # the registry's message: ErrImagePull, then ImagePullBackOff
    exit_code: int | None = None  # the Ray container ends with it each time; KubeRay replaces the pod
    exit_reason: str = "Error"  # "OOMKilled" with exit_code 137 for the kernel's out-of-memory killer
    exit_log: tuple[str, ...] = ()  # the container's last lines
    evicted: str = ""  # the kubelet's message: the pod fails with reason Evicted
    worker_waits_for_head: bool = False  # workers stay in their wait-gcs-ready init container

    # KubeRay
    pod_creation_refused: str = ""  # the API server's message: event FailedToCreateHeadPod, no pods
    validation_failed: str = ""
    initializing_timeout: bool = False  # conditions say InitializingTimeout, clusters are deleted, for ever
    suspend_supported: bool = True
    finalizer_stuck: bool = False  # the RayService's finalizer is never taken away

    # Ray (of the default fake; a real Ray behind the pods does as it does)
    deploy_failed: str = ""  # the deployment's message: applications become DEPLOY_FAILED
    never_running: bool = False  # applications stay DEPLOYING
    dashboard_unreachable: bool = False  # for the operator, not through the kubelet

    # Karpenter
    launch_s: float = 0.05
    register_s: float = 0.05
    initialize_s: float = 0.05
    empty_s: float = 0.2  # an empty node's life (the NodePool's consolidateAfter is not read)
    launch_error: str = (
        ""  # Launched=False with reason LaunchFailed, e.g. InsufficientInstanceCapacity, VcpuLimitExceeded
    )
    node_class_error: str = ""  # NodePools and node classes are not ready, with this message
    never_registers: bool = False
    gpu_never_registers: bool = False  # the node comes up without its nvidia.com/gpu
