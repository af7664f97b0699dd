"""The test cluster's API server behaves as one that sdctl meets: rights, conflicts, expired watches, restarts."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch
import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from tests.cluster.control_plane import ControlPlane, binaries, debian, definitions, envtest

APPLY = "application/apply-patch+yaml"
POD_READER = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]


@contextmanager
def client(control_plane: ControlPlane, user: str = "admin") -> Iterator[Any]:
    with kubernetes.config.new_client_from_config(str(control_plane.kubeconfig(user))) as api:
        yield kubernetes.client.CoreV1Api(api)


def config_map(value: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"key": value}}


@pytest.mark.cluster
def test_rights_are_those_that_a_user_was_given(control_plane: ControlPlane, namespace: str) -> None:
    with client(control_plane, "nobody") as nobody, pytest.raises(ApiException) as refusal:
        nobody.list_namespaced_pod(namespace)
    assert refusal.value.status == 403
    with client(control_plane, control_plane.user(POD_READER, namespace=namespace)) as reader:
        assert reader.list_namespaced_pod(namespace).items == []
        with pytest.raises(ApiException, match="secrets"):
            reader.list_namespaced_secret(namespace)


@pytest.mark.cluster
def test_a_field_of_another_manager_is_a_conflict(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/shared"
    control_plane.request("PATCH", f"{path}?fieldManager=first", config_map("one"), content=APPLY)
    with pytest.raises(Exception, match=r'409.*conflict with \\"first\\".*\.data\.key'):
        control_plane.request("PATCH", f"{path}?fieldManager=second", config_map("two"), content=APPLY)
    taken = f"{path}?fieldManager=second&force=true"
    assert control_plane.request("PATCH", taken, config_map("two"), content=APPLY)["data"] == {"key": "two"}


@pytest.mark.cluster
def test_objects_survive_the_api_server_but_old_watches_do_not(control_plane: ControlPlane, namespace: str) -> None:
    with client(control_plane) as admin:
        admin.create_namespaced_config_map(namespace, config_map("kept"))
        control_plane.restart()
        assert admin.read_namespaced_config_map("shared", namespace).data == {"key": "kept"}
        changes = kubernetes.watch.Watch().stream(
            admin.list_namespaced_config_map, namespace, resource_version="1", timeout_seconds=60
        )
        with pytest.raises(ApiException, match="too old resource version") as refusal:
            next(changes)
    assert refusal.value.status == 410


@pytest.mark.cluster
def test_every_kind_is_served(control_plane: ControlPlane) -> None:
    for spec in (definition["spec"] for definition in definitions.load()):
        stored = next(version["name"] for version in spec["versions"] if version["storage"])
        assert control_plane.request("GET", f"/apis/{spec['group']}/{stored}/{spec['names']['plural']}")["items"] == []


def test_schemas_are_relaxed_only_where_an_old_server_needs_it() -> None:
    keyed: dict[str, Any] = {
        "x-kubernetes-list-map-keys": ["name", "port"],
        "items": {"properties": {"port": {"default": 1}}},
    }
    schema = {"x-kubernetes-validations": [{"rule": "true"}], "default": "", "kept": [{"default": 0}], "list": keyed}
    relaxed = definitions.relaxed(schema)
    assert relaxed == {"kept": [{"default": 0}], "list": {**keyed, "items": {**keyed["items"], "required": ["name"]}}}


@pytest.mark.wire
def test_the_newest_envtest_release_is_fetched_and_checked(tmp_path: Path) -> None:
    archive = packed({"etcd": b"database", "kube-apiserver": b"server", "kubectl": b"not needed"})
    with served({"/good.tar.gz": archive}) as url:
        digest = hashlib.sha512(archive).hexdigest()
        index = {"releases": {"v1.9.0": release(url, "1.9.0", "no"), "v1.36.1": release(url, "1.36.1", digest)}}
        index["releases"]["v1.37.0-beta.0"] = release(url, "1.37.0", "no")
        with served({"/index": yaml.safe_dump(index).encode()}) as place:
            assert envtest.fetch(f"{place}/index", tmp_path) == "1.36.1"
            assert {path.name for path in tmp_path.iterdir()} == {"etcd", "kube-apiserver"}
            assert envtest.fetch(f"{place}/missing", tmp_path) == ""
        index["releases"]["v1.36.1"] = release(url, "1.36.1", "0" * 128)
        with served({"/index": yaml.safe_dump(index).encode()}) as place:
            assert envtest.fetch(f"{place}/index", tmp_path) == ""


def test_binaries_are_brought_once_and_then_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setattr(envtest, "fetch", lambda index, folder: "")
    monkeypatch.setattr(debian, "possible", lambda: False)
    with pytest.raises(binaries.Unavailable, match="KUBEBUILDER_ASSETS"):
        binaries.obtain()
    assert binaries.find() is None
    monkeypatch.setattr(envtest, "fetch", lambda index, folder: put(folder, "1.36.1"))
    folder = binaries.obtain()
    put(folder.parent / "1.9.0", "1.9.0")
    monkeypatch.setattr(envtest, "fetch", lambda index, folder: pytest.fail("they are there"))
    assert folder.name == "1.36.1"
    assert binaries.obtain() == binaries.find() == folder
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder.parent / "1.9.0"))
    assert binaries.find() == folder.parent / "1.9.0"


def put(folder: Path, version: str) -> str:
    """Binaries as `envtest.fetch` leaves them."""
    folder.mkdir(exist_ok=True)
    for name in binaries.NAMES:
        (folder / name).touch(0o755)
    return version


def release(url: str, version: str, digest: str) -> dict[str, dict[str, str]]:
    machines = ("amd64", "arm64")
    entry = {"hash": digest, "selfLink": f"{url}/good.tar.gz"}
    return {f"envtest-v{version}-linux-{machine}.tar.gz": entry for machine in machines}


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"controller-tools/envtest/{name}")
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@contextmanager
def served(files: dict[str, bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
