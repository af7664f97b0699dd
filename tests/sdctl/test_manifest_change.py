"""What a command line changes in a manifest, and what it leaves alone."""

from pathlib import Path
from typing import Any

import pytest

from sdctl import manifest
from sdctl.errors import InvalidRequest, NotFound
from sdctl.manifest import Manifest, deployments, groups, head, ray_container
from sdctl.manifest.change import changed
from sdctl.manifest.lines import Lines
from sdctl.manifest.text import MASK, masked, to_yaml


@pytest.fixture
def gpu() -> Manifest:
    return manifest.load(manifest.packaged(manifest.GPU))


def generator(loaded: Manifest) -> dict[str, Any]:
    return deployments(loaded.serve_config["applications"][0])[1]


def test_nothing_asked_changes_nothing_and_the_given_one_stays(gpu: Manifest) -> None:
    assert changed(gpu).documents == gpu.documents
    changed(gpu, image="other:1", replicas=(2, 3), model="x/y", name="other")
    assert gpu.documents == manifest.load(manifest.packaged(manifest.GPU)).documents


def test_image_goes_to_head_and_workers_only(gpu: Manifest) -> None:
    new = changed(gpu, image="registry.example/sd:7").rayservice
    assert {ray_container(group)["image"] for group in (head(new), *groups(new))} == {"registry.example/sd:7"}


def test_model_takes_the_old_ones_revision_and_variant_with_it(gpu: Manifest) -> None:
    arguments = changed(gpu, model="org/model").serve_config["applications"][0]["args"]
    assert arguments["model"] == "org/model"
    assert not {"revision", "variant"} & set(arguments)
    assert arguments["auth"] == "keys"
    same = changed(gpu, model="stabilityai/stable-diffusion-xl-base-1.0")
    assert same.serve_config["applications"][0]["args"]["variant"] == "fp16"


def test_replicas_move_serve_and_the_worker_group_together(gpu: Manifest) -> None:
    new = changed(gpu, replicas=(2, 6))
    scaling = generator(new)["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"], scaling["target_ongoing_requests"]) == (2, 6, 4)
    [group] = groups(new.rayservice)
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (2, 2, 6)


def test_replicas_share_big_workers(gpu: Manifest) -> None:
    base = "spec.rayClusterConfig.workerGroupSpecs.gpu.template.spec.containers.ray-worker.resources"
    big = (f"{base}.limits.nvidia\\.com/gpu=4", f"{base}.limits.cpu=8")
    new = changed(changed(gpu, overrides=big), replicas=(1, 6))
    [group] = groups(new.rayservice)
    assert (group["minReplicas"], group["maxReplicas"]) == (1, 2)


def test_replicas_without_a_worker_that_can_hold_one(gpu: Manifest) -> None:
    huge = ("spec.serveConfigV2.applications.stable-diffusion.deployments.Generator.ray_actor_options.num_gpus=2",)
    with pytest.raises(InvalidRequest, match="No worker group has a pod for a replica of Generator"):
        changed(changed(gpu, overrides=huge), replicas=(1, 2))


def test_a_new_name_takes_its_secrets_with_it(gpu: Manifest) -> None:
    new = changed(gpu, name="art").rayservice
    text = to_yaml(new)
    assert new["metadata"]["name"] == "art"
    assert {"secretName: art-api-keys", "secretName: art-dashboard-token", "name: art-hub-token"} <= {
        line.strip() for line in text.splitlines()
    }
    assert "stable-diffusion-" not in text.replace("stable-diffusion-xl-base", "")


def test_set_reaches_lists_by_name_and_the_serve_config(gpu: Manifest) -> None:
    new = changed(
        gpu,
        overrides=(
            "spec.serveConfigV2.applications.0.args.max_batch=2",
            "spec.rayClusterConfig.workerGroupSpecs.gpu.idleTimeoutSeconds=60",
            "metadata.annotations.ray\\.io/initializing-timeout=90m",
            "spec.serveService.metadata.labels.team=art",
        ),
    )
    assert new.serve_config["applications"][0]["args"]["max_batch"] == 2
    assert groups(new.rayservice)[0]["idleTimeoutSeconds"] == 60
    assert new.rayservice["metadata"]["annotations"]["ray.io/initializing-timeout"] == "90m"
    assert new.rayservice["spec"]["serveService"] == {"metadata": {"labels": {"team": "art"}}}


@pytest.mark.parametrize(
    "bad", ["no-equals", "=1", "a..b=1", "spec.rayClusterConfig.workerGroupSpecs.nosuch.x=1", "kind.x=1", "a=[1"]
)
def test_a_bad_set_is_a_usage_error(gpu: Manifest, bad: str) -> None:
    with pytest.raises(InvalidRequest, match="--set"):
        changed(gpu, overrides=(bad,))


def test_a_foreign_application_takes_no_model() -> None:
    foreign = manifest.load(Path("tests/manifests/systems/system0-hyperpod.yaml"))
    with pytest.raises(InvalidRequest, match="its own code"):
        changed(foreign, model="x/y")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        manifest.load(tmp_path / "missing.yaml")
    for text in ("a: [", "- 1\n- 2\n"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InvalidRequest):
            manifest.load(tmp_path / "bad.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest):
        manifest.load(tmp_path / "bytes.yaml")


def test_lines_are_those_of_the_file(gpu: Manifest) -> None:
    lines, text = Lines(gpu), gpu.text.splitlines()
    rows = {
        ("metadata", "name"): "name: stable-diffusion",
        ("spec", "rayClusterConfig", "rayVersion"): "rayVersion:",
        ("spec", "serveConfigV2", "applications", 0, "args", "model"): "model:",
        ("spec", "serveConfigV2", "applications", 0, "deployments", 1, "autoscaling_config", "max_replicas"): "max_rep",
        ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "image"): "image:",
    }
    for path, words in rows.items():
        line = lines.of(*path)
        assert line is not None
        assert text[line - 1].strip().startswith(words), path
    assert lines.of("spec", "serveConfigV2", "applications", 0, "nosuch") == lines.of(
        "spec", "serveConfigV2", "applications", 0
    )


def test_secrets_are_never_shown_and_never_applied_by_their_mask() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"auth_token": "abc"}, "data": {"k": "eA=="}}
    hidden = masked(secret)
    assert hidden["stringData"] == {"auth_token": MASK}
    assert hidden["data"] == {"k": MASK}
    assert all(line.startswith("#") for line in to_yaml(hidden).splitlines())
