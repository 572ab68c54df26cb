"""What people are shown of the journal and the outbox, and by what they ask for it."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from segue.model.deliveries import Category, QueuedDelivery
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.model.messages import EntryState, InboxEntry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        next: cursor of the next page, None of the last. total: of the whole list.
    """

    items: list[T]
    next: int | None
    total: int


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which journal entries are meant; None does not restrict.

    Attributes:
        since: received at or after, until: received before; microseconds UTC.
    """

    state: EntryState | None = None
    feed: str | None = None
    site: str | None = None
    event: str | None = None
    control_id: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """A journal entry without its body, of which `size` tells the bytes."""

    entry: InboxEntry
    size: int


DeliveryState = Literal["waiting", "delayed", "blocked", "sent", "dead", "dropped"]
"""`delayed` has a time to be tried again at, `dead` needs a person, `blocked` is behind a
dead one of its lane; all else that is to be sent is `waiting`."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries are meant; None does not restrict.

    Attributes:
        since: created at or after, until: created before; microseconds UTC.
    """

    ids: tuple[int, ...] = ()
    state: DeliveryState | None = None
    destination: str | None = None
    lane: int | None = None
    cause: str | None = None
    what: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """A delivery and what became of it so far.

    Attributes:
        attempts: how often it was tried.
        not_before: when it is due again, microseconds UTC.
        sent: when the peer accepted it, microseconds UTC; status and message are of
            its answer.
        error: category, status and text of the last failure.
        because: why a person retried or dropped it.
    """

    queued: QueuedDelivery
    state: DeliveryState
    attempts: int
    not_before: int | None
    sent: int | None
    status: str | None
    message: str | None
    error: tuple[Category | None, int | None, str | None] | None
    because: str | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a destination has still to get, by state.

    Attributes:
        oldest: creation (µs) of the oldest that is not dead, None where there is none.
    """

    waiting: int
    delayed: int
    blocked: int
    dead: int
    oldest: int | None


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A journal entry and what became of it.

    Attributes:
        size: bytes of the message. duplicates: how often it was sent again.
        issues: how many there are. changes: resource versions that it caused.
        position: of the last commit that it caused, None where it changed nothing.
        reason: code of the first error, None where there is none.
    """

    entry: InboxEntry
    size: int
    duplicates: int
    state: EntryState
    issues: int
    changes: int
    position: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """Everything about one journal entry.

    Attributes:
        listed: with the message itself.
        versions: the resource versions that it caused, in commit order.
    """

    listed: ListedMessage
    issues: list[Issue]
    versions: list[tuple[ResourceKey, int]]
