"""What was started on this machine, kept so that a later command finds exactly that again."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from sdctl import state
from sdctl.errors import SdctlError
from sdctl.local.processes import Claim, Identity, boot_id

FILE = "local.json"
TOKEN_FILE = "local.token"  # noqa: S105 -- a file's name
LOCK_FILE = "local.lock"
OWNER_FILE = "owner"  # in the folder: the state home whose record it belongs to


@dataclass(frozen=True)
class Record:
    """One background Ray: where it lives, what proves that a process is its, and what it was asked to serve."""

    id: str
    folder: str  # Ray's temp dir: short, because socket paths have a length limit
    boot: str
    leader: Identity | None = None  # the process that starts Ray: its number names the session of all the others
    members: tuple[Identity, ...] = ()
    dashboard_port: int = 0
    serve_port: int = 0
    gpu_nodes: tuple[int, int] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)  # the Serve config as we submitted it
    code: str = ""  # fingerprint of the application's code that the replicas imported
    ray_s: float | None = None  # seconds that Ray and Serve took to start
    serve_s: float | None = None

    @property
    def claim(self) -> Claim:
        """What proves that a process belongs to this record, now."""
        if self.boot != boot_id():  # process numbers of another boot mean nothing
            return Claim(self.folder)
        return Claim(self.folder, self.leader, frozenset(self.members))

    def with_(self, **changes: Any) -> "Record":
        """A changed copy, already kept on disk: a killed command leaves a record of all that it began."""
        changed = replace(self, **changes)
        state.write(FILE, asdict(changed))
        return changed


def base_folder() -> Path:
    """Where the temp dirs of this user's records are."""
    return Path(f"/tmp/sdctl-{os.getuid()}")  # noqa: S108 -- made 0700 and checked in `create`


def create() -> Record:
    """A new record with its folder and token, kept before anything is started.

    Raises SdctlError where somebody else owns the folder under /tmp, or it cannot be made.
    """
    identifier = secrets.token_hex(4)
    folder = base_folder() / identifier
    try:
        _make(folder)
        (folder / "tmp").mkdir(mode=0o700)
        (folder / OWNER_FILE).write_text(str(state.home()), encoding="utf-8")
        record = Record(identifier, str(folder), boot_id()).with_()
        _write_token()
    except OSError as error:
        raise SdctlError(
            f"{error.filename or folder} cannot be written: {error.strerror}.", hint="sdctl needs /tmp and its state."
        ) from None
    return record


def _make(folder: Path) -> None:
    base = folder.parent
    while not folder.exists():
        base.mkdir(mode=0o700, exist_ok=True)
        if base.is_symlink() or base.lstat().st_uid != os.getuid():
            raise SdctlError(f"{base} belongs to somebody else.", hint="Have it removed; sdctl makes its own.")
        base.chmod(0o700)
        with suppress(FileNotFoundError):  # a clean-up of another state home removed the empty base meanwhile
            folder.mkdir(mode=0o700)


def _write_token() -> None:
    path = token_path()
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))


def token_path() -> Path:
    """The file with the token that Ray's dashboard and internal ports ask for."""
    return state.home() / TOKEN_FILE


def token() -> str:
    """The token of the Ray on record; empty when it is not there."""
    try:
        return token_path().read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def load() -> Record | None:
    """The record of the last deployment here, or None. One that makes no sense counts as none."""
    try:
        return _parse(state.read(FILE))
    except (KeyError, TypeError, ValueError):
        return None


def abandoned() -> list[Record]:
    """Folders of this state home whose record was lost: their processes are found by the folder alone."""
    kept = load()
    found = []
    for owner in base_folder().glob(f"*/{OWNER_FILE}"):
        try:
            ours = owner.read_text(encoding="utf-8") == str(state.home()) and owner.stat().st_uid == os.getuid()
        except OSError:
            continue
        if ours and (kept is None or kept.folder != str(owner.parent)):
            found.append(Record(owner.parent.name, str(owner.parent), boot_id()))
    return found


def _parse(value: dict[str, Any]) -> Record:
    leader, nodes = value.get("leader"), value.get("gpu_nodes")
    folder = Path(value["folder"])
    if folder != base_folder() / value["id"]:  # it will be removed: never trust a path that somebody wrote there
        raise ValueError(folder)
    fields = {
        **value,
        "leader": Identity(**leader) if leader else None,
        "members": tuple(Identity(**member) for member in value.get("members", ())),
        "gpu_nodes": (int(nodes[0]), int(nodes[1])) if nodes else None,
    }
    return Record(**fields)


def forget(record: Record) -> None:
    """Remove the folder, the token and the record. Raises OSError for what cannot be removed."""
    if Path(record.folder).exists():
        shutil.rmtree(record.folder)
    token_path().unlink(missing_ok=True)
    state.remove(FILE)
    with suppress(OSError):  # gone already, or somebody else's deployment is in it
        base_folder().rmdir()


@contextmanager
def exclusive() -> Iterator[None]:
    """Let one command at a time start or end the local Ray; raises SdctlError while another one does."""
    state.home().mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state.home() / LOCK_FILE).open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise SdctlError(
                "Another sdctl deploys or cleans up here at this moment.", hint="Wait for it, or end it.", code="locked"
            ) from None
        yield
