"""A small HTTP/1.1 server for peers: raw protocol and httptools, nothing between."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import httptools

REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 412: "Precondition"}


@dataclass(slots=True)
class Request:
    """A whole request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(slots=True)
class Response:
    """What to answer; `hang_up` closes without an answer, `delay` waits first (seconds)."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    hang_up: bool = False
    silent: bool = False


Handler = Callable[[Request], Response]


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode())


class HttpProtocol(asyncio.Protocol):
    """One connection; requests are answered in order."""

    def __init__(self, handler: Handler, connections: "set[HttpProtocol]") -> None:
        self.handler = handler
        self.connections = connections
        self.transport: asyncio.Transport | None = None
        self.tail: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.connections.add(self)
        self.parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if self.transport:
                self.transport.close()

    def on_message_begin(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        if name.lower() == b"expect" and self.transport:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        request = Request(
            self.parser.get_method().decode(),
            self.target.decode(),
            self.headers,
            b"".join(self.body),
        )
        keep = self.parser.should_keep_alive()
        response = self.handler(request)
        if response.delay or (self.tail and not self.tail.done()):
            self.tail = asyncio.ensure_future(self.later(response, keep, self.tail))
        else:
            self.write(response, keep)

    async def later(
        self, response: Response, keep: bool, before: "asyncio.Task[None] | None"
    ) -> None:
        if before:
            await before
        await asyncio.sleep(response.delay)
        self.write(response, keep)

    def write(self, response: Response, keep: bool) -> None:
        if self.transport is None or response.silent:
            return
        if response.hang_up:
            self.transport.abort()
            return
        lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}"]
        headers = {"content-type": "application/fhir+json"} | response.headers
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append(f"content-length: {len(response.body)}\r\n\r\n")
        self.transport.write("\r\n".join(lines).encode() + response.body)
        if not keep:
            self.transport.close()


@dataclass
class WebServer:
    """A listening server; `port` 0 takes a free one."""

    handler: Handler
    host: str = "127.0.0.1"
    port: int = 0
    server: asyncio.Server | None = None
    connections: set[HttpProtocol] = field(default_factory=set)

    async def start(self) -> "WebServer":
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: HttpProtocol(self.handler, self.connections),
            self.host,
            self.port,
            reuse_address=True,
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self.server:
            await shut(self.server, self.connections)
            self.server = None


class _Connected(Protocol):
    transport: asyncio.Transport | None


async def shut(server: asyncio.Server, connections: Iterable[_Connected]) -> None:
    """Listen no more, and cut off who is connected."""
    server.close()
    for connection in list(connections):
        if connection.transport:
            connection.transport.abort()
    await server.wait_closed()


async def told_to_stop() -> None:
    """Wait until the process is asked to end."""
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    await done.wait()


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a peer as a process of its own, on uvloop where it is there."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())  # type: ignore[arg-type]
    else:
        uvloop.run(main())  # type: ignore[arg-type]
