"""Small rows for tests of the store."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from segue.model.changes import Cause, Head, SearchTerms, Write
from segue.model.deliveries import Delivery
from segue.model.identity import ResourceKey
from segue.model.messages import Envelope, RawMessage
from segue.store.journal import Journal
from segue.store.records import Commit, FactRow, NewEntry, PersonWrite, Step
from segue.store.store import Store, open_journal, open_store

NOW = datetime(2026, 7, 5, 12, tzinfo=UTC)
NOW_US = 1_783_252_800_000_000


def clock() -> datetime:
    """A clock that stands still: the store must make instants rise by itself."""
    return NOW


@contextmanager
def opened(where: str | Path) -> Iterator[Store]:
    """A store that is closed at the end."""
    store = open_store(where, clock)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_journal(where: str | Path, **options: int) -> Iterator[Journal]:
    """A journal that is closed at the end."""
    journal = open_journal(where, **options)
    try:
        yield journal
    finally:
        journal.close()


def entry(
    body: str, control_id: str, *, lane: int = 3, sender: str = "ADT|HOSPA", received: int = NOW_US
) -> NewEntry:
    """A message for the journal."""
    raw = body.encode()
    envelope = Envelope(sender, control_id, "A01", hashlib.sha256(raw).hexdigest(), "hospa", lane)
    ack = f"MSA|AA|{control_id}|{body[:4]}".encode()
    return NewEntry(RawMessage(raw, "hospa-adt", received), envelope, ack, "AA")


def write(
    store: Store,
    reference: str,
    body: str | None = "{}",
    *,
    base: Head | None = None,
    owner: int | None = None,
    terms: SearchTerms | None = None,
    **other: object,
) -> Write:
    """A version of a resource that follows `base`."""
    type_, _, id_ = reference.partition("/")
    content = hashlib.blake2b((body or "").encode(), digest_size=16).digest()
    return Write(
        ResourceKey(type_, id_),
        base.pk if base else store.new_pk(1)[0],
        base.version + 1 if base else 1,
        str(other.get("kind", "fold")),  # type: ignore[arg-type]
        body,
        content,
        content,
        terms or SearchTerms(),
        base,
        owner,
        other.get("recorded"),  # type: ignore[arg-type]
    )


def step(number: int, *writes: Write, **parts: object) -> Step:
    """A step owed to a journal entry."""
    return Step(Cause("entry", str(number), "hospa"), writes=list(writes), **parts)  # type: ignore[arg-type]


def fact(id_: str, entry_: int, identity: str, visit: str | None = None) -> FactRow:
    """A fact with small blobs."""
    return FactRow(id_, entry_, "message", identity, visit, b"person", b"stay")


def person(pk: int, key: str, expected: int = 0, state: bytes = b"state") -> PersonWrite:
    """A person's state."""
    return PersonWrite(pk, key, expected, state)


def deliver(
    destination: str,
    lane: int,
    what: str = "Task/1",
    version: int = 1,
    after: tuple[int, ...] = (),
    notice: str = "",
) -> Delivery:
    """A delivery of a resource version."""
    return Delivery(destination, lane, "fhir", what, version, "1", after, notice)


def commit_one(store: Store, write_: Write, number: int = 1) -> Head:
    """Commit a single write; its new head."""
    return store.commit(Commit(steps=[step(number, write_)])).heads[write_.key]
