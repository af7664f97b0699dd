"""API keys from a mounted folder: a file per tenant, a key per line, followed when they change."""

import hashlib
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from serve_app.errors import Refusal, ServiceError, StartupError

OPEN_TENANT = "anyone"


class KeyRing:
    """The keys in force; files whose name starts with a dot are not keys (mounts keep their links there)."""

    def __init__(self, folder: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = Path(folder)
        self._clock = clock
        self._checked = clock()
        self._stamp = self._look()
        self._digests = self._read()
        if not self._digests:
            raise StartupError(
                f"No API key in {folder}: put a file with a key there (its name is the tenant), "
                "or set `auth: open` where only this machine can reach the service."
            )

    def tenant(self, header: str | None) -> str:
        """Whose key an Authorization header carries; raises ServiceError (401)."""
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("This service needs an API key: Authorization: Bearer <key>.", "missing_api_key")
        self._follow()
        offered = _digest(key.strip())
        found = ""
        for digest, tenant in self._digests:  # all of them: the time must not tell which one came close
            if hmac.compare_digest(digest, offered):
                found = tenant
        if not found:
            raise _unauthorized("This API key is not known here.", "invalid_api_key")
        return found

    def _follow(self) -> None:
        if self._clock() - self._checked < 1.0:
            return
        self._checked = self._clock()
        stamp = self._look()
        if stamp == self._stamp:
            return
        with suppress(StartupError):  # an unreadable file must not stop the keys that work
            self._digests = self._read()
            self._stamp = stamp

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if not path.name.startswith(".") and path.is_file())

    def _look(self) -> list[tuple[str, int, int, int]]:
        """What changes when a key does."""
        marks = []
        for path in self._files():
            try:
                stat = path.stat()
            except FileNotFoundError:  # a mount is swapping its files just now
                continue
            marks.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return marks

    def _read(self) -> list[tuple[bytes, str]]:
        digests = []
        for path in self._files():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise StartupError(f"The key file {path} cannot be read: {error}.") from None
            digests += [(_digest(line.strip()), path.name) for line in lines if line.strip()]
        return digests


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(message: str, code: str) -> ServiceError:
    return ServiceError(Refusal(401, code, message))
