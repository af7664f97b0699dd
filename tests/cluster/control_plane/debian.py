"""Builds kube-apiserver from Debian's source package and unpacks etcd: all it needs is a package mirror."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "1.20.2.2"  # the last number is this recipe's: a change below needs a new one
SOURCE_PACKAGE = "kubernetes=1.20.5+really1.20.2-1.1+deb12u1"
TOOLS = ("golang-go", "rsync", "make", "dpkg-dev")
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def possible() -> bool:
    """Whether this machine has Debian's apt, and root to install a compiler with where one is missing."""
    return Path(KEYRING).exists() and _mirror() != "" and (os.geteuid() == 0 or not missing_tools())


def missing_tools() -> list[str]:
    """The packages that the build needs and dpkg does not list as installed."""
    return [package for package in TOOLS if not _installed(package)]


def build(target: Path) -> None:
    """Put `etcd` and `kube-apiserver` into the folder `target`; some six minutes of CPU, 2 GB of disk meanwhile."""
    with tempfile.TemporaryDirectory(prefix="sdctl-kube-") as scratch:
        work = Path(scratch)
        if missing := missing_tools():
            _run(["apt-get", "-qq", "update"], work)
            _run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing], work)
        apt = _private_apt(work)
        etcd = _unpack(apt, work, "etcd-server") / "usr/bin/etcd"
        reflect2 = _unpack(apt, work, "golang-github-modern-go-reflect2-dev")
        server = _compile(_source(apt, work), reflect2 / "usr/share/gocode/src/github.com/modern-go/reflect2", work)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(etcd, target / "etcd")
        shutil.copy2(server, target / "kube-apiserver")


def _installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def _mirror() -> str:
    """The address of the Debian mirror that this machine uses; empty without one."""
    if shutil.which("apt-get") is None:
        return ""
    query = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return next((line for line in lines if line.rstrip("/").endswith("/debian")), "")


def _private_apt(work: Path) -> list[str]:
    """apt-get with a source list and package lists of its own, so that the machine's stay as they are."""
    sources, lists = work / "mirror.list", work / "lists"
    place = f"[signed-by={KEYRING}] {_mirror()} {SUITE} main"
    sources.write_text(f"deb {place}\ndeb-src {place}\n")
    (lists / "partial").mkdir(parents=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"]
    apt += ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache::pkgcache={work}/pkg.bin"]
    apt += ["-o", f"Dir::Cache::srcpkgcache={work}/src.bin", "-o", "APT::Sandbox::User=root"]
    _run([*apt, "update"], work)
    return apt


def _unpack(apt: list[str], work: Path, package: str) -> Path:
    """The package's files in a folder of their own: not installed, so its scripts start no service."""
    folder = work / package
    folder.mkdir()
    _run([*apt, "download", package], folder)
    [archive] = folder.glob("*.deb")
    _run(["dpkg-deb", "--extract", str(archive), str(folder)], folder)
    return folder


def _source(apt: list[str], work: Path) -> Path:
    _run([*apt, "source", SOURCE_PACKAGE], work)
    [folder] = (path for path in work.glob("kubernetes-*") if path.is_dir())
    return folder


def _compile(source: Path, reflect2: Path, work: Path) -> Path:
    # reflect2 1.0.1, which the source vendors, predates Go 1.18 and panics there.
    vendored = source / "vendor/github.com/modern-go/reflect2"
    shutil.rmtree(vendored)
    shutil.copytree(reflect2, vendored)
    # Newer Go compares equal here for every empty string, which would then be refused as null.
    checks = source / "vendor/k8s.io/kube-openapi/pkg/validation/validate/type.go"
    null_or_zero = "data == nil || reflect.DeepEqual(reflect.Zero(reflect.TypeOf(data)), reflect.ValueOf(data))"
    text = checks.read_text()
    assert null_or_zero in text, "the source is not the one that this recipe knows"
    checks.write_text(text.replace(null_or_zero, "data == nil"))
    settings = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=vendor"}
    settings |= {"GOCACHE": str(work / "gocache"), "GOPATH": str(work / "gopath")}
    _run(["nice", "make", "WHAT=cmd/kube-apiserver"], source, settings)
    return source / "_output/bin/kube-apiserver"


def _run(command: list[str], folder: Path, settings: dict[str, str] | None = None) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"} | (settings or {})
    subprocess.run(command, cwd=folder, env=environment, check=True)
