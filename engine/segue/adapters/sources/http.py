"""Takes HL7 v2 by HTTP: `POST /hl7v2/<feed>` with ER7 in, the acknowledgement out.

The API mounts `HttpIntake.handle_er7`. The answer comes after the message is durable. A
body with several messages (a batch) gets as many acknowledgements, in order.
"""

from collections.abc import Mapping

from segue.adapters.sources.payload import Payloads
from segue.hl7v2.batch import split
from segue.model.instants import Clock
from segue.model.messages import Cut
from segue.pipeline.ports import Intake
from segue.pipeline.receive import NotDurable


class UnknownFeedError(LookupError):
    """No feed of kind `http` has this name."""


class HttpIntake:
    """The source kind `http`: all its feeds, in one event loop."""

    def __init__(self, feeds: Mapping[str, int], intake: Intake, clock: Clock) -> None:
        """Take the parts.

        Args:
            feeds: the feeds of kind `http`, each with the bytes of its longest message.
            intake: the way into the journal.
            clock: stamps arrivals.
        """
        self._feeds = {name: Payloads(name, intake, clock, limit) for name, limit in feeds.items()}

    async def handle_er7(self, body: bytes, feed: str) -> bytes:
        """Make the messages of a request durable and return their acknowledgements.

        Raises:
            UnknownFeedError: there is no such feed.
            NotDurable: the journal failed; the client must send again (503).
        """
        payloads = self._of(feed)
        batch = split(body)
        answers = await payloads.submit(batch.messages or [body])
        acks = [answer for answer in answers if answer is not None]
        if len(acks) < len(answers):
            raise NotDurable("The message could not be stored. Send it again.")
        return payloads.whole(batch, acks)

    def keep_cut(self, feed: str, body: bytes, cut: Cut) -> None:
        """Keep what came of a request that did not come whole, in quarantine.

        Raises:
            UnknownFeedError: there is no such feed.
        """
        self._of(feed).quarantine(body, cut)

    def _of(self, feed: str) -> Payloads:
        payloads = self._feeds.get(feed)
        if payloads is None:
            raise UnknownFeedError(f"{feed}: no feed of kind http has this name")
        return payloads
