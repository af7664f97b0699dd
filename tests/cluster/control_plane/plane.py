"""A real etcd and kube-apiserver on free loopback ports: one object that tests start, stop and make users of."""

import functools
import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from tests.cluster.control_plane.process import Process, free_port

USERS = 1000  # with no rights until `user` gives some; the API server reads its tokens only when it starts
KEY_REQUEST = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1"]


class Refused(Exception):
    """The API server's answer is not a success; `status` is its code."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status


@dataclass(frozen=True, eq=False)
class ControlPlane:
    """An API server at `url`; `certificate` is what it shows, and `key` belongs to it (kubelets use both)."""

    folder: Path
    url: str
    _etcd: Process = field(repr=False)
    _apiserver: Process = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    @property
    def certificate(self) -> Path:
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    def start(self) -> None:
        self._etcd.start()
        self._apiserver.start()

    def stop(self) -> None:
        pool(self.certificate).clear()
        self._apiserver.stop()
        self._etcd.stop()

    def start_apiserver(self) -> None:
        """Start the API server again, on the same port with the same objects."""
        self._apiserver.start()

    def stop_apiserver(self) -> None:
        """End the API server; etcd keeps the objects."""
        self._apiserver.stop()

    def restart(self) -> None:
        """Every watch and forward breaks, and every resource version from before has expired (410); objects stay."""
        self.stop_apiserver()
        self.start_apiserver()

    def kubeconfig(self, user: str = "admin", *, namespace: str = "default") -> Path:
        """A kubeconfig file for `user`: "admin", "nobody" (no rights at all) or what `user()` gave."""
        path = self.folder / f"{user}.{namespace}.kubeconfig"
        access = {"cluster": "test", "user": user, "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.certificate)}}
            ],
            "contexts": [{"name": "test", "context": access}],
            "users": [{"name": user, "user": {"token": token(user)}}],
        }
        path.write_text(json.dumps(document))  # JSON is YAML
        return path

    def user(self, rules: Sequence[dict[str, Any]], *, namespace: str = "") -> str:
        """A new user with these RBAC rules, in one namespace or, without one, cluster-wide (no non-resource URLs)."""
        name = f"user-{next(self._numbers)}"
        kind, place = ("Role", f"namespaces/{namespace}/") if namespace else ("ClusterRole", "")
        group = "rbac.authorization.k8s.io"
        role = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "rules": list(rules)}
        subject = {"kind": "User", "name": name, "apiGroup": group}
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": f"{kind}Binding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": kind, "name": name},
            "subjects": [subject],
        }
        self.request("POST", f"/apis/{group}/v1/{place}{kind.lower()}s", role)
        self.request("POST", f"/apis/{group}/v1/{place}{kind.lower()}bindings", binding)
        return name

    def request(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json", user: str = "admin"
    ) -> Any:
        """What the API server answers, as JSON; raises Refused."""
        headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": content, "Accept": "application/json"}
        data = None if body is None else json.dumps(body)
        answer = pool(self.certificate).request(method, self.url + path, body=data, headers=headers, timeout=120)
        if answer.status >= 400:
            raise Refused(answer.status, answer.data.decode(errors="replace"))
        return answer.json()


def token(user: str) -> str:
    """The bearer token of a user of the test cluster."""
    return f"token-of-{user}"


@functools.lru_cache
def pool(certificate: Path) -> urllib3.PoolManager:
    """Connections that trust this certificate, kept for the next request."""
    return urllib3.PoolManager(ca_certs=str(certificate))


def prepare(binaries: Path, folder: Path) -> ControlPlane:
    """A control plane below `folder` that has still to be started; makes its certificate and its users."""
    certificate = ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt")]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*KEY_REQUEST, *certificate, *names], check=True, capture_output=True)
    users = [f"{token('admin')},admin,1,system:masters", f"{token('nobody')},nobody,2"]
    users += [f"{token(f'user-{n}')},user-{n},{n + 10}" for n in range(USERS)]
    (folder / "tokens.csv").write_text("\n".join(users) + "\n")
    etcd_url, url = (f"{scheme}://127.0.0.1:{free_port()}" for scheme in ("http", "https"))
    ca = folder / "server.crt"
    etcd = Process(_etcd(binaries, folder, etcd_url), folder / "etcd.log", lambda: _healthy(f"{etcd_url}/health", ca))
    arguments = _apiserver(binaries, folder, url, etcd_url)
    apiserver = Process(arguments, folder / "kube-apiserver.log", lambda: _healthy(f"{url}/readyz", ca))
    return ControlPlane(folder, url, etcd, apiserver)


def _etcd(binaries: Path, folder: Path, url: str) -> list[str]:
    return [
        str(binaries / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync=true",
    ]


def _apiserver(binaries: Path, folder: Path, url: str, etcd_url: str) -> list[str]:
    certificate, key = folder / "server.crt", folder / "server.key"
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers={etcd_url}",
        "--bind-address=127.0.0.1",
        f"--secure-port={url.rpartition(':')[2]}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _healthy(url: str, certificate: Path) -> bool:
    headers = {"Authorization": f"Bearer {token('admin')}"}
    try:
        answer = pool(certificate).request("GET", url, headers=headers, timeout=30, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200
