"""The kubelet's HTTPS server: port-forwards as WebSockets to ports of this machine, and container logs."""

import asyncio
import contextlib
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import WSMsgType, web

from tests.cluster.control_plane import ControlPlane

PROTOCOL = "v4.channel.k8s.io"
CHUNK = 32 * 1024
POLL_S = 0.05
GOODBYE_S = 0.05  # how long a TLS connection may take to end


@dataclass
class Fault:
    """How forwards break, until the test takes it away again (or for the next `times` connections)."""

    refuse: bool = False  # as when nothing listens on the pod's port
    cut_after: int | None = None  # bytes towards the client, then the connection breaks off
    delay_s: float = 0.0  # before each piece of data towards the client
    times: int | None = None


@dataclass
class Kubelet:
    """What all nodes of the test share: one server. Tests fill `ports` and `logs` and set `fault`."""

    ports: dict[tuple[str, int], int] = field(default_factory=dict)  # (pod, its port) → port of 127.0.0.1
    logs: dict[tuple[str, str], list[tuple[datetime, str]]] = field(default_factory=lambda: defaultdict(list))
    previous: dict[tuple[str, str], list[tuple[datetime, str]]] = field(default_factory=lambda: defaultdict(list))
    fault: Fault | None = None
    port: int = 0
    forwards: int = 0  # that clients have opened so far
    _ended: set[str] = field(default_factory=set)
    _open: dict[int, tuple[str, web.Request]] = field(default_factory=dict)  # by id: requests have no hash
    _loop: asyncio.AbstractEventLoop | None = None

    def log(self, pod: str, container: str, *lines: str, ago_s: float = 0.0) -> None:
        """Let a container have written these lines."""
        when = datetime.now(UTC) - timedelta(seconds=ago_s)
        self.logs[pod, container] += [(when, line) for line in lines]

    def cut(self, pod: str = "") -> None:
        """Break off every forward that is open, or those to one pod, without a goodbye."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut, pod)

    def end(self, pod: str) -> None:
        """The pod is gone: its forwards break off, its logs end."""
        self._ended.add(pod)
        self.cut(pod)

    def _cut(self, pod: str) -> None:
        for name, request in [*self._open.values()]:
            if pod in ("", name):
                abort(request)

    @contextlib.asynccontextmanager
    async def serving(self, control_plane: ControlPlane) -> AsyncIterator[None]:
        """Serve on a free port for the length of the block."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(control_plane.certificate, control_plane.key)
        application = web.Application()
        application.router.add_get("/portForward/{namespace}/{pod}", self._forward)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        assert runner.server is not None
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(
            runner.server, "127.0.0.1", 0, ssl=context, ssl_shutdown_timeout=GOODBYE_S
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            self._loop = None
            server.close()
            for connection in runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()
            await asyncio.sleep(2 * GOODBYE_S)  # by then the loop has closed every socket

    async def _forward(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=0, compress=False)
        await socket.prepare(request)
        self.forwards += 1
        pod = request.match_info["pod"]
        self._open[id(request)] = pod, request
        try:
            await self._serve_forward(request, socket, pod)
        except* (ConnectionError, asyncio.IncompleteReadError):
            abort(request)
        finally:
            self._open.pop(id(request), None)
        return socket

    async def _serve_forward(self, request: web.Request, socket: web.WebSocketResponse, pod: str) -> None:
        ports = [int(port) for port in request.query.getall("port")]
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        fault = self._next_fault()
        writers: dict[int, asyncio.StreamWriter] = {}
        async with asyncio.TaskGroup() as tasks:
            for index, port in enumerate(ports):
                try:
                    reader, writer = await self._connect(pod, port, fault)
                except OSError:
                    note = f"error forwarding port {port} to pod {pod}: connect: connection refused"
                    await socket.send_bytes(bytes([2 * index + 1]) + note.encode())
                    continue
                writers[2 * index] = writer
                tasks.create_task(towards_client(request, socket, 2 * index, reader, fault))
            if not writers:
                await socket.close()
            await towards_pod(socket, writers)

    async def _connect(self, pod: str, port: int, fault: Fault) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        local = self.ports.get((pod, port))
        if fault.refuse or local is None:
            raise ConnectionRefusedError(port)
        return await asyncio.open_connection("127.0.0.1", local)

    def _next_fault(self) -> Fault:
        fault = self.fault
        if fault is None:
            return Fault()
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.fault = None
        return fault

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        key = (request.match_info["pod"], request.match_info["container"])
        lines = (self.previous if request.query.get("previous") == "true" else self.logs)[key]
        at = len(lines)
        for when, line in chosen(lines[:at], request.query.get("tailLines"), since(request)):
            await answer.write(written(when, line, request))
        follow = request.query.get("follow") == "true"
        while follow and self._loop is not None and (key[0] not in self._ended or at < len(lines)):
            for when, line in lines[at:]:
                await answer.write(written(when, line, request))
                at += 1
            await asyncio.sleep(POLL_S)
        await answer.write_eof()
        return answer


async def towards_client(
    request: web.Request, socket: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader, fault: Fault
) -> None:
    """Send what the pod says, until it ends (then the forward closes) or the fault cuts it."""
    sent = 0
    while data := await reader.read(CHUNK):
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.cut_after is not None and sent + len(data) > fault.cut_after:
            await socket.send_bytes(bytes([channel]) + data[: fault.cut_after - sent])
            abort(request)
            return
        await socket.send_bytes(bytes([channel]) + data)
        sent += len(data)
    await socket.close()


async def towards_pod(socket: web.WebSocketResponse, writers: dict[int, asyncio.StreamWriter]) -> None:
    """Hand on what the client says, at the pod's pace, until the client ends."""
    try:
        async for message in socket:
            writer = writers.get(message.data[0]) if message.type is WSMsgType.BINARY else None
            if writer is not None and len(message.data) > 1:
                writer.write(message.data[1:])
                await writer.drain()
    finally:
        for writer in writers.values():
            writer.close()


def abort(request: web.Request) -> None:
    """Break a connection off."""
    if request.transport is not None:
        request.transport.abort()


def since(request: web.Request) -> datetime:
    """The time from which on log lines are wanted."""
    seconds, moment = request.query.get("sinceSeconds"), request.query.get("sinceTime")
    if seconds:
        return datetime.now(UTC) - timedelta(seconds=float(seconds))
    return datetime.fromisoformat(moment) if moment else datetime.min.replace(tzinfo=UTC)


def chosen(lines: list[tuple[datetime, str]], tail: str | None, start: datetime) -> list[tuple[datetime, str]]:
    """The lines from `start` on, at most the last `tail`."""
    recent = [line for line in lines if line[0] >= start]
    return recent if tail is None else recent[max(0, len(recent) - int(tail)) :]


def written(when: datetime, line: str, request: web.Request) -> bytes:
    """A line as it goes out, with its time where that is asked for."""
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if request.query.get("timestamps") == "true" else ""
    return f"{stamp}{line}\n".encode()
