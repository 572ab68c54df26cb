"""What the pipeline asks of the ways in, the ways out, and the store behind them.

Adapters and the store provide these; the use cases know nothing else of them. Every
kind of source and of destination passes one conformance kit (`tests/contract`).
"""

from collections.abc import Sequence
from typing import Any, Protocol

from segue.model.deliveries import Outcome, Parcel, QueuedDelivery
from segue.model.messages import Cut, RawMessage
from segue.store.listings import EntryFilter, ListedEntry, Page
from segue.store.records import Appended, Lease, NewEntry, Setback, Settlement


class AnswerSink(Protocol):
    """Who waits for acknowledgements."""

    def answered(self, answers: "Sequence[tuple[Any, bytes | None]]") -> None:
        """Take (ticket, acknowledgement) pairs in the order of submission.

        Called on the journal writer's thread, once for each group commit. None
        means that nothing was made durable: the sender must get no acceptance.
        b"" means that the sender asked for no answer.
        """
        ...


class Intake(Protocol):
    """The one way into the journal; see `segue.pipeline.receive`."""

    @property
    def waiting(self) -> int:
        """Messages submitted and not yet answered."""
        ...

    def submit(self, raw: RawMessage, sink: AnswerSink, ticket: Any) -> None:
        """Queue a message; its answer goes to the sink, with the ticket."""
        ...

    def reject(self, raw: RawMessage, cut: Cut, reason: str, sink: AnswerSink, ticket: Any) -> None:
        """Answer AR in this message's turn; what came of it is kept in quarantine."""
        ...

    def quarantine(self, raw: RawMessage, cut: Cut) -> None:
        """Keep what came of a message that did not come whole; nobody is answered."""
        ...


class Source(Protocol):
    """A way in: a listener or a poller of one feed."""

    @property
    def feed(self) -> str:
        """Name of the feed."""
        ...

    async def start(self) -> None:
        """Begin to take messages.

        Raises:
            OSError: the address or directory cannot be used.
        """
        ...

    async def stop(self) -> None:
        """Take no more, let what was taken be answered, then let go."""
        ...


class Destination(Protocol):
    """A way out: one peer."""

    @property
    def name(self) -> str:
        """As named under `destinations:`."""
        ...

    @property
    def bundle(self) -> int:
        """Deliveries per parcel, at most."""
        ...

    @property
    def parallel(self) -> int:
        """Parcels under way at once, at most."""
        ...

    @property
    def atomic(self) -> bool:
        """Whether a parcel is taken or refused as a whole, for the fault of one part."""
        ...

    async def send(self, parcel: Parcel) -> list[Outcome]:
        """Send what the parcel holds and say of each delivery what became of it.

        The outcomes are in the parcel's order. Of one lane, none is `Sent` after one
        that is not; what was not tried is `RetryLater` with `after_seconds` 0. Expected
        failures are outcomes, never exceptions.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Journal(Protocol):
    """Where messages become durable."""

    def append(self, entries: Sequence[NewEntry]) -> list[Appended]:
        """Make all durable in one commit, or raise and make none durable."""
        ...

    def entries(self, asked: EntryFilter, *, limit: int = 50) -> Page[ListedEntry]:
        """The newest entries that fit, without their bytes."""
        ...


class Outbox(Protocol):
    """The deliveries that wait, by destination and partition."""

    def lease(self, destination: str) -> list[Lease]:
        """Take or prolong the free partitions of a destination.

        What another sender holds is left out; what was returned before and is left
        out now is lost.
        """
        ...

    def read(self, lease: Lease, after: int, limit: int) -> list[QueuedDelivery]:
        """Deliveries of the partition beyond `after`, in commit order."""
        ...

    def read_together(
        self, asked: Sequence[tuple[Lease, int]], limit: int
    ) -> tuple[dict[str, list[QueuedDelivery]], bool]:
        """The same of several partitions at once, by partition, and whether that is all."""
        ...

    def waits(self, queued: QueuedDelivery) -> bool:
        """Whether a lane that the delivery must come after has still something before it."""
        ...

    def setbacks(self, lease: Lease) -> list[Setback]:
        """The partition's deliveries that were tried or held, and are not over."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down what became of deliveries, in one short transaction.

        Raises:
            RevisionConflict: a lease was lost; nothing was written.
        """
        ...


class Bodies(Protocol):
    """Fetches what is to be sent, at the time of sending."""

    def bodies(self, deliveries: Sequence[QueuedDelivery]) -> list[str | bytes]:
        """Per delivery: resource text, "" for a deletion, or the bytes of a message."""
        ...
