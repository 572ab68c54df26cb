"""The schema, once, for both databases; the migrations must agree with it.

Instants are microseconds since the epoch in UTC. `tx` numbers a transaction when it
begins, `position` when it commits; rows of a transaction are numbered
`tx << 20 | ordinal`. See docs/architecture.md, "Commit order". The hot path does not
import this module.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

journal = MetaData()
"""What was received: `journal.db`, or beside the rest on PostgreSQL."""

store = MetaData()
"""All else: `store.db`, or PostgreSQL."""

# Only a column spelt INTEGER is SQLite's own row number and costs nothing extra.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
_ROOM_TO_UPDATE = {"fillfactor": 85}


def _key(name: str, *, counts: bool = False) -> Column[int]:
    return Column(name, _NUMBER, primary_key=True, autoincrement=counts)


def _int(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _small(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, SmallInteger, nullable=null)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _bytewise(name: str) -> Column[str]:
    # Compared byte by byte, as SQLite and Python do; then a prefix is a range, too.
    return Column(name, Text().with_variant(Text(collation="C"), "postgresql"), nullable=False)


def _blob(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


def _clustered(name: str, metadata: MetaData, *columns: Any, key: tuple[str, ...]) -> Table:
    return Table(name, metadata, *columns, PrimaryKeyConstraint(*key), sqlite_with_rowid=False)


# --- the journal -------------------------------------------------------------------------

Table("journal_head", journal, _key("id"), _int("position"))

entry = Table(
    "entry",
    journal,
    _key("id"),
    _int("received"),
    _small("lane"),
    _text("feed"),
    _text("site"),
    _text("sender"),
    _text("control_id"),
    _text("event"),
    _blob("digest"),
    _text("quarantined", null=True),
    _small("reused"),
    _text("ack_code"),
    _int("size"),
    _blob("raw"),  # compressed where it is shorter than `size`
    _blob("ack"),
)
Index("entry_lane", entry.c.lane, entry.c.id)
Index("entry_identity", entry.c.control_id, entry.c.sender)
Index("entry_received", entry.c.received)

entry_duplicate = Table(
    "entry_duplicate", journal, _key("id", counts=True), _int("entry"), _int("at"), _text("feed")
)
Index("entry_duplicate_entry", entry_duplicate.c.entry)

# Only of answers that waited, and were not those that the entry holds.
Table("entry_answer", journal, _key("entry"), _text("code"))

# --- the one commit order ----------------------------------------------------------------

Table("head", store, _key("id"), _int("position"), _int("at"))

commits = Table("commits", store, _key("tx"), _int("position"), _int("at"))
Index("commits_position", commits.c.position, unique=True)
Index("commits_at", commits.c.at)

Table("counter", store, Column("name", Text, primary_key=True), _int("next"))

# --- persons -----------------------------------------------------------------------------

person = Table(
    "person",
    store,
    _key("pk"),
    _text("key"),
    _int("revision"),
    _int("merged_into", null=True),
    _blob("state"),
    postgresql_with=_ROOM_TO_UPDATE,
)
Index("person_key", person.c.key, unique=True)

_clustered("identity", store, _text("key"), _int("person"), key=("key",))

visit = Table(
    "visit",
    store,
    Column("key", Text, primary_key=True),
    _int("owner"),
    _blob("state"),
    postgresql_with=_ROOM_TO_UPDATE,
)
Index("visit_owner", visit.c.owner)

fact = Table(
    "fact",
    store,
    Column("id", Text, primary_key=True),
    _int("entry"),  # 0 for what is not a message
    _text("kind"),
    _text("identity"),
    _text("visit", null=True),
    _blob("person"),
    _blob("stay"),
)
Index("fact_identity", fact.c.identity)
Index("fact_entry", fact.c.entry)

timer = Table("timer", store, _key("person"), _int("due"))
Index("timer_due", timer.c.due)

# --- resources ---------------------------------------------------------------------------

# No indexed column of `resource` changes when a new version comes.
resource = Table(
    "resource",
    store,
    _key("pk"),
    _text("type"),
    _bytewise("id"),
    _int("version"),
    _int("tx"),
    _small("kind"),
    _small("deleted"),
    _int("owner", null=True),
    _blob("content"),
    _blob("gist", null=True),  # null: equal to content
    _blob("terms", null=True),
    _int("recorded", null=True),
    _text("control_id", null=True),
    postgresql_with=_ROOM_TO_UPDATE,
)
Index("resource_id", resource.c.id, resource.c.type, unique=True)
Index("resource_type", resource.c.type, resource.c.pk)
Index(
    "resource_owner",
    resource.c.owner,
    sqlite_where=text("owner IS NOT NULL"),
    postgresql_where=text("owner IS NOT NULL"),
)

version = Table(
    "version",
    store,
    _key("id"),
    _int("resource"),
    _int("version"),
    Column("step", Integer, nullable=False),
    _blob("body", null=True),  # packed
)
Index("version_resource", version.c.resource, version.c.version, unique=True)

step = Table(
    "step",
    store,
    _key("id"),
    _int("entry"),  # 0 for what is not a message
    _text("kind"),
    _text("ref", null=True),  # null: the entry
    _text("source"),
    Column("changes", Integer, nullable=False),
)
Index("step_entry", step.c.entry)

# Ordered as pages are. The indexes by resource serve sorting and further conditions.
_clustered("search_token", store, _int("hash"), _int("resource"), key=("hash", "resource"))
search_date = _clustered(
    "search_date",
    store,
    _int("param"),
    _int("low"),
    _int("high"),
    _int("resource"),
    key=("param", "low", "high", "resource"),
)
Index("search_date_resource", search_date.c.resource)
search_string = _clustered(
    "search_string",
    store,
    _int("param"),
    _bytewise("value"),
    _int("resource"),
    key=("param", "value", "resource"),
)

Index("search_string_resource", search_string.c.resource)

# --- work --------------------------------------------------------------------------------

_clustered(
    "lease",
    store,
    _text("log"),
    _text("partition"),
    _int("cursor"),
    _int("token"),
    _text("holder", null=True),
    _int("expires"),
    key=("log", "partition"),
)
_clustered("holder", store, _text("log"), _text("name"), _int("expires"), key=("log", "name"))

inbox_exception = Table(
    "inbox_exception", store, _key("entry"), _text("state"), _int("count"), _text("issues")
)
Index("inbox_exception_state", inbox_exception.c.state, inbox_exception.c.entry)

outbox = Table(
    "outbox",
    store,
    _key("id"),
    _text("partition"),
    _int("lane"),
    _text("form"),
    _text("what"),
    _int("version"),
    _text("cause"),
    _text("after", null=True),  # lanes, separated by blanks
    _text("notice", null=True),
)
Index("outbox_partition", outbox.c.partition, outbox.c.id)

# Deliveries that were tried in vain, or held: a row until they are sent.
outbox_exception = Table(
    "outbox_exception",
    store,
    _key("id"),
    _int("spot"),  # position << 20 | ordinal
    _text("partition"),
    _int("lane"),
    _text("state"),
    _int("attempts"),
    _int("not_before", null=True),
    _text("category", null=True),
    _int("status", null=True),
    _text("text", null=True),
    _text("because", null=True),
)
Index("outbox_exception_state", outbox_exception.c.state, outbox_exception.c.id)
Index(
    "outbox_exception_open",
    outbox_exception.c.partition,
    outbox_exception.c.spot,
    sqlite_where=text("state IN ('delayed', 'blocked', 'dead')"),
    postgresql_where=text("state IN ('delayed', 'blocked', 'dead')"),
)

Table(
    "outbox_receipt",
    store,
    _key("id"),
    _int("at"),
    _int("attempts"),
    _text("status"),
    _text("message", null=True),
)

Table(
    "destination",
    store,
    Column("name", Text, primary_key=True),
    _small("paused"),
    _text("because", null=True),
    _int("since"),
)

# What messages were mapped by: the files of each set, packed, for `segue explain`.
Table("mapping_set", store, Column("digest", Text, primary_key=True), _blob("files"))

TABLES = {"journal": journal, "store": store}
