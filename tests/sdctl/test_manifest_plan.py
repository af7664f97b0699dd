"""From a command line to the objects that a Kubernetes deployment applies; no server is asked."""

from pathlib import Path
from typing import Any

import pytest

from sdctl import manifest
from sdctl.cluster import code, secrets
from sdctl.cluster.deploy_plan import cluster_spec_changed, plan
from sdctl.cluster.ingress import dashboard_ingress
from sdctl.errors import InvalidRequest
from sdctl.manifest import groups, head, ray_container, serve_config
from sdctl.targets.base import ApplyOptions, DeploySpec, Selection

CPU = str(manifest.packaged(manifest.CPU))
HERE = Selection()


def kinds(documents: tuple[dict[str, Any], ...]) -> list[str]:
    return [f"{document['kind']} {document['metadata']['name']}" for document in documents]


def test_an_image_skips_the_configmap_and_everything_comes_in_order() -> None:
    planned = plan(DeploySpec(manifest=CPU, image="sd:1"), HERE)
    assert kinds(planned.documents) == [
        "Namespace sdctl",
        "Secret stable-diffusion-dashboard-token",
        "Secret stable-diffusion-api-keys",
        "RayService stable-diffusion",
    ]
    assert planned.notes == ()
    assert {document["metadata"].get("namespace") for document in planned.documents[1:]} == {"sdctl"}


def test_without_an_image_code_and_dependencies_come_along_and_the_cost_is_told() -> None:
    planned = plan(DeploySpec(), HERE)
    [configmap] = planned.objects
    collected = code.collect()
    assert configmap["metadata"]["name"] == f"stable-diffusion-code-{collected.digest}"
    assert configmap["immutable"] is True
    assert "serve_app--app.py" in configmap["data"]
    assert not any("train" in key for key in configmap["data"])
    assert "some 5 to 10 minutes more on each cold start" in planned.notes[0].replace("\n", " ")
    for group in (head(planned.rayservice), *groups(planned.rayservice)):
        container = ray_container(group)
        assert container["image"] == "rayproject/ray:2.60.0-py311-gpu"
        assert {"name": "PYTHONPATH", "value": code.MOUNT} in container["env"]
        assert any(mount["mountPath"] == code.MOUNT for mount in container["volumeMounts"])
        [volume] = [one for one in group["template"]["spec"]["volumes"] if "configMap" in one]
        paths = {item["key"]: item["path"] for item in volume["configMap"]["items"]}
        assert paths.keys() == configmap["data"].keys()
        assert paths["serve_app--app.py"] == "serve_app/app.py"


def test_torch_goes_to_the_generator_only_pinned_and_with_a_long_set_up() -> None:
    [application] = serve_config(plan(DeploySpec(), HERE).rayservice)["applications"]
    ingress, generator = application["deployments"]
    assert not any("torch" in package for package in application["runtime_env"]["pip"])
    assert "runtime_env" not in ingress["ray_actor_options"]
    environment = generator["ray_actor_options"]["runtime_env"]
    assert all("==" in package for package in environment["pip"])
    assert environment["config"]["setup_timeout_seconds"] > 600  # Ray's default is too short for torch


def test_the_built_in_model_needs_an_image() -> None:
    with pytest.raises(InvalidRequest, match="weights do not fit"):
        plan(DeploySpec(manifest=CPU), HERE)


def test_code_is_named_by_its_content_and_its_size_is_checked(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("a = 1\n")
    first = code.collect(tmp_path)
    assert first.digest == code.collect(tmp_path).digest
    (tmp_path / "app.py").write_text("a = 2\n")
    assert code.collect(tmp_path).digest != first.digest
    (tmp_path / "big.py").write_text("#" * code.MAX_BYTES)
    with pytest.raises(InvalidRequest, match="a ConfigMap holds"):
        code.collect(tmp_path)


def test_our_labels_are_on_the_object_and_on_both_kinds_of_pods() -> None:
    rayservice = plan(DeploySpec(manifest=CPU, image="sd:1"), Selection(name="art")).rayservice
    ours = {"app.kubernetes.io/managed-by": "sdctl", "app.kubernetes.io/instance": "art"}
    for holder in (rayservice, head(rayservice)["template"], groups(rayservice)[0]["template"]):
        assert ours.items() <= holder["metadata"]["labels"].items()


def test_namespaces_of_file_and_command_line_must_agree(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(Path(CPU).read_text().replace("metadata:\n  name", "metadata:\n  namespace: art\n  name", 1))
    assert plan(DeploySpec(manifest=str(file), image="sd:1"), HERE).namespace == "art"
    with pytest.raises(InvalidRequest, match="names the namespace art, the command line other"):
        plan(DeploySpec(manifest=str(file), image="sd:1"), Selection(namespace="other"))


@pytest.mark.parametrize(
    "other",
    [
        "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: gpu}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: elsewhere}\n",
        "apiVersion: keda.sh/v1\nkind: ScaledObject\nmetadata: {name: x}\n",
    ],
)
def test_what_clean_up_could_not_remove_again_is_refused(tmp_path: Path, other: str) -> None:
    (tmp_path / "both.yaml").write_text(f"{Path(CPU).read_text()}---\n{other}")
    with pytest.raises(InvalidRequest, match=r"does not (lie in|apply)"):
        plan(DeploySpec(manifest=str(tmp_path / "both.yaml"), image="sd:1"), HERE)


def test_secrets_are_random_and_only_those_that_the_manifest_names() -> None:
    rayservice = plan(DeploySpec(manifest=CPU, image="sd:1"), HERE).rayservice
    first, second = (secrets.wanted(rayservice) for _ in range(2))
    values = [value for secret in (*first, *second) for value in secret["stringData"].values()]
    assert len(set(values)) == len(values) == 4
    assert all(len(value) == 64 for value in values)
    foreign = {"metadata": {"name": "x"}, "spec": {"rayClusterConfig": {}}}
    assert secrets.wanted(foreign) == []


def test_findings_that_fail_stop_the_plan_and_warnings_become_notes() -> None:
    headless = ("spec.serveConfigV2.proxy_location=HeadOnly",)
    planned = plan(DeploySpec(manifest=CPU, image="sd:1", overrides=headless), HERE)
    assert any("proxy_location HeadOnly" in note for note in planned.notes)
    with pytest.raises(InvalidRequest, match="cannot work as it is"):
        plan(DeploySpec(manifest=CPU, image="sd:1"), Selection(name="Not_A_Name"))


INGRESS = {"dashboard_ingress": True, "inbound_cidrs": ("203.0.113.0/24",)}


def test_the_dashboards_load_balancer_is_internal_and_limited() -> None:
    planned = plan(DeploySpec(manifest=CPU, image="sd:1", apply=ApplyOptions(**INGRESS)), HERE)  # type: ignore[arg-type]
    [ingress] = planned.objects
    annotations = ingress["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/scheme"] == "internal"
    assert annotations["alb.ingress.kubernetes.io/inbound-cidrs"] == "203.0.113.0/24"
    assert any("plain HTTP" in note for note in planned.notes)


@pytest.mark.parametrize(
    ("cidrs", "scheme", "words"),
    [
        ((), "internal", "needs --inbound-cidr"),
        (("0.0.0.0/0",), "internal", "is everybody"),
        (("::/0",), "internal", "is everybody"),
        (("203.0.113.7/24",), "internal", "is no range"),
        (("203.0.113.0/24",), "public", "is none of"),
    ],
)
def test_open_load_balancers_are_refused(cidrs: tuple[str, ...], scheme: str, words: str) -> None:
    rayservice = manifest.load(CPU).rayservice
    with pytest.raises(InvalidRequest, match=words):
        dashboard_ingress(rayservice, cidrs, scheme)


def test_without_a_token_there_is_no_load_balancer() -> None:
    rayservice = manifest.load(CPU).rayservice
    del rayservice["spec"]["rayClusterConfig"]["authOptions"]
    with pytest.raises(InvalidRequest, match="without token authentication"):
        dashboard_ingress(rayservice, ("203.0.113.0/24",), "internal")


def test_a_range_without_a_load_balancer_is_a_mistake() -> None:
    options = ApplyOptions(inbound_cidrs=("203.0.113.0/24",))
    with pytest.raises(InvalidRequest, match="goes with --dashboard-ingress"):
        plan(DeploySpec(manifest=CPU, image="sd:1", apply=options), HERE)


@pytest.mark.parametrize(
    ("change", "new_cluster"),
    [
        ("replicas=3", False),
        ("maxReplicas=9", False),
        ("template.spec.tolerations=[{key: gpu, operator: Exists}]", False),
        ("template.spec.containers.ray-worker.image=sd:2", True),
        ("template.spec.nodeSelector.disk=fast", True),
    ],
)
def test_what_kuberay_replaces_a_cluster_for(change: str, new_cluster: bool) -> None:
    before = plan(DeploySpec(manifest=CPU, image="sd:1"), HERE).rayservice
    overrides = (f"spec.rayClusterConfig.workerGroupSpecs.cpu.{change}",)
    after = plan(DeploySpec(manifest=CPU, image="sd:1", overrides=overrides), HERE).rayservice
    assert cluster_spec_changed(before, after) is new_cluster
