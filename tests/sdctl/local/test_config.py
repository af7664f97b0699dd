"""The Serve config of one machine."""

from pathlib import Path
from typing import Any

import pytest

from sdctl import manifest
from sdctl.errors import InvalidRequest, NotFound
from sdctl.local import config
from sdctl.local.config import Machine, Wish, changes, overlay, replica_bounds

SMALL = Machine(cpus=2)


def packaged(name: str = manifest.CPU) -> dict[str, Any]:
    return manifest.load(manifest.packaged(name)).serve_config


def deployment(local: dict[str, Any], name: str) -> dict[str, Any]:
    found = [each for each in local["applications"][0]["deployments"] if each["name"] == name]
    assert isinstance(found[0], dict)
    return found[0]


@pytest.mark.parametrize("name", [manifest.CPU, manifest.GPU])
def test_both_packaged_manifests_become_loopback_open_and_free_of_resources(name: str) -> None:
    local = overlay(packaged(name), Wish(8123), SMALL)
    assert local["proxy_location"] == "HeadOnly"
    assert local["http_options"]["host"] == "127.0.0.1"
    assert local["http_options"]["port"] == 8123
    args = local["applications"][0]["args"]
    assert (args["auth"], args["device"]) == ("open", "cpu")
    assert "runtime_env" not in local["applications"][0]
    assert deployment(local, "Generator")["ray_actor_options"] == {"num_cpus": 0}
    assert deployment(local, "Ingress")["ray_actor_options"] == {"num_cpus": 0}


def test_the_manifest_is_not_changed() -> None:
    original = packaged()
    overlay(original, Wish(1, replicas=(2, 2)), SMALL)
    assert original == packaged()


def test_no_more_replicas_than_cores_unless_asked_for() -> None:
    assert replica_bounds(overlay(packaged(), Wish(1), Machine(cpus=1))) == (1, 1)
    assert replica_bounds(overlay(packaged(), Wish(1), Machine(cpus=64))) == (1, 3)
    assert replica_bounds(overlay(packaged(), Wish(1, replicas=(0, 5)), Machine(cpus=1))) == (0, 5)


def test_simulated_nodes_carry_generators_and_nothing_else() -> None:
    local = overlay(packaged(), Wish(1), Machine(cpus=2, gpus=4, simulated=True))
    assert deployment(local, "Generator")["ray_actor_options"]["num_gpus"] == 1
    assert "node:__internal_head__" in deployment(local, "Ingress")["ray_actor_options"]["resources"]
    assert local["applications"][0]["args"]["device"] == "cpu"


def test_a_few_users_are_a_burst_for_simulated_nodes_and_for_nothing_else() -> None:
    def scaling(machine: Machine) -> Any:
        return deployment(overlay(packaged(), Wish(1), machine), "Generator")["autoscaling_config"]

    simulated = scaling(Machine(cpus=2, gpus=3, simulated=True))
    assert (simulated["target_ongoing_requests"], simulated["max_replicas"]) == (2, 3)
    assert simulated["downscale_delay_s"] < scaling(SMALL)["downscale_delay_s"]
    assert scaling(SMALL)["target_ongoing_requests"] == 8  # the cap at the default size, as the manifest has it


def test_a_real_gpu_is_shared_by_the_replicas() -> None:
    local = overlay(packaged(), Wish(1), Machine(cpus=2, gpus=1))
    assert local["applications"][0]["args"]["device"] == "auto"
    assert deployment(local, "Generator")["ray_actor_options"]["num_gpus"] < 1


def test_a_foreign_application_keeps_its_arguments() -> None:
    foreign = {"applications": [{"name": "a", "import_path": "other:app", "args": {"x": 1}, "runtime_env": {}}]}
    local = overlay(foreign, Wish(1), SMALL)
    assert local["applications"] == foreign["applications"]
    with pytest.raises(InvalidRequest, match="other:app"):
        overlay(foreign, Wish(1, model="x"), SMALL)


def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipe").mkdir()
    with pytest.raises(NotFound, match=r"model_index\.json"):
        config.model("pipe")
    (tmp_path / "pipe" / "model_index.json").touch()
    assert config.model("pipe") == str(tmp_path / "pipe")
    assert config.model("builtin:shapes") == "builtin:shapes"
    assert config.model("org/name") == "org/name"
    with pytest.raises(NotFound, match="no folder"):
        config.model("./missing")


def test_changes_are_told_one_by_one() -> None:
    old = overlay(packaged(), Wish(8000), SMALL)
    assert changes(old, overlay(packaged(), Wish(8000), SMALL)) == []
    new = overlay(packaged(), Wish(8001, model="org/name", replicas=(1, 4)), SMALL)
    assert [change.partition(":")[0] for change in changes(old, new)] == ["model", "replicas", "port"]
    retuned = {**old, "http_options": {**old["http_options"], "request_timeout_s": 1}}
    assert changes(old, retuned) == ["the Serve config of the manifest"]
