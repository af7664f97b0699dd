"""A small real HTTP service on loopback that makes pictures and, when told, trouble."""

import base64
import io
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, ImageDraw

MODEL = "fake:bars"


@dataclass(frozen=True)
class Reply:
    """What to answer; `cut` bytes are missing at the end, `drop` closes without an answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    drop: bool = False
    hold: threading.Event | None = None  # wait for it before answering


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


def draw(seed: int, width: int, height: int, kind: str = "png") -> bytes:
    """A picture that depends on nothing but its arguments."""
    image = Image.new("RGB", (width, height), (seed % 251, seed % 241, seed % 239))
    ImageDraw.Draw(image).rectangle((4, 4, width // 2, height // 2), fill=(255 - seed % 251, 30, 200))
    buffer = io.BytesIO()
    image.save(buffer, {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}[kind])
    return buffer.getvalue()


def imagine(request: Mapping[str, Any]) -> Reply:
    """The answer of our API to a good request."""
    width, height, seed = request.get("width", 128), request.get("height", 128), request.get("seed", 0)
    receipt = {
        "seed": seed,
        "width": width,
        "height": height,
        "num_inference_steps": request.get("num_inference_steps", 8),
        "guidance_scale": request.get("guidance_scale", 4.0),
        "scheduler": "Bars",
        "model": MODEL,
        "revision": "r1",
        "app_version": "0.1.0",
        "replica": "generator#1",
        "batch_size": 1,
        "timings_ms": {"generate": 12.5},
        "request_id": "req-1",
        "time": "2026-11-28T12:00:00+00:00",
        "warnings": [],
    }
    if (start := request["prompt"].find("frobnicated")) >= 0:
        spans = [[start, start + len("frobnicated")]]
        receipt["warnings"] = [{"code": "unknown_words", "message": "The model does not know", "spans": spans}]
    kind = request.get("format", "png")
    packed = base64.urlsafe_b64encode(json.dumps(receipt).encode()).decode().rstrip("=")
    return Reply(200, draw(seed, width, height, kind), {"Content-Type": f"image/{kind}", "X-Receipt": packed})


def openai(request: Mapping[str, Any]) -> Reply:
    """The answer of an OpenAI Images API."""
    width, _, height = request.get("size", "64x64").partition("x")
    data = base64.b64encode(draw(request.get("seed", 0), int(width), int(height))).decode()
    return json_reply(200, {"created": 1, "data": [{"b64_json": data}]})


def json_reply(status: int, document: Any, **headers: str) -> Reply:
    """A JSON answer."""
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json", **headers})


def error(status: int, code: str, message: str = "it is so", param: str | None = None, **headers: str) -> Reply:
    """An error in the documented shape."""
    body = {"error": {"message": message, "type": "error", "param": param, "code": code}}
    return json_reply(status, body, **headers)


class HttpService:
    """The service: `script` holds the answers to the next POSTs; after them it answers well."""

    def __init__(self, dialect: str = "sdctl") -> None:
        self.dialect = dialect
        self.script: deque[Reply] = deque()
        self.gets: Reply | None = None  # the answer to every GET
        self.seen: list[Seen] = []
        self.url = ""

    @property
    def posts(self) -> list[Seen]:
        """The POSTs so far."""
        return [seen for seen in self.seen if seen.method == "POST"]

    def reply(self, seen: Seen) -> Reply:
        """The answer to one request."""
        self.seen.append(seen)
        path = urlsplit(seen.path).path
        if seen.method == "POST":
            if self.script:
                return self.script.popleft()
            if (self.dialect, path) == ("sdctl", "/imagine"):
                return imagine(seen.body)
            if (self.dialect, path) == ("openai", "/v1/images/generations"):
                return openai(seen.body)
        elif self.gets is not None:
            return self.gets
        elif self.dialect == "sdctl" and path == "/imagine":
            return error(400, "invalid", "prompt is missing", "prompt")
        elif self.dialect == "sdctl" and path == "/healthz":
            return json_reply(200, {"status": "ok"})
        elif path == "/v1/models":
            return json_reply(200, {"object": "list", "data": []})
        return json_reply(404, {"detail": "Not Found"})


@contextmanager
def http_service(dialect: str = "sdctl", certificate: tuple[Path, Path] | None = None) -> Iterator[HttpService]:
    """Our API or OpenAI's on a free port of loopback for the block; over TLS with a certificate and its key."""
    with served(HttpService(dialect), certificate) as fake:
        yield fake


@contextmanager
def served(fake: HttpService, certificate: tuple[Path, Path] | None = None) -> Iterator[HttpService]:
    """That service on a free port of loopback for the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = fake.reply(Seen(method, self.path, headers, json.loads(body) if body else None))
            if reply.hold is not None:
                reply.hold.wait(120)
            if reply.drop:
                self._reset()
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) - reply.cut])
            if reply.cut:
                self._reset()

        def _reset(self) -> None:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        def log_message(self, *args: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            return  # clients that hang up are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
