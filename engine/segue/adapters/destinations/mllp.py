"""Sends HL7 v2 messages by MLLP and reads what became of them.

A few connections, each with one unanswered message, as HL7 v2.5.1 ch. 2.9.2 asks for;
a lane always takes the same one, so that its order holds. An acknowledgement counts only
if its MSA-2 is the MSH-10 that waits: a late one is thrown away. AA (and CA) is delivery;
AE and AR are judged by ERR-3 (table 0357): 206 and 207 are tried again, the other codes
of the table are dead letters; AE without a known code is tried again, AR is not.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from segue.hl7v2.ack import Acknowledgement, read_ack
from segue.hl7v2.mllp import FrameError, Unframer, frame
from segue.model.deliveries import Outcome, Parcel, Receipt, Refused, RetryLater, Sent
from segue.model.instants import Clock, microseconds

RETRIED = frozenset({"206", "207"})
"""ERR-3: the record is locked; an internal error."""

FINAL = frozenset(
    {"100", "101", "102", "103", "104", "198", "199", "200", "201", "202", "203", "204", "205"}
)
"""ERR-3: the message will not get better by waiting."""


@dataclass(frozen=True, slots=True)
class MllpConfig:
    """A peer that takes messages.

    Attributes:
        connections: messages under way at once, each of another lane.
        timeout: to connect, and for each acknowledgement.
        bundle: messages handed over together; they are settled together.
        tls: for MLLP over TLS.
    """

    name: str
    host: str
    port: int
    connections: int = 8
    timeout: timedelta = timedelta(seconds=10)
    bundle: int = 64
    tls: ssl.SSLContext | None = None


class Mllp:
    """The destination kind `mllp`."""

    def __init__(self, config: MllpConfig, clock: Clock) -> None:
        """Take the configuration; nothing is opened before the first parcel."""
        self.config = config
        self._lines = [_Line(config, clock) for _ in range(config.connections)]

    @property
    def name(self) -> str:
        """As named under `destinations:`."""
        return self.config.name

    @property
    def bundle(self) -> int:
        """Messages per parcel."""
        return self.config.bundle

    @property
    def parallel(self) -> int:
        """Two parcels, so that connections stay busy while one is being settled."""
        return 2

    @property
    def atomic(self) -> bool:
        """Each message has its own answer."""
        return False

    async def send(self, parcel: Parcel) -> list[Outcome]:
        """Send each message; one that fails keeps the later ones of its lane back."""
        shares: dict[_Line, list[int]] = {}
        for place, queued in enumerate(parcel.deliveries):
            line = self._lines[queued.delivery.lane % len(self._lines)]
            shares.setdefault(line, []).append(place)
        outcomes: list[Outcome] = [_NOT_TRIED] * len(parcel.deliveries)
        await asyncio.gather(
            *(line.run(parcel, places, outcomes) for line, places in shares.items())
        )
        return outcomes

    async def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()


_NOT_TRIED = RetryLater("unreachable", "kept back behind one that was not sent", None, 0.0)


class _Line(asyncio.Protocol):
    """One connection and the messages that are to go over it."""

    def __init__(self, config: MllpConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._unframer = Unframer()
        self._free = asyncio.Lock()
        self._work: _Work | None = None

    async def run(self, parcel: Parcel, places: Sequence[int], outcomes: list[Outcome]) -> None:
        """Send the parcel's messages at these places, in order, and note their outcomes."""
        async with self._free:
            if self._transport is None:
                failure = await self._connect()
                if failure is not None:
                    outcomes[places[0]] = failure
                    return
            work = _Work(parcel, deque(places), outcomes)
            self._work = work
            self._next()
            self._watch(work)
            try:
                await work.done
            finally:
                work.watch.cancel()
                self._work = None

    def _watch(self, work: "_Work") -> None:
        """Give up when an answer is overdue; one timer for all messages of the work."""
        loop = asyncio.get_running_loop()
        limit = work.sent_at + self._config.timeout.total_seconds()
        if not work.done.done() and loop.time() >= limit:
            self._fail(RetryLater("timeout", "no acknowledgement in time"))
        else:
            work.watch = loop.call_at(limit, self._watch, work)

    async def _connect(self) -> RetryLater | None:
        loop = asyncio.get_running_loop()
        limit = self._config.timeout.total_seconds()
        self._unframer = Unframer()
        try:
            await asyncio.wait_for(
                loop.create_connection(
                    lambda: self, self._config.host, self._config.port, ssl=self._config.tls
                ),
                limit,
            )
        except (OSError, TimeoutError) as error:
            return RetryLater("unreachable", type(error).__name__)
        return None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The peer took the connection."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer closed it, or it broke."""
        del exc  # which of the two it was changes nothing
        self._transport = None
        self._fail(RetryLater("unreachable", "the connection was closed before the answer"))

    def data_received(self, data: bytes) -> None:
        """Answers, possibly several or parts of one."""
        for found in self._unframer.feed(data):
            work = self._work
            if work is None or work.done.done():
                continue
            if isinstance(found, FrameError):
                self._fail(RetryLater("protocol", "the answer is no MLLP frame"))
                return
            if b"\rMSA|AA|%b\r" % work.control_id.encode("latin-1") in found:
                work.note(Sent(Receipt(microseconds(self._clock()), "AA")))
                self._next()
                continue
            answer = read_ack(found)
            if not answer.code:
                self._fail(RetryLater("protocol", "the answer is no acknowledgement"))
                return
            if answer.control_id != work.control_id:
                continue
            work.note(verdict(answer, self._clock))
            self._next()

    def _next(self) -> None:
        """Send the next message whose lane has not failed."""
        work = self._work
        if work is None:
            return
        body = work.advance()
        if body is None:
            work.finish()
        elif self._transport is None:
            self._fail(RetryLater("unreachable", "the connection was closed"))
        else:
            work.sent_at = asyncio.get_running_loop().time()
            self._transport.write(frame(body))

    def _fail(self, outcome: RetryLater) -> None:
        """Give up this connection: what waits for its answer, and all behind it."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if self._work is not None:
            self._work.abandon(outcome)

    def close(self) -> None:
        """Close the connection after what is written."""
        if self._transport is not None:
            self._transport.close()


class _Work:
    """What one line has still to send of a parcel."""

    def __init__(self, parcel: Parcel, places: "deque[int]", outcomes: list[Outcome]) -> None:
        self._parcel = parcel
        self._places = places
        self._outcomes = outcomes
        self._failed: set[int] = set()
        self._place = -1
        self.watch: asyncio.TimerHandle
        self.control_id = ""
        self.sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def advance(self) -> bytes | None:
        """The next message to send, None if there is none."""
        while self._places:
            place = self._places.popleft()
            if self._parcel.deliveries[place].delivery.lane in self._failed:
                continue
            body = self._parcel.bodies[place]
            assert isinstance(body, bytes)
            self._place = place
            self.control_id = control_id(body)
            return body
        return None

    def note(self, outcome: Outcome) -> None:
        """The answer to what was sent last."""
        self._outcomes[self._place] = outcome
        if not isinstance(outcome, Sent):
            self._failed.add(self._parcel.deliveries[self._place].delivery.lane)

    def abandon(self, outcome: RetryLater) -> None:
        """The connection is of no more use."""
        if self.done.done():
            return
        self._outcomes[self._place] = outcome
        self._places.clear()
        self.finish()

    def finish(self) -> None:
        """All that could be sent has its outcome."""
        if not self.done.done():
            self.done.set_result(None)


def control_id(body: bytes) -> str:
    r"""MSH-10 of a message.

    >>> control_id(b"MSH|^~\\&|A|B|C|D|20260705||ADT^A01|HA1|P|2.5.1\rEVN|A01")
    'HA1'
    """
    start = max(body.find(b"MSH", 0, 1024), 0)
    header = body[start : start + 4096].splitlines()[0]
    fields = header.split(header[3:4] or b"|", 10)
    return fields[9].decode("latin-1") if len(fields) > 9 else ""


def verdict(answer: Acknowledgement, clock: Clock) -> Outcome:
    """What an acknowledgement means for a delivery; texts stay out, they may name patients."""
    if answer.code in ("AA", "CA"):
        return Sent(Receipt(microseconds(clock()), answer.code))
    codes = set(answer.error_codes)
    reason = " ".join([answer.code, *sorted(codes & (RETRIED | FINAL))])
    if codes & FINAL:
        return Refused("refused", reason)
    if codes & RETRIED or answer.code in ("AE", "CE"):
        return RetryLater("refused", reason)
    return Refused("refused", reason)
