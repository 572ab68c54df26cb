"""What is to be sent, and the verdict of trying."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Form = Literal["fhir", "adt", "careplan", "alert", "ack"]
"""`fhir`: a resource version; `adt`: the message forwarded; `careplan`: MDM^T02; `alert`:
the notification of what a version of an Encounter tells; `ack`: the application
acknowledgement of a message."""

OF_ENTRIES = frozenset({"adt", "ack"})
"""Forms of what belongs to a journal entry and not to a resource."""

Category = Literal["unreachable", "timeout", "refused", "unauthorised", "conflict", "protocol"]


class Delivery(NamedTuple):
    """A resource version (or message) that one destination must get.

    Attributes:
        destination: name of the destination.
        lane: pk of the person; order is kept per (destination, lane).
        form: what is sent.
        what: `Task/9c…`, or the journal entry id for `adt` and `ack`.
        version: version number of the resource; 0 for `adt` and `ack`.
        cause: journal entry id or statement reference.
        after: lanes whose deliveries of earlier commits must be over first: those of
            persons that were merged into this one, or parted from it.
        notice: what the recipient must take note of beyond the new content:
            `identity-merged`, `identity-unmerged`, `admit-cancelled`,
            `discharge-cancelled`; "" where there is nothing.
    """

    destination: str
    lane: int
    form: Form
    what: str
    version: int
    cause: str
    after: tuple[int, ...] = ()
    notice: str = ""


class QueuedDelivery(NamedTuple):
    """A delivery in the outbox: what a sender leases and settles.

    Attributes:
        id: outbox id; also the idempotency key and the seed of MSH-10.
        attempts: how often it was tried before.
    """

    id: int
    delivery: Delivery
    position: int
    ordinal: int
    created: int
    attempts: int = 0


class Receipt(NamedTuple):
    """The peer's acceptance.

    Attributes:
        at: microseconds UTC of the answer.
        status: HTTP status, or MSA-1.
        message: what the peer said beyond that; no patient data.
    """

    at: int
    status: str
    message: str | None = None


class Sent(NamedTuple):
    """Delivered."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not delivered; trying again may help.

    Attributes:
        after_seconds: what the peer asked for (`Retry-After`), None where it did not.
        halt: whether the whole destination must pause (401, 403).
    """

    category: Category
    reason: str
    status: int | None = None
    after_seconds: float | None = None
    halt: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Not delivered; trying again will not help."""

    category: Category
    reason: str
    status: int | None = None


Outcome = Sent | RetryLater | Refused


@dataclass(slots=True)
class Parcel:
    """Deliveries that travel together: rendered bodies in lane order.

    Attributes:
        deliveries: at most the destination's `bundle` of them.
        bodies: one per delivery: resource JSON text for `fhir`, message
            Bundle text for `alert` ("" where nothing is to be told), ER7 bytes else.
    """

    deliveries: list[QueuedDelivery]
    bodies: list[str | bytes] = field(default_factory=list)
