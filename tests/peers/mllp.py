"""An MLLP sink: takes messages, answers AA, remembers what it got.

As a process: `python -m tests.peers.mllp --port 2601 --control 9201`; the control
port answers `GET /-/stats`, `GET /-/received`, `POST /-/faults`, `POST /-/clear`.
"""

import argparse
import asyncio
import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.peers.faults import Fault, Faults
from tests.peers.web import Request, Response, WebServer, json_response, run, shut, told_to_stop

END = b"\x1c\r"


@dataclass(slots=True)
class Received:
    """One message as it came, with its MSH-10 and the time (monotonic seconds)."""

    control_id: str
    body: bytes
    at: float
    connection: int


class _Connection(asyncio.Protocol):
    def __init__(self, sink: "MllpSink") -> None:
        self.sink = sink
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.sink.connections.add(self)
        self.sink.opened += 1
        self.number = self.sink.opened

    def connection_lost(self, exc: Exception | None) -> None:
        self.sink.connections.discard(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        *frames, self.buffer = (self.buffer + data).split(END)
        if not frames:
            return
        answers = [self.sink.take(frame[1:], self) for frame in frames]
        if self.transport is not None:
            self.transport.write(b"".join(answers))

    def write_later(self, seconds: float, answer: bytes) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, lambda: self.transport and self.transport.write(answer))


@dataclass
class MllpSink:
    """The sink. With `keep` False it only counts, which is faster.

    Attributes:
        received: every message in order of arrival, repeats among them.
        seen: MSH-10 to how often it came.
        turned_away: how many got another answer than AA, or none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    keep: bool = True
    received: list[Received] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    count: int = 0
    turned_away: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    opened: int = 0
    faults: Faults = field(default_factory=Faults)
    connections: set[_Connection] = field(default_factory=set)
    server: asyncio.Server | None = None

    async def start(self) -> "MllpSink":
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: _Connection(self), self.host, self.port, reuse_address=True
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self.server:
            await shut(self.server, self.connections)
            self.server = None

    def take(self, body: bytes, connection: _Connection) -> bytes:
        """Record a message and make its answer (framed)."""
        fields = body.split(b"|", 10)
        control_id = fields[9] if len(fields) > 9 else b""
        fault = self.faults.take(body) if self.faults.planned else None
        if fault is not None and not fault.after:
            self.turned_away += 1
        else:
            self._record(control_id.decode("latin-1"), body, connection)
        if fault is None:
            return _answer(b"AA", control_id)
        return self._misbehave(fault, control_id, connection)

    def _record(self, control_id: str, body: bytes, connection: _Connection) -> None:
        self.last_at = time.monotonic()
        self.first_at = self.first_at or self.last_at
        self.count += 1
        self.seen[control_id] = self.seen.get(control_id, 0) + 1
        if self.keep:
            self.received.append(Received(control_id, body, self.last_at, connection.number))

    def _misbehave(self, fault: Fault, control_id: bytes, connection: _Connection) -> bytes:
        match fault.kind:
            case "ack":
                return _answer(fault.code.encode(), control_id, fault.error.encode())
            case "wrong-id":
                return _answer(b"AA", b"not-" + control_id)
            case "junk":
                return b"\x0bnot HL7 at all" + END
            case "late" | "delay":
                connection.write_later(fault.seconds, _answer(b"AA", control_id))
            case "hang-up":
                if connection.transport:
                    connection.transport.abort()
            case _:
                pass
        return b""

    def control(self, request: Request) -> Response:
        """The control port."""
        match request.method, request.path:
            case "GET", "/-/stats":
                return json_response(self.stats())
            case "GET", "/-/received":
                items = [{"control_id": r.control_id, "text": r.body.decode("utf-8", "replace")}
                         for r in self.received]  # fmt: skip
                return json_response(items)
            case "POST", "/-/faults":
                value = json.loads(request.body)
                value["match"] = value.get("match", "").encode()
                self.faults.add(Fault(**value))
                return json_response({"planned": len(self.faults.planned)})
            case "POST", "/-/clear":
                self.faults.clear()
                self.received.clear()
                self.seen.clear()
                self.count = self.turned_away = 0
                self.first_at = self.last_at = 0.0
                return json_response({})
        return json_response({"error": "no such place"}, 404)

    def stats(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "distinct": len(self.seen),
            "turned_away": self.turned_away,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "cpu_seconds": time.process_time(),
            "faults": [asdict(f) | {"match": f.match.decode()} for f in self.faults.planned],
        }


def _answer(code: bytes, control_id: bytes, error: bytes = b"") -> bytes:
    err = b"ERR|||%b|E\r" % error if error else b""
    return b"\x0bMSH|^~\\&|SINK|SINK|||20260101000000||ACK|A%b|P|2.5.1\rMSA|%b|%b\r%b\x1c\r" % (
        control_id,
        code,
        control_id,
        err,
    )


async def _main(arguments: argparse.Namespace) -> None:
    sink = await MllpSink(arguments.host, arguments.port, keep=not arguments.count_only).start()
    control = await WebServer(sink.control, arguments.host, arguments.control).start()
    print(json.dumps({"port": sink.port, "control": control.port}), flush=True)
    await told_to_stop()
    await sink.stop()
    await control.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control", type=int, default=0)
    parser.add_argument("--count-only", action="store_true")
    arguments = parser.parse_args()
    run(lambda: _main(arguments))


if __name__ == "__main__":
    main()
