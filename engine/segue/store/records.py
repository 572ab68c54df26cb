"""The rows that the pipeline hands to the store and gets from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from segue.model.changes import Cause, Head, Kind, Write
from segue.model.deliveries import Category, Delivery, QueuedDelivery, Receipt
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.model.messages import EntryState, Envelope, RawMessage


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A person: the revision guards everything that belongs to them.

    Attributes:
        state: msgpack of the folded person state; opaque to the store.
        merged_into: pk of the surviving person after a merge, else None.
    """

    pk: int
    key: str
    revision: int
    state: bytes
    merged_into: int | None = None


@dataclass(frozen=True, slots=True)
class PersonWrite:
    """The person's state after a commit.

    Attributes:
        expected: the revision it was computed from; 0 for a new person. The
            commit stores `expected + 1`.
    """

    pk: int
    key: str
    expected: int
    state: bytes
    merged_into: int | None = None


@dataclass(frozen=True, slots=True)
class VisitRow:
    """The folded state of one visit; `state` is opaque to the store.

    Without a state it only keeps a number for its person, see `segue.pipeline.charts.Chart`.
    """

    key: str
    owner: int
    state: bytes


@dataclass(slots=True)
class FactRow:
    """What one entry or statement said, in two parts (person and visit).

    Attributes:
        id: the fact's own id; unique.
        entry: journal entry id; 0 for statements, receipts and steward acts.
        kind: `message`, `statement`, `receipt`, `steward`, or `forgotten`: kept, but
            it counts no more.
        identity: source identity key; facts are found by it.
        visit: visit key or None.
        person: msgpack (compressed) of the person part; stay: of the visit part.
    """

    id: str
    entry: int
    kind: str
    identity: str
    visit: str | None
    person: bytes
    stay: bytes


@dataclass(slots=True)
class Step:
    """What one cause changes. A commit holds many; each keeps its own versions.

    Attributes:
        state: of the journal entry, if the cause is one: rows are kept only for
            what is not plainly `processed` without issues.
    """

    cause: Cause
    facts: list[FactRow] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    state: EntryState = "processed"
    issues: list[Issue] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a journal entry that is processed.

    Attributes:
        dead: deliveries that it caused and that a destination refused.
        open: deliveries that it caused and that are still to be made.
    """

    state: EntryState
    issues: Sequence[Issue] = ()
    dead: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class CursorMove:
    """A reader's progress, moved by compare-and-set in the commit it belongs to."""

    log: Literal["journal", "outbox", "changes"]
    partition: str
    token: int
    old: int
    new: int


@dataclass(slots=True)
class Commit:
    """All that one transaction writes.

    Attributes:
        gone_visits: visit key and pk of the person who has it no more, be it that another
            one has it now.
        timers: person pk to the instant (µs) at which time alone changes their
            care, None to clear.
        conditions: hashes of normalised `If-None-Exist` queries to hold a lock on.
        owners: pk of a resource that becomes another person's without a new version, to
            the person's pk.
        again: of a replay: what a directory resource says anew under the same order key
            replaces what was said.
    """

    persons: list[PersonWrite] = field(default_factory=list)
    visits: list[VisitRow] = field(default_factory=list)
    gone_visits: list[tuple[str, int]] = field(default_factory=list)
    identities: list[tuple[str, int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    moves: list[CursorMove] = field(default_factory=list)
    timers: dict[int, int | None] = field(default_factory=dict)
    conditions: list[int] = field(default_factory=list)
    owners: dict[int, int] = field(default_factory=dict)
    again: bool = False


@dataclass(slots=True)
class Committed:
    """Where a commit stands in the one order.

    Attributes:
        position: dense, in commit order. at: microseconds UTC, strictly monotone.
        registers: the heads of directory resources that stood against the stored ones.
        writes: the last write of each other resource.
        held: CPU seconds from the begin of the transaction to its end.
    """

    position: int
    at: int
    registers: dict[ResourceKey, Head] = field(default_factory=dict)
    writes: Sequence[Write] = ()
    held: float = 0.0

    @property
    def heads(self) -> dict[ResourceKey, Head]:
        """The new heads of what was written, made only for those who ask."""
        return self.registers | {write.key: write.head() for write in self.writes}


class RevisionConflict(Exception):  # noqa: N818
    """Somebody else committed first: fold again and retry.

    Attributes:
        persons: pks whose revision moved. resources: keys whose head moved.
        visits: numbers that another person turned out to have.
        moves: partitions whose cursor or token moved (the lease is lost).
    """

    def __init__(
        self,
        persons: set[int] | None = None,
        resources: set[ResourceKey] | None = None,
        moves: set[str] | None = None,
        visits: set[str] | None = None,
    ) -> None:
        self.persons = persons or set()
        self.resources = resources or set()
        self.moves = moves or set()
        self.visits = visits or set()
        super().__init__(
            f"{len(self.persons)} persons, {len(self.resources)} resources, "
            f"{len(self.visits)} visits, {len(self.moves)} cursors moved meanwhile"
        )


class StoreUnavailableError(OSError):
    """The database cannot be reached or cannot write: nothing was kept, try later.

    A commit whose answer was lost may have been kept all the same; whoever repeats it
    finds out by the revisions and cursors that moved.
    """


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A message to be made durable."""

    raw: RawMessage
    envelope: Envelope
    ack: bytes
    ack_code: str


@dataclass(frozen=True, slots=True)
class Appended:
    """The verdict on one `NewEntry`.

    Attributes:
        entry: its id; of a duplicate, the first one's.
        ack: the answer to send: its own, or the stored one of the first.
        duplicate: same sender, control id and bytes were there before.
        reused: same sender and control id, other bytes.
    """

    entry: int
    ack: bytes
    duplicate: bool = False
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to read a partition of a log, for a while.

    Attributes:
        log: `journal` or `outbox`. partition: lane number, or `destination/n`.
        token: fencing token: a later holder has a higher one.
        cursor: where to read on. For the outbox, `position << 20 | ordinal`.
    """

    log: Literal["journal", "outbox", "changes"]
    partition: str
    token: int
    cursor: int


@dataclass(frozen=True, slots=True)
class Setback:
    """A delivery that was not sent: what its exception row says.

    Attributes:
        state: `delayed` (due at not_before), `blocked` (behind one of its lane, whether
            that is delayed or dead), `dead`, `dropped`.
    """

    queued: QueuedDelivery
    state: Literal["delayed", "blocked", "dead", "dropped"]
    attempts: int
    not_before: int | None
    category: Category | None
    status: int | None
    text: str | None


@dataclass(slots=True)
class Settlement:
    """What became of deliveries of one leased partition; one transaction.

    Attributes:
        sent: with their receipts. setbacks: the others, each its exception row.
        cursor: moves to here once all before it are sent or have a row.
        at: microseconds UTC.
    """

    lease: Lease
    sent: list[tuple[QueuedDelivery, Receipt, int]] = field(default_factory=list)
    setbacks: list[Setback] = field(default_factory=list)
    cursor: int | None = None
    at: int = 0


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a resource as stored.

    Attributes:
        body: canonical JSON without versionId and lastUpdated; None is a deletion.
        at: lastUpdated, microseconds UTC. position: of the commit that wrote it.
    """

    key: ResourceKey
    pk: int
    version: int
    body: str | None
    at: int
    position: int


@dataclass(frozen=True, slots=True)
class Change:
    """A version as the change log has it.

    Attributes:
        kind: of the cause, `entry`, `statement` …; ref: its entry number or id.
        source: site whose statement it was, "" for the hub itself.
        resource_kind: who may write the resource.
    """

    stored: StoredVersion
    kind: str
    ref: str
    source: str
    resource_kind: Kind
