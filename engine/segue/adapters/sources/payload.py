"""Payloads that are answered as a whole: a file, the body of a request.

A payload holds one message, several, or a batch (FHS, BHS); each of its messages is an
entry of its own, and a batch is answered by a batch.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from segue.hl7v2.ack import batch_ack
from segue.hl7v2.batch import Batch, split_cut
from segue.model.instants import Clock, microseconds
from segue.model.messages import Cut, RawMessage
from segue.pipeline.ports import Intake

HEAD = 1_048_576
"""Bytes that are kept of a message that is too long, at most."""
TOO_LONG, CUT_OFF = "The message is longer than {} bytes.", "The batch ends within this message."


class Payloads:
    """The messages of one feed that wait for their answers, in one event loop."""

    def __init__(self, feed: str, intake: Intake, clock: Clock, max_bytes: int) -> None:
        """Take the parts.

        Args:
            feed: name of the feed.
            intake: the way into the journal.
            clock: stamps arrivals.
            max_bytes: a longer message is answered AR and not stored.
        """
        self._feed = feed
        self._intake = intake
        self._clock = clock
        self._max_bytes = max_bytes
        self._loop: asyncio.AbstractEventLoop | None = None

    async def submit(self, bodies: Sequence[bytes], *, cut: bool = False) -> list[bytes | None]:
        """Make messages durable; their answers in order, None where that failed.

        Args:
            bodies: the messages.
            cut: whether the last of them did not come whole.
        """
        self._loop = loop = asyncio.get_running_loop()
        received = microseconds(self._clock())
        pending: list[asyncio.Future[bytes | None]] = []
        for place, body in enumerate(bodies, 1):
            future: asyncio.Future[bytes | None] = loop.create_future()
            pending.append(future)
            if len(body) > self._max_bytes:
                reason = TOO_LONG.format(self._max_bytes)
                self._reject(body[:HEAD], received, "oversize", reason, future)
            elif cut and place == len(bodies):
                self._reject(body, received, "truncated", CUT_OFF, future)
            else:
                self._intake.submit(RawMessage(body, self._feed, received), self, future)
        return list(await asyncio.gather(*pending))

    async def refuse(self, head: bytes) -> bytes:
        """The answer to a payload that is too long to be read, by its first bytes."""
        self._loop = loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        received, reason = microseconds(self._clock()), TOO_LONG.format(self._max_bytes)
        self._reject(head[:HEAD], received, "oversize", reason, future)
        return await future or b""

    def quarantine(self, body: bytes, cut: Cut) -> None:
        """Keep what came of a payload whose sender went away, or may send no more."""
        received = microseconds(self._clock())
        for one in split_cut(body):
            self._intake.quarantine(RawMessage(one, self._feed, received), cut)

    def _reject(self, body: bytes, received: int, cut: Cut, reason: str, ticket: Any) -> None:
        raw = RawMessage(body, self._feed, received)
        self._intake.reject(raw, cut, reason, self, ticket)

    def whole(self, batch: Batch, acks: Sequence[bytes]) -> bytes:
        """The answer to a payload: acknowledgements one after the other, or in a batch."""
        if batch.enclosed and batch.messages:
            return batch_ack(batch, acks, now=self._clock().strftime("%Y%m%d%H%M%S+0000"))
        return b"".join(acks)

    def answered(self, answers: Sequence[tuple[Any, bytes | None]]) -> None:
        """Take acknowledgements from the writer's thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple["asyncio.Future[bytes | None]", bytes | None]]) -> None:
    for future, ack in answers:
        if not future.done():
            future.set_result(ack)
