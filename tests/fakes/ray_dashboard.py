"""A Ray with Serve as one sees it through its two ports: dashboard API and the service itself, without any Ray."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.http_service import Reply, imagine, json_reply, openai

APPLICATIONS = "/api/serve/applications/"
NODE_ID = "ab" * 28
DEPLOYMENT_STATUS = {"RUNNING": "HEALTHY", "DEPLOY_FAILED": "DEPLOY_FAILED"}
NUMBERS = {"seed", "width", "height", "img_size", "num_inference_steps"}


def always_running() -> tuple[str, str]:
    """Applications that run at once."""
    return "RUNNING", ""


class FakeRay:
    """Listens on free ports of 127.0.0.1 until `close`. `state` gives what its applications are: (status, message)."""

    def __init__(self, state: Callable[[], tuple[str, str]] = always_running, *, token: str = "") -> None:
        self.state = state
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        self.token = token
        self.config: dict[str, Any] = {}  # as it was put last
        self.images = 0  # that were made
        self.replicas: dict[str, int] = {}  # deployment → how many run; 1 where it is not named
        self._servers = [_serve(self.dashboard), _serve(self.service)]
        self.ports: Mapping[int, int] = dict(zip((8265, 8000), (s.server_port for s in self._servers), strict=True))

    def close(self) -> None:
        """End both servers."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def dashboard(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The answer of Ray's dashboard."""
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self.token and given != self.token and path not in ("/api/gcs_healthz", "/api/authentication_mode"):
            return Reply(403 if given else 401, b"Unauthorized")
        known: dict[str, Any] = {
            "/": "<html>Ray Dashboard</html>",
            "/api/version": {"version": "4", "ray_version": "2.60.0", "ray_commit": "fake", "session_name": "fake"},
            "/api/gcs_healthz": "success",
            "/api/authentication_mode": {"authentication_mode": "token" if self.token else "disabled"},
            "/api/v0/nodes": _listed(
                [{"node_id": NODE_ID, "state": "ALIVE", "is_head_node": True, "node_ip": "10.244.0.2"}]
            ),
            "/api/v0/logs": {"result": True, "data": {"result": {"serve": []}}},
        }
        if path == APPLICATIONS:
            if method == "PUT":
                self.config = json.loads(body)
                return json_reply(200, {})
            return json_reply(200, self.document())
        document = known.get(path.partition("?")[0])
        if isinstance(document, str):
            return Reply(200, document.encode(), {"Content-Type": "text/plain"})
        return json_reply(200, document) if document else Reply(404, b"404: Not Found")

    def service(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The answer of Serve's HTTP proxy and of the application behind it."""
        place, query = urlsplit(path).path, dict(parse_qsl(urlsplit(path).query))
        running = bool(self.config) and self.state()[0] == "RUNNING"
        if place == "/-/healthz":
            return Reply(200, b"success", {"Content-Type": "text/plain"})
        if place == "/-/routes":
            return json_reply(200, {item["route_prefix"]: item["name"] for item in self.config.get("applications", [])})
        if not running:
            return Reply(404, b"Path not found; no applications are running", {"Content-Type": "text/plain"})
        if place == "/healthz":
            return json_reply(200, {"status": "ok"})
        if place == "/v1/models":
            return json_reply(200, {"object": "list", "data": [{"id": "fake:bars", "object": "model"}]})
        if place in ("/imagine", "/v1/images/generations"):
            self.images += 1
            typed = {key: int(value) if key in NUMBERS else value for key, value in query.items()}
            request = json.loads(body) if body else typed
            return imagine(request) if place == "/imagine" else openai(request)
        return json_reply(
            404, {"error": {"message": "No such route", "type": "error", "param": None, "code": "not_found"}}
        )

    def document(self) -> dict[str, Any]:
        """What `GET /api/serve/applications/` tells."""
        status, message = self.state()
        applications = {
            item["name"]: {
                "name": item["name"],
                "route_prefix": item.get("route_prefix", "/"),
                "docs_path": None,
                "status": status,
                "message": message,
                "last_deployed_time_s": time.time(),
                "deployed_app_config": item,
                "source": "declarative",
                "deployments": {
                    entry["name"]: self._deployment(entry, status, message) for entry in item.get("deployments", [])
                },
            }
            for item in self.config.get("applications", [])
        }
        options = {"host": "0.0.0.0", "port": 8000} | self.config.get("http_options", {})
        place = self.config.get("proxy_location", "EveryNode")
        return {
            "controller_info": {"actor_id": "ef" * 16},
            "proxy_location": place,
            "http_options": options,
            "proxies": {},
            "applications": applications,
        }

    def _deployment(self, config: dict[str, Any], status: str, message: str) -> dict[str, Any]:
        name = config["name"]
        count = self.replicas.get(name, 1)
        state = "RUNNING" if status == "RUNNING" else "STARTING"
        replica = {"state": state, "node_id": NODE_ID, "node_ip": "10.244.0.2", "pid": 1, "actor_id": "cd" * 16}
        named = [
            replica | {"replica_id": f"{name.lower()}{number}", "start_time_s": time.time()} for number in range(count)
        ]
        return {
            "name": name,
            "status": DEPLOYMENT_STATUS.get(status, "UPDATING"),
            "status_trigger": "CONFIG_UPDATE_STARTED",
            "message": message,
            "deployment_config": config,
            "target_num_replicas": count,
            "required_resources": config.get("ray_actor_options", {}),
            "replicas": named,
        }


def _listed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A table as Ray's state API answers with one."""
    return {"result": True, "msg": "", "data": {"result": {"total": len(rows), "result": rows}}}


def _serve(answer: Callable[[str, str, Mapping[str, str], bytes], Reply]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_DELETE(self) -> None:
            self._answer("DELETE")

        def _answer(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = answer(method, self.path, headers, body)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            return  # clients that hang up are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
