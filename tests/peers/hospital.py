"""A hospital's interface: sends messages by MLLP until each is accepted.

An unanswered message is sent again after a time-out or a broken connection, in
order, as interface engines do. As a process:
`python -m tests.peers.hospital --port 2575 FILE...`.
"""

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

END = b"\x1c\r"
RETRIED_ERRORS = (b"206", b"207")


@dataclass(slots=True)
class Answer:
    """What became of one message.

    Attributes:
        code: MSA-1. seconds: from the last sending to the answer.
        attempts: how often it was sent. text: the whole acknowledgement.
    """

    control_id: str
    code: str
    seconds: float
    attempts: int
    text: bytes


@dataclass(slots=True)
class _Item:
    body: bytes
    control_id: bytes
    sent_at: float = 0.0
    attempts: int = 0


class _Line(asyncio.Protocol):
    """One connection with up to `window` unanswered messages, answered in order."""

    def __init__(self, hospital: "Hospital", queue: "deque[_Item]") -> None:
        self.hospital = hospital
        self.queue = queue
        self.flight: deque[_Item] = deque()
        self.buffer = b""
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.fill()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.queue.extendleft(reversed(self.flight))
        self.flight.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        *frames, self.buffer = (self.buffer + data).split(END)
        for frame in frames:
            self.answered(frame.lstrip(b"\x0b"))
        self.fill()

    def answered(self, ack: bytes) -> None:
        msa = ack.partition(b"\rMSA")[2]
        fields = msa[1:].partition(b"\r")[0].split(msa[:1] or b"|")
        code, control_id = fields[0], fields[1] if len(fields) > 1 else b""
        if not self.flight:
            return
        if control_id != self.flight[0].control_id and self.hospital.match_ids:
            self.hospital.mismatched += 1
            return
        item = self.flight.popleft()
        error = ack.partition(b"\rERR")[2].partition(b"\r")[0]
        if code in (b"AE", b"CE") and any(b"|" + e in error for e in RETRIED_ERRORS):
            self.queue.appendleft(item)
            return
        self.hospital.answers.append(
            Answer(
                item.control_id.decode("latin-1"),
                code.decode("latin-1"),
                time.perf_counter() - item.sent_at,
                item.attempts,
                ack,
            )
        )

    def fill(self) -> None:
        if self.transport is None:
            return
        frames = []
        now = time.perf_counter()
        while self.queue and len(self.flight) < self.hospital.window:
            item = self.queue.popleft()
            item.sent_at = now
            item.attempts += 1
            self.flight.append(item)
            frames.append(b"\x0b" + item.body + END)
        if frames:
            self.transport.write(b"".join(frames))
        elif not self.flight:
            self.transport.close()

    def overdue(self, limit: float) -> bool:
        return bool(self.flight) and time.perf_counter() - self.flight[0].sent_at > limit


@dataclass
class Hospital:
    """A sender with a number of connections.

    Messages of one `lane` (see `send`) go over one connection, in order.

    Attributes:
        window: unanswered messages per connection; 1 is what HL7 asks for.
        timeout: seconds without an answer before the connection is dropped and the
            message sent again. retry_pause: seconds before connecting again.
        give_up: seconds after which `send` ends although not all is answered.
        answers: of accepted and refused messages, in order of arrival.
    """

    port: int
    host: str = "127.0.0.1"
    connections: int = 1
    window: int = 1
    timeout: float = 10.0
    retry_pause: float = 0.2
    give_up: float = 300.0
    match_ids: bool = True
    answers: list[Answer] = field(default_factory=list)
    mismatched: int = 0
    reconnects: int = 0

    async def send(self, messages: Iterable[bytes], lanes: Sequence[int] | None = None) -> None:
        """Send all and come back when each has its answer (or at `give_up`)."""
        queues: list[deque[_Item]] = [deque() for _ in range(self.connections)]
        for number, body in enumerate(messages):
            lane = lanes[number] if lanes else number
            fields = body.split(body[3:4], 10)
            control_id = fields[9].partition(b"\r")[0] if len(fields) > 9 else b""
            queues[lane % self.connections].append(_Item(body, control_id))
        lines = [self._line(queue) for queue in queues if queue]
        await asyncio.wait_for(asyncio.gather(*lines), self.give_up)

    async def _line(self, queue: "deque[_Item]") -> None:
        loop = asyncio.get_running_loop()
        first = True
        while queue:
            if not first:
                self.reconnects += 1
                await asyncio.sleep(self.retry_pause)
            first = False
            try:
                _, line = await asyncio.wait_for(
                    loop.create_connection(lambda: _Line(self, queue), self.host, self.port),
                    self.timeout,
                )
            except (OSError, TimeoutError):
                continue
            while not line.closed.done():
                await asyncio.wait([line.closed], timeout=min(1.0, self.timeout / 4))
                if line.overdue(self.timeout) and line.transport:
                    line.transport.abort()

    @property
    def accepted(self) -> list[str]:
        """Control ids that got AA or CA."""
        return [a.control_id for a in self.answers if a.code in ("AA", "CA")]


async def _main(arguments: argparse.Namespace) -> None:
    messages = [
        b"MSH" + part.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
        for file in arguments.files
        for part in Path(file).read_bytes().split(b"MSH")[1:]
    ]
    hospital = Hospital(
        arguments.port, arguments.host, arguments.connections, timeout=arguments.timeout
    )
    await hospital.send(messages)
    for answer in hospital.answers:
        print(json.dumps({"control_id": answer.control_id, "ack": answer.code}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("files", nargs="+")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
