"""Listens for HL7 v2 by MLLP; each frame is answered after it is durable, in order.

One protocol object per connection, no task and no stream: about 11 µs of CPU for a
frame. Back-pressure is to stop reading: a connection with too many unanswered frames,
or all connections while too many are unanswered in total, are paused.

Source: HL7 v2.5.1 appendix C, Minimal Lower Layer Protocol; docs/operations.md.
"""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, cast

import structlog

from segue.adapters.tls import TlsConfig, listener_context
from segue.hl7v2.ack import batch_ack
from segue.hl7v2.batch import Batch, split, split_cut
from segue.hl7v2.mllp import FrameError, Unframer, frame
from segue.hl7v2.peek import peek
from segue.model.instants import Clock, microseconds
from segue.model.messages import RawMessage
from segue.pipeline.ports import Intake

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MllpListenerConfig:
    """A listener for one feed.

    Attributes:
        allow: networks whose peers may connect; empty allows all.
        idle_timeout: silence after which a connection is closed; frame_timeout: the
            same within a frame.
        max_frame_bytes: a longer frame is answered AR.
        max_connections: more are closed at once.
        unanswered_per_connection, unanswered_in_total: frames before reading pauses.
        drain_timeout: how long `stop` waits for answers.
    """

    feed: str
    host: str
    port: int
    allow: tuple[str, ...] = ()
    tls: TlsConfig | None = None
    idle_timeout: timedelta = timedelta(minutes=10)
    frame_timeout: timedelta = timedelta(seconds=30)
    max_frame_bytes: int = 16 * 1_048_576
    max_connections: int = 500
    unanswered_per_connection: int = 64
    unanswered_in_total: int = 4000
    drain_timeout: timedelta = timedelta(seconds=10)


class MllpListener:
    """The source kind `mllp`."""

    def __init__(self, config: MllpListenerConfig, intake: Intake, clock: Clock) -> None:
        """Take the parts; nothing listens before `start`.

        Raises:
            ValueError: `allow` holds what is no network.
        """
        self.config = config
        self._intake = intake
        self._clock = clock
        self._allow = [ipaddress.ip_network(network, strict=False) for network in config.allow]
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = config.port

    @property
    def feed(self) -> str:
        """Name of the feed."""
        return self.config.feed

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is taken, or the certificates cannot be read.
        """
        self._loop = asyncio.get_running_loop()
        tls = listener_context(self.config.tls, self._refused) if self.config.tls else None
        self._server = await self._loop.create_server(
            lambda: _Connection(self), self.config.host, self.config.port, ssl=tls, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweeper = asyncio.create_task(self._sweep())
        log.info("feed.listening", feed=self.feed, host=self.config.host, port=self.port)

    async def stop(self) -> None:
        """Read no more, answer what was read, close."""
        if self._server is None:
            return
        self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in self._connections:
            connection.pause()
        limit = asyncio.get_running_loop().time() + self.config.drain_timeout.total_seconds()
        while any(c.unanswered for c in self._connections):
            if asyncio.get_running_loop().time() > limit:
                log.warning("feed.drained-in-part", feed=self.feed)
                break
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.close()
        self._server = None
        log.info("feed.stopped", feed=self.feed)

    @property
    def stopping(self) -> bool:
        """Whether it closes its connections itself: their senders are not the ones to blame."""
        return self._server is None

    def _refused(self, reason: str) -> None:
        log.warning("connection.refused", feed=self.feed, reason=reason)

    def answered(self, answers: Sequence[tuple[Any, bytes | None]]) -> None:
        """Take acknowledgements from the writer's thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._write, answers)
        except RuntimeError:  # the loop is closed: nobody is there to be answered
            log.warning("answers.dropped", feed=self.feed, count=len(answers))

    def _write(self, answers: "Sequence[tuple[_Ticket, bytes | None]]") -> None:
        frames: dict[_Connection, list[bytes]] = {}
        failed: set[_Connection] = set()
        touched: set[_Connection] = set()
        for ticket, answer in answers:
            connection, ack = ticket, answer
            if isinstance(ticket, _BatchTicket):
                connection, ack = ticket.connection, ticket.complete(answer, self._clock)
            assert isinstance(connection, _Connection)
            touched.add(connection)
            connection.unanswered -= 1
            if ack is None:
                failed.add(connection)
            elif ack and connection not in failed:
                frames.setdefault(connection, []).append(frame(ack))
        for connection, acks in frames.items():
            connection.write(acks)
        for connection in failed:
            # Not durable: no answer may leave, and later ones would be out of order.
            connection.close()
        for connection in touched:
            connection.maybe_resume()
            connection.close_if_over()
        if self._crowded and self._intake.waiting < self.config.unanswered_in_total // 2:
            self._crowded = False
            for connection in self._connections:
                connection.maybe_resume()

    _crowded = False

    def _submit(self, connection: "_Connection", found: "bytes | FrameError") -> None:
        """Hand a frame over; a batch is answered by one frame with a batch of answers."""
        received = microseconds(self._clock())
        if isinstance(found, FrameError):
            if found.code != "oversize":
                # Cut off or outside any frame: its sender waits for no answer.
                header = found.head.partition(b"\r")
                log.warning(
                    "frame.dropped" if found.code == "unframed" else "frame.cut-off",
                    feed=self.feed,
                    reason=found.code,
                    text=found.text,
                    control_id=peek(header[0]).control_id if header[1] else "",
                )
                if found.code == "truncated":
                    for body in split_cut(found.head):
                        self._intake.quarantine(RawMessage(body, self.feed, received), "truncated")
                return
            connection.unanswered += 1
            raw = RawMessage(found.head, self.feed, received)
            self._intake.reject(raw, "oversize", found.text, self, connection)
        else:
            batch = split(found)
            bodies = batch.messages or [found]
            ticket: _Ticket = connection
            if batch.enclosed:
                ticket = _BatchTicket(connection, batch, len(bodies))
            for issue in batch.issues:
                log.warning("batch.doubtful", feed=self.feed, code=issue.code, where=issue.where)
            for body in bodies:
                connection.unanswered += 1
                self._intake.submit(RawMessage(body, self.feed, received), self, ticket)
        if self._intake.waiting >= self.config.unanswered_in_total:
            self._crowded = True

    def _admit(self, connection: "_Connection", peer: str) -> bool:
        if len(self._connections) >= self.config.max_connections:
            log.warning("connection.refused", feed=self.feed, reason="too many connections")
            return False
        if self._allow:
            address = ipaddress.ip_address(peer.partition("%")[0])
            mapped = getattr(address, "ipv4_mapped", None) or address
            if not any(mapped in network for network in self._allow):
                log.warning("connection.refused", feed=self.feed, reason="not in allow", peer=peer)
                return False
        self._connections.add(connection)
        return True

    async def _sweep(self) -> None:
        """Close connections that were silent for too long."""
        limit = self.config.idle_timeout.total_seconds()
        stall = self.config.frame_timeout.total_seconds()
        assert self._loop is not None
        while True:
            await asyncio.sleep(min(limit / 4, stall / 4, 15.0))
            now = self._loop.time()
            for connection in list(self._connections):
                silent = now - connection.heard_at
                if not connection.unanswered and (
                    silent > limit or (connection.inside and silent > stall)
                ):
                    log.info("connection.idle", feed=self.feed, inside=connection.inside)
                    connection.close(at_once=connection.clogged)


class _Connection(asyncio.Protocol):
    """One peer: frames in, acknowledgements out in the same order."""

    def __init__(self, listener: MllpListener) -> None:
        self._listener = listener
        self._config = listener.config
        self._unframer = Unframer(listener.config.max_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._ended = False
        self.clogged = False
        self.unanswered = 0
        self.heard_at = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if not self._listener._admit(self, peer[0] if peer else "::"):  # noqa: SLF001
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # its sender sends again what was not answered, however it ended
        if not self._listener.stopping:
            for cut in self._unframer.close():
                self._listener._submit(self, cut)  # noqa: SLF001
        self._listener._connections.discard(self)  # noqa: SLF001
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        for found in self._unframer.feed(data):
            self._listener._submit(self, found)  # noqa: SLF001
        if (
            self.unanswered >= self._config.unanswered_per_connection or self._listener._crowded  # noqa: SLF001
        ):
            self.pause()

    def eof_received(self) -> bool:
        """The peer sends no more; it may still read what it is answered (not over TLS)."""
        self._ended = True
        assert self._transport is not None
        return bool(self.unanswered) and self._transport.get_extra_info("sslcontext") is None

    def close_if_over(self) -> None:
        if self._ended and not self.unanswered:
            self.close()

    def pause_writing(self) -> None:
        """The peer reads no answers: it is not listened to, either."""
        self.clogged = True
        self.pause()

    def resume_writing(self) -> None:
        self.clogged = False
        self.maybe_resume()

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._unframer.inside

    def write(self, frames: list[bytes]) -> None:
        if self._transport is not None:
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def maybe_resume(self) -> None:
        if (
            self._paused
            and not self.clogged
            and self._listener._server is not None  # noqa: SLF001
            and not self._listener._crowded  # noqa: SLF001
            and self.unanswered <= self._config.unanswered_per_connection // 2
            and self._transport is not None
            and not self._transport.is_closing()
        ):
            self._paused = False
            self._transport.resume_reading()

    def close(self, *, at_once: bool = False) -> None:
        if self._transport is not None:
            (self._transport.abort if at_once else self._transport.close)()


class _BatchTicket:
    """The answers of a batch, until all of them are there."""

    def __init__(self, connection: _Connection, batch: Batch, count: int) -> None:
        self.connection = connection
        self._batch = batch
        self._missing = count
        self._acks: list[bytes] = []
        self._failed = False

    def complete(self, ack: bytes | None, clock: Clock) -> bytes | None:
        """Take one more; the whole answer if it was the last, b"" before, None on failure."""
        self._missing -= 1
        self._failed |= ack is None
        self._acks.append(ack or b"")
        if self._failed:
            return None
        now = clock().strftime("%Y%m%d%H%M%S+0000")
        return b"" if self._missing else batch_ack(self._batch, self._acks, now=now)


_Ticket: TypeAlias = "_Connection | _BatchTicket"
