"""One service, looked at as an operator does: status, logs, debug bundle, doctor; all through the API server."""

import json
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from sdctl import cli
from sdctl.cluster.logs import logs
from sdctl.errors import SdctlError
from sdctl.targets.base import LogQuery
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operating import NAME, cluster_of, rayservice, serving
from tests.cluster.standins.platform import Platform

pytestmark = pytest.mark.cluster


@pytest.fixture
def service(platform: Platform) -> Platform:
    """The stand-ins with a service that serves."""
    service = rayservice(platform.namespace)
    service["spec"]["rayClusterConfig"]["authOptions"] = {"mode": "token", "secretName": "sd-dashboard-token"}
    metadata = {"name": "sd-dashboard-token", "labels": service["metadata"]["labels"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"auth_token": "s3cr3t-token"}}
    platform.create(secret)
    platform.create(service)
    platform.until(lambda: serving(platform))
    platform.until(lambda: len(pods(platform)) == 2)
    return platform


def pods(platform: Platform) -> list[str]:
    """Names of the pods that run, the head first."""
    running = [pod for pod in platform.list("pods") if pod["status"].get("phase") == "Running"]
    return sorted((pod["metadata"]["name"] for pod in running), key=lambda name: "-head-" not in name)


def run(control_plane: ControlPlane, platform: Platform, *argv: str) -> int:
    place = ["--namespace", platform.namespace, "--name", NAME, "--kubeconfig", str(control_plane.kubeconfig())]
    return cli.run([*argv, "--target", "kubernetes", *place])


def test_a_service_is_looked_at(
    service: Platform, control_plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, worker = pods(service)
    service.kubelet.log(head, "ray", "head begins", "key s3cr3t-token", ago_s=600)
    service.kubelet.log(worker, "ray", "worker joined", ago_s=5)

    service.until(lambda: run(control_plane, service, "status", "--json") == 0 and ready(capsys.readouterr().out))
    assert run(control_plane, service, "logs") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [f"{head} | head begins", f"{head} | key s3cr3t-token", f"{worker} | worker joined"]
    assert run(control_plane, service, "logs", "--role", "worker", "--json") == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["worker joined"]
    assert run(control_plane, service, "logs", "--role", "head", "--tail", "1") == 0
    assert capsys.readouterr().out.splitlines() == [f"{head} | key s3cr3t-token"]

    bundle = tmp_path / "b.tar.gz"
    assert run(control_plane, service, "debug-bundle", "-o", str(bundle)) == 0
    contents = read(bundle)
    assert "head begins" in contents["logs.txt"]
    assert f"objects/Pod-{worker}.json" in contents
    assert "CreatedHeadPod" in contents["events.txt"]
    assert json.loads(contents["operator.json"])["state"] == "running"
    assert contents["errors.txt"] == "none"
    assert "s3cr3t-token" not in "".join(contents.values())


def ready(out: str) -> bool:
    """Whether a status says that all is well, with what a script would read from it."""
    document: Any = json.loads(out)
    if document["state"] != "ready" or document["replicas"]["running"] is None:
        return False
    assert document["reason"] == ""
    assert document["endpoint"]["url"].startswith("http://sd-serve-svc.")
    assert [node["name"] for node in document["nodes"]] == ["node-cpu"]
    assert {pod["role"] for pod in document["details"]["pods"]} == {"head", "worker"}
    return True


def read(bundle: Path) -> dict[str, str]:
    """The files of an archive by their names below its folder."""
    contents = {}
    with tarfile.open(bundle) as archive:
        for entry in archive.getmembers():
            file = archive.extractfile(entry)
            assert file is not None
            contents[entry.name.removeprefix("b/")] = file.read().decode()
    return contents


class Reader(threading.Thread):
    """Follows the logs until a line says so."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        super().__init__()
        cluster = cluster_of(control_plane, namespace)
        self._stream = logs(cluster, namespace, NAME, LogQuery(follow=True), every_s=0.2)
        self.texts: list[str] = []
        self.failure: SdctlError | None = None

    def run(self) -> None:
        try:
            for line in self._stream:
                self.texts.append(line.text)
                if line.text == "the end":
                    return
        except SdctlError as error:
            self.failure = error


def test_followed_logs_have_newcomers_and_survive_the_api_server(
    service: Platform, control_plane: ControlPlane
) -> None:
    head, worker = pods(service)
    service.kubelet.log(head, "ray", "first")
    reader = Reader(control_plane, service.namespace)
    reader.start()
    try:
        service.until(lambda: "first" in reader.texts)
        control_plane.restart()
        service.kubelet.log(worker, "ray", "after the restart")
        service.until(lambda: "after the restart" in reader.texts)
        service.delete("pods", worker, grace_s=0)
        newcomer = service.until(lambda: [name for name in pods(service) if name not in (head, worker)])[0]
        service.kubelet.log(newcomer, "ray", "a newcomer")
        service.until(lambda: "a newcomer" in reader.texts)
    finally:
        service.kubelet.log(head, "ray", "the end")
        reader.join(60)
    assert reader.failure is None
    assert reader.texts.count("first") == 1
