"""Simulated GPU nodes: further raylets on this machine, started and ended by Ray's own autoscaler."""

import json
from pathlib import Path
from typing import Any

NODE_TYPE = "gpu"
HEAD_TYPE = "ray.head.default"
HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
IDLE_MINUTES = 0.1
# Named by its class: Ray's short name for it (`fake_multinode`) wants a file of defaults that Ray's wheel lacks.
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"

VARIABLES = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
}


def autoscaling_config(bounds: tuple[int, int], gcs_port: int, head_cpus: int) -> dict[str, Any]:
    """The cluster file for Ray's autoscaler: a head without a GPU and a node type with one logical GPU."""
    low, high = bounds
    empty_lists = ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands")
    return {
        "cluster_name": "sdctl-local",
        "max_workers": high,
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "gcs_address": f"127.0.0.1:{gcs_port}",
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
        },
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": head_cpus}, "node_config": {}, "max_workers": 0},
            NODE_TYPE: {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": low, "max_workers": high},
        },
        "head_node_type": HEAD_TYPE,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": IDLE_MINUTES,
        "docker": {},
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        **{name: [] for name in empty_lists},
    }


def write_config(folder: str, bounds: tuple[int, int], gcs_port: int, head_cpus: int) -> Path:
    """Write the cluster file below `folder`; JSON is YAML too."""
    path = Path(folder, "autoscaling.yaml")
    path.write_text(json.dumps(autoscaling_config(bounds, gcs_port, head_cpus), indent=1), encoding="utf-8")
    return path


def title(node_id: str) -> str:
    """`gpu-1` for the first simulated node and `head` for their head; empty for a real node's id."""
    if not node_id.startswith(HEAD_ID[:-5]):
        return ""
    number = int(node_id[-5:], 16)
    return f"gpu-{number}" if number else "head"
