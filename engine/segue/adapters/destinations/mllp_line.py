"""One connection to an MLLP peer, the message that waits for its answer, and its verdict.

An acknowledgement counts only if its MSA-2 is the MSH-10 that waits: a late one, one of
another message and the second one of the same are thrown away. AA is delivery; so is CA,
unless MSH-16 asked for the application acknowledgement, which is then waited for, here or
over the feed by which the peer sends it. AE and AR are judged by ERR-3 (table 0357): 206
and 207 are tried again, the other codes of the table are dead letters; AE without a known
code is tried again, AR is not.

Source: HL7 v2.5.1 sections 2.9.2 and 2.9.3.
"""

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, cast

from segue.adapters.tls import described
from segue.hl7v2.ack import Acknowledgement, ack, conditions, read_ack, wants
from segue.hl7v2.asking import Asking, asking
from segue.hl7v2.mllp import FrameError, Unframer, frame
from segue.hl7v2.peek import peek
from segue.model.deliveries import Outcome, Parcel, Receipt, Refused, RetryLater, Sent
from segue.model.instants import Clock, microseconds
from segue.pipeline.returns import Returns

RETRIED = frozenset({"206", "207"})
"""ERR-3: the record is locked; an internal error."""

FINAL = frozenset(
    {
        "100",
        "101",
        "102",
        "103",
        "104",
        "105",
        "198",
        "199",
        "200",
        "201",
        "202",
        "203",
        "204",
        "205",
    }
)
"""ERR-3: the message will not get better by waiting."""

NOT_TRIED: Final = RetryLater("unreachable", "kept back behind one that was not sent", None, 0.0)


@dataclass(frozen=True, slots=True)
class MllpConfig:
    """A peer that takes messages.

    Attributes:
        connections: messages under way at once, each of another lane.
        timeout: to connect, and for each acknowledgement.
        bundle: messages handed over together; they are settled together.
        tls: for MLLP over TLS.
        asks: what messages ask to be answered with: see `segue.hl7v2.asking`.
        idle: a connection that was silent for so long is not trusted, but made anew.
        max_answer_bytes: a longer acknowledgement is none.
    """

    name: str
    host: str
    port: int
    connections: int = 8
    timeout: timedelta = timedelta(seconds=10)
    bundle: int = 64
    tls: ssl.SSLContext | None = None
    asks: str = "as-sent"
    idle: timedelta = timedelta(minutes=5)
    max_answer_bytes: int = 1_048_576


class Line:
    """What is to go over one connection, which is made anew where it is lost."""

    def __init__(self, config: MllpConfig, clock: Clock, returns: Returns | None) -> None:
        """Take the parts; nothing is opened before the first message."""
        self._config = config
        self._clock = clock
        self._returns = returns
        self._connection: _Connection | None = None
        self._free = asyncio.Lock()
        self._work: _Work | None = None
        self._used_at = 0.0

    async def run(self, parcel: Parcel, places: Sequence[int], outcomes: list[Outcome]) -> None:
        """Send the parcel's messages at these places, in order, and note their outcomes."""
        loop = asyncio.get_running_loop()
        async with self._free:
            if loop.time() - self._used_at > self._config.idle.total_seconds():
                self._abort()
            if self._connection is None:
                failure = await self._connect()
                if failure is not None:
                    outcomes[places[0]] = failure
                    return
            work = _Work(parcel, deque(places), outcomes, self._config.asks)
            self._work = work
            self._next()
            self._watch(work)
            try:
                await work.done
            finally:
                work.watch.cancel()
                self._expect_no_more(work)
                self._work = None
                self._used_at = loop.time()

    def _watch(self, work: "_Work") -> None:
        """Give up when an answer is overdue; one timer for all messages of the work."""
        loop = asyncio.get_running_loop()
        limit = work.sent_at + self._config.timeout.total_seconds()
        if not work.done.done() and loop.time() >= limit:
            kind = "application acknowledgement" if work.committed else "acknowledgement"
            self._fail(RetryLater("timeout", f"no {kind} in time"))
        else:
            work.watch = loop.call_at(limit, self._watch, work)

    async def _connect(self) -> RetryLater | None:
        loop = asyncio.get_running_loop()
        config = self._config
        try:
            _, connection = await asyncio.wait_for(
                loop.create_connection(
                    lambda: _Connection(self, config.max_answer_bytes),
                    config.host,
                    config.port,
                    ssl=config.tls,
                ),
                config.timeout.total_seconds(),
            )
        except (OSError, TimeoutError) as error:
            return RetryLater("unreachable", described(error))
        if connection.lost:
            return RetryLater("unreachable", "the connection was closed at once")
        self._connection = connection
        return None

    def lost(self, connection: "_Connection", error: Exception | None) -> None:
        """The peer closed the connection, or it broke."""
        if connection is not self._connection:
            return
        self._connection = None
        work = self._work
        if work is None or (work.committed and self._returns is not None):
            return
        text = "the connection was closed before the answer"
        if isinstance(error, ssl.SSLError):  # as a peer does that wants a client certificate
            text += f": {described(error)}"
        closed = RetryLater("unreachable", text)
        # A peer that closes after an answer, as some do after each, is not out of reach.
        work.abandon(NOT_TRIED if work.answered else closed)

    def received(self, connection: "_Connection", frames: Sequence[bytes | FrameError]) -> None:
        """Answers, possibly several or parts of one."""
        for found in frames:
            if connection is not self._connection:
                return
            work = self._work
            waits = work is not None and not work.done.done()
            if isinstance(found, FrameError):
                if waits:
                    self._fail(RetryLater("protocol", "the answer is no MLLP frame"))
                continue
            if waits and work is not None and not work.asking.application:
                plain = b"\rMSA|AA|%b\r" % work.asking.control_id.encode("latin-1", "replace")
                if plain in found:
                    self._settle(work, Sent(Receipt(microseconds(self._clock()), "AA")))
                    continue
            answer = read_ack(found)
            self._confirm(connection, found, answer)
            if waits and work is not None:
                self._judge(work, answer)

    def _judge(self, work: "_Work", answer: Acknowledgement) -> None:
        if not answer.code:
            self._fail(RetryLater("protocol", "the answer is no acknowledgement"))
        elif answer.control_id.strip() != work.asking.control_id.strip():
            return
        elif answer.code == "CA" and work.asking.application:
            if not work.committed:
                work.committed = True
                work.sent_at = asyncio.get_running_loop().time()
        else:
            self._settle(work, verdict(answer, self._clock))

    def _confirm(self, connection: "_Connection", found: bytes, answer: Acknowledgement) -> None:
        """Say that an application acknowledgement has come, where it asks for that."""
        seen = peek(found)
        if not answer.code or not seen.readable:
            return
        asked = conditions(seen)
        if asked.enhanced and wants(asked.accept, success=True):
            number = hashlib.sha256(found).hexdigest()[:16]
            now = self._clock().strftime("%Y%m%d%H%M%S+0000")
            connection.write(ack(seen, "CA", control_id=number, now=now))

    def _returned(self, work: "_Work", asked: Asking, found: bytes) -> None:
        """The application acknowledgement came over its own connection."""
        if not work.done.done() and work.asking is asked:
            self._judge(work, read_ack(found))

    def _settle(self, work: "_Work", outcome: Outcome) -> None:
        self._expect_no_more(work)
        work.note(outcome)
        self._next()

    def _next(self) -> None:
        """Send the next message whose lane has not failed."""
        work = self._work
        if work is None:
            return
        asked = work.advance()
        if asked is None:
            work.finish()
        elif self._connection is None:
            work.abandon(NOT_TRIED)
        else:
            if asked.application and self._returns is not None:
                self._returns.expect(asked.control_id, partial(self._returned, work, asked))
            work.sent_at = asyncio.get_running_loop().time()
            self._connection.write(asked.body)

    def _expect_no_more(self, work: "_Work") -> None:
        if work.asking.application and self._returns is not None:
            self._returns.forget(work.asking.control_id)

    def _fail(self, outcome: RetryLater) -> None:
        """Give up this connection: what waits for its answer, and all behind it."""
        self._abort()
        if self._work is not None:
            self._work.abandon(outcome)

    def _abort(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.transport.abort()

    def close(self) -> None:
        """Close the connection after what is written."""
        if self._connection is not None:
            self._connection.transport.close()


class _Connection(asyncio.Protocol):
    """One connection; what comes after the line has given it up concerns nobody."""

    def __init__(self, line: Line, max_answer_bytes: int) -> None:
        self._line = line
        self._unframer = Unframer(max_answer_bytes)
        self.transport: asyncio.Transport
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._line.lost(self, exc)

    def data_received(self, data: bytes) -> None:
        self._line.received(self, self._unframer.feed(data))

    def write(self, body: bytes) -> None:
        self.transport.write(frame(body))


class _Work:
    """What one line has still to send of a parcel.

    Attributes:
        asking: what was sent last.
        committed: whether CA came for it, and more is to come.
        answered: whether any message was answered.
    """

    def __init__(
        self, parcel: Parcel, places: "deque[int]", outcomes: list[Outcome], asks: str
    ) -> None:
        self._parcel = parcel
        self._places = places
        self._outcomes = outcomes
        self._asks = asks
        self._failed: set[int] = set()
        self._place = -1
        self.watch: asyncio.TimerHandle
        self.asking = Asking(b"", "", False)
        self.committed = self.answered = False
        self.sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def advance(self) -> Asking | None:
        """The next message to send, None if there is none."""
        while self._places:
            place = self._places.popleft()
            if self._parcel.deliveries[place].delivery.lane in self._failed:
                continue
            body = self._parcel.bodies[place]
            assert isinstance(body, bytes)
            self._place = place
            self.committed = False
            self.asking = asking(body, self._asks)
            return self.asking
        return None

    def note(self, outcome: Outcome) -> None:
        """The answer to what was sent last."""
        self._outcomes[self._place] = outcome
        self.answered = True
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


def verdict(answer: Acknowledgement, clock: Clock) -> Outcome:
    """What an acknowledgement means for a delivery; texts stay out, they may name patients."""
    if answer.accepted:
        return Sent(Receipt(microseconds(clock()), answer.code))
    codes = set(answer.error_codes)
    reason = " ".join([answer.code, *sorted(codes & (RETRIED | FINAL))])
    if codes & FINAL:
        return Refused("refused", reason)
    if codes & RETRIED or answer.code in ("AE", "CE"):
        return RetryLater("refused", reason)
    return Refused("refused", reason)
