"""Takes HL7 v2 by HTTP: `POST /hl7v2/<feed>` with ER7 in, the acknowledgement out.

The API mounts `HttpIntake.handle_er7`. The answer comes after the message is durable. A
body with several messages (a batch) gets as many acknowledgements, in order.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from segue.hl7v2.ack import batch_ack
from segue.hl7v2.batch import split
from segue.model.instants import Clock, microseconds
from segue.model.messages import RawMessage
from segue.pipeline.ports import Intake
from segue.pipeline.receive import NotDurable


class UnknownFeedError(LookupError):
    """No feed of kind `http` has this name."""


class HttpIntake:
    """The source kind `http`: all its feeds, in one event loop."""

    def __init__(
        self,
        feeds: Collection[str],
        intake: Intake,
        clock: Clock,
        max_bytes: int = 16 * 1_048_576,
    ) -> None:
        """Take the parts.

        Args:
            feeds: names of the feeds of kind `http`.
            intake: the way into the journal.
            clock: stamps arrivals.
            max_bytes: longer messages are answered AR.
        """
        self.feeds = frozenset(feeds)
        self._intake = intake
        self._clock = clock
        self._max_bytes = max_bytes
        self._loop: asyncio.AbstractEventLoop | None = None

    async def handle_er7(self, body: bytes, feed: str) -> bytes:
        """Make the messages of a request durable and return their acknowledgements.

        Raises:
            UnknownFeedError: there is no such feed.
            NotDurable: the journal failed; the client must send again (503).
        """
        if feed not in self.feeds:
            raise UnknownFeedError(f"{feed}: no feed of kind http has this name")
        self._loop = asyncio.get_running_loop()
        received = microseconds(self._clock())
        pending: list[asyncio.Future[bytes | None]] = []
        batch = split(body)
        for message in batch.messages or [body]:
            future: asyncio.Future[bytes | None] = self._loop.create_future()
            pending.append(future)
            if len(message) > self._max_bytes:
                raw = RawMessage(message[:1024], feed, received)
                reason = f"The message is longer than {self._max_bytes} bytes."
                self._intake.reject(raw, reason, self, future)
            else:
                self._intake.submit(RawMessage(message, feed, received), self, future)
        answers = await asyncio.gather(*pending)
        acks = [answer for answer in answers if answer is not None]
        if len(acks) < len(answers):
            raise NotDurable("The message could not be stored. Send it again.")
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
