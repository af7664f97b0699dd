"""A model hub on this machine: one repository from a folder, a gated one, a transfer that is cut or held once."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it serves and what it saw; the first transfer of `cut` ends half-way, that of `held` waits there."""

    folder: Path
    repository: str
    token: str
    cut: str = ""
    held: str = ""
    release: Event = field(default_factory=Event)  # ends the waiting
    url: str = ""
    transfers: list[tuple[str, int]] = field(default_factory=list)  # file and first byte
    tokens: set[str] = field(default_factory=set)
    revisions: set[str] = field(default_factory=set)

    def files(self) -> list[str]:
        """The names in the repository."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub on a free port of the loopback, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join(60)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *arguments: object) -> None:
        self._hub = hub
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *arguments: object) -> None:
        """Be silent."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path, hub = urlsplit(self.path).path, self._hub
        asked = self.headers.get("Authorization", "")
        hub.tokens.add(asked)
        if hub.repository not in path:
            code = "GatedRepo" if "gated" in path else "RepoNotFound"
            self._send(403 if "gated" in path else 404, b"", {"X-Error-Code": code, "X-Error-Message": "not for you"})
        elif asked != f"Bearer {hub.token}":
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
        elif listing := re.fullmatch(rf"/api/models/{hub.repository}(?:/revision/([^/]+))?", path):
            hub.revisions.add(listing[1] or "main")
            self._send(200, json.dumps(self._listing()).encode(), {"Content-Type": "application/json"})
        elif tree := re.fullmatch(rf"/api/models/{hub.repository}/tree/([^/]+)(?:/.*)?", path):
            hub.revisions.add(tree[1])
            rows = [{"type": "file", "path": name, "size": self._size(name), "oid": name} for name in hub.files()]
            self._send(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})
        elif file := re.fullmatch(rf"/{hub.repository}/resolve/([^/]+)/(.+)", path):
            self._file(file[2], body=body)
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _size(self, name: str) -> int:
        return (self._hub.folder / name).stat().st_size

    def _listing(self) -> dict[str, object]:
        hub = self._hub
        siblings = [{"rfilename": name} for name in hub.files()]
        return {"_id": "1", "id": hub.repository, "modelId": hub.repository, "sha": COMMIT, "siblings": siblings}

    def _file(self, name: str, *, body: bool) -> None:
        path, hub = self._hub.folder / name, self._hub
        if name not in hub.files():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        data = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if not body:
            self._send(200, b"", headers, length=len(data))
            return
        first = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or ("", "0"))[1])
        hub.transfers.append((name, first))
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        rest = data[first:]
        if name in (hub.cut, hub.held):
            self._send(206 if first else 200, rest[: len(rest) // 2], headers, length=len(rest))
            if name == hub.held:
                hub.release.wait()
            hub.cut = hub.held = ""
            self.close_connection = True
            return
        self._send(206 if first else 200, rest, headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
