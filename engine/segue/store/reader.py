"""Reading the store: everything one `Reader` sees is of one snapshot."""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Collection, Iterable

import msgspec

from segue.model.changes import Head, Kind
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.model.messages import EntryState
from segue.store import packing
from segue.store.commit import KINDS, ORDINAL_BITS
from segue.store.dialects import Row, Session
from segue.store.history import History
from segue.store.leases import lane_cursors
from segue.store.listings import Page
from segue.store.packing import unpack_text
from segue.store.people import People
from segue.store.records import StoredVersion
from segue.store.terms import unpack
from segue.store.versions import ANY, CURRENT, KIND, stored

_META = '{"meta":{'
_SOME = 2_000
"""Rows that are read at once where all of them are."""

_HEAD = (
    "SELECT r.type, r.id, r.pk, r.version, r.content, r.gist, r.terms, r.kind, r.deleted, "
    "r.owner FROM resource r"
)
_GIVEN = (
    "SELECT r.type, r.id, r.pk, v.version, v.body, c.at, c.position FROM given g "
    f"CROSS JOIN resource r CROSS JOIN version v JOIN commits c ON c.tx = v.id >> {ORDINAL_BITS} "
    "WHERE r.type = g.type AND r.id = g.id AND v.resource = r.pk"
)

_GIVEN_TEXTS = (
    "SELECT r.type, r.id, v.version, v.body FROM given g CROSS JOIN resource r "
    "CROSS JOIN version v WHERE r.type = g.type AND r.id = g.id AND v.resource = r.pk"
)


class Reader:
    """Queries over one snapshot; valid inside the `with` that gave it.

    Attributes:
        people: persons and what was said of them. history: versions in commit order.
    """

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self.session = session
        self.people = People(session)
        self.history = History(session)

    def current(self, kind: Kind, after: int = 0, limit: int = 500) -> list[StoredVersion]:
        """Current versions of a kind in order of their numbers, without deleted ones."""
        rows = self.session.rows(
            f"{CURRENT} WHERE r.kind = ? AND r.deleted = 0 AND r.pk > ? ORDER BY r.pk LIMIT ?",
            (KINDS[kind], after, limit),
        )
        return [stored(row) for row in rows]

    def registers(self, types: Collection[str]) -> list[StoredVersion]:
        """All directory resources of these types as they are now."""
        where, params = self.session.among(("r.type",), [(name,) for name in types])
        rows = self.session.rows(
            f"{CURRENT} WHERE {where} AND r.kind = ? AND r.deleted = 0 ORDER BY r.pk",
            [*params, KINDS["directory"]],
        )
        return [stored(row) for row in rows]

    def lane_cursors(self) -> dict[int, int]:
        """Lane of the journal to the last entry of it that is done with."""
        return lane_cursors(self.session)

    def entries_in(self, state: EntryState) -> set[int]:
        """Numbers of the journal entries in a state that is kept in a row."""
        rows = self.session.rows("SELECT entry FROM inbox_exception WHERE state = ?", (state,))
        return {row[0] for row in rows}

    def issues_of(self, entries: Collection[int]) -> dict[int, list[Issue]]:
        """What was wrong with these journal entries; without those that have no issues."""
        if not entries:
            return {}
        where, params = self.session.among(("entry",), [(entry,) for entry in entries])
        rows = self.session.rows(f"SELECT entry, issues FROM inbox_exception WHERE {where}", params)
        return {entry: msgspec.json.decode(text, type=list[Issue]) for entry, text in rows}

    def mapping_files(self, digest: str) -> bytes | None:
        """The files of a mapping set, as they were given to be kept."""
        row = self.session.row("SELECT files FROM mapping_set WHERE digest = ?", (digest,))
        return None if row is None else packing.unpack(row[0])

    def heads_of(self, pks: Collection[int]) -> dict[int, dict[ResourceKey, Head]]:
        """Heads of all resources of each person, deleted ones too."""
        found: dict[int, dict[ResourceKey, Head]] = {pk: {} for pk in pks}
        if pks:
            where, params = self.session.among(("r.owner",), [(pk,) for pk in pks])
            for row in self.session.rows(f"{_HEAD} WHERE {where}", params):
                found[row[9]][ResourceKey(row[0], row[1])] = _head(row)
        return found

    def heads(self, keys: Collection[ResourceKey]) -> dict[ResourceKey, Head]:
        """Heads by key; without those that never were."""
        if not keys:
            return {}
        where, params = self.session.among(("r.type", "r.id"), list(keys))
        rows = self.session.rows(f"{_HEAD} WHERE {where}", params)
        return {ResourceKey(row[0], row[1]): _head(row) for row in rows}

    def bodies(self, keys: Collection[ResourceKey]) -> dict[ResourceKey, StoredVersion]:
        """Current versions by key; deleted ones have no body."""
        if not keys:
            return {}
        given, params = self.session.given(("type", "id"), list(keys))
        rows = self.session.rows(f"{given}{_GIVEN} AND v.version = r.version", params)
        return {found.key: found for found in map(stored, rows)}

    def read(self, type_: str, id_: str) -> StoredVersion | None:
        """The current version, without body where deleted; None where it never was."""
        row = self.session.row(f"{CURRENT} WHERE r.type = ? AND r.id = ?", (type_, id_))
        return stored(row) if row else None

    def register(self, key: ResourceKey) -> tuple[str, tuple[int, str]] | None:
        """The body of a directory resource and its order key; None where there is none."""
        row = self.session.row(
            "SELECT v.body, r.recorded, r.control_id FROM resource r "
            "JOIN version v ON v.resource = r.pk AND v.version = r.version "
            "WHERE r.type = ? AND r.id = ?",
            tuple(key),
        )
        body = unpack_text(row[0]) if row else None
        return None if row is None or body is None else (body, (row[1] or 0, row[2] or ""))

    def clients_with(self, hashes: Collection[int], limit: int) -> list[ResourceKey]:
        """Resources that clients stored and whose index has one of these hashes."""
        if not hashes:
            return []
        where, params = self.session.among(("t.hash",), [(number,) for number in hashes])
        rows = self.session.rows(
            "SELECT DISTINCT r.type, r.id FROM search_token t JOIN resource r ON r.pk = t.resource "
            f"WHERE {where} AND r.kind = ? AND r.deleted = 0 ORDER BY r.type, r.id LIMIT ?",
            [*params, KINDS["client"], limit],
        )
        return [ResourceKey(*row) for row in rows]

    def vread(self, type_: str, id_: str, version: int) -> StoredVersion | None:
        """One version of a resource."""
        row = self.session.row(
            f"{ANY} WHERE r.type = ? AND r.id = ? AND v.version = ?", (type_, id_, version)
        )
        return stored(row) if row else None

    def versions(self, wanted: Iterable[tuple[ResourceKey, int]]) -> list[StoredVersion]:
        """Particular versions, in any order; without those that never were."""
        asked = [(key.type, key.id, version) for key, version in wanted]
        if not asked:
            return []
        given, params = self.session.given(("type", "id", "version"), asked)
        rows = self.session.rows(f"{given}{_GIVEN} AND v.version = g.version", params)
        return [stored(row) for row in rows]

    def texts(self, wanted: Collection[tuple[str, str, int]]) -> dict[tuple[str, str, int], str]:
        """Bodies by (type, id, version), "" of deletions; without what never was."""
        if not wanted:
            return {}
        given, params = self.session.given(("type", "id", "version"), list(wanted))
        rows = self.session.rows(f"{given}{_GIVEN_TEXTS} AND v.version = g.version", params)
        return {row[:3]: unpack_text(row[3]) or "" for row in rows}

    def current_texts(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Current bodies by (type, id); without what was deleted or never was."""
        if not wanted:
            return {}
        given, params = self.session.given(("type", "id"), list(wanted))
        rows = self.session.rows(f"{given}{_GIVEN_TEXTS} AND v.version = r.version", params)
        return {row[:2]: text for row in rows if (text := unpack_text(row[3]))}

    def owned(
        self,
        owners: Collection[int],
        types: Collection[str] = (),
        *,
        since: int | None = None,
        after: int = 0,
        limit: int = 1_000,
    ) -> Page[StoredVersion]:
        """What belongs to persons, as it is now, in the order of its creation.

        Args:
            owners: pks of persons.
            types: only these types; empty: all.
            since: only what was written at or after this instant (µs).
            after: the `next` of the page before.
            limit: how many at most.
        """
        where, params = self.session.among(("r.owner",), [(pk,) for pk in owners])
        if types:
            more, names = self.session.among(("r.type",), [(name,) for name in types])
            where, params = f"{where} AND {more}", [*params, *names]
        if since is not None:
            where, params = f"{where} AND c.at >= ?", [*params, since]
        where = f"{CURRENT} WHERE {where} AND r.deleted = 0"
        total = self.session.row(f"SELECT count(*) FROM ({where}) AS owned", params)
        rows = self.session.rows(
            f"{where} AND r.pk > ? ORDER BY r.pk LIMIT ?", [*params, after, limit + 1]
        )
        items = [stored(row) for row in rows[:limit]]
        following = items[-1].pk if len(rows) > limit and items else None
        return Page(items, following, total[0] if total else 0)

    def metas(self, type_: str | None = None) -> set[str]:
        """The beginnings of current bodies that have a `meta`, each different one once.

        Reads all bodies of the type, some at a time: `{"meta":{…}`.
        """
        where, params = ("", []) if type_ is None else (" AND r.type = ?", [type_])
        found: set[str] = set()
        after = 0
        while True:
            rows = self.session.rows(
                "SELECT r.pk, v.body FROM resource r "
                "JOIN version v ON v.resource = r.pk AND v.version = r.version "
                f"WHERE r.pk > ?{where} ORDER BY r.pk LIMIT ?",
                [after, *params, _SOME],
            )
            bodies = (unpack_text(row[1]) or "" for row in rows)
            found |= {one[: one.find('},"') + 1] for one in bodies if one.startswith(_META)}
            if len(rows) < _SOME:
                return found
            after = rows[-1][0]

    def head_position(self) -> tuple[int, int]:
        """Position and instant (µs) of the last commit."""
        row = self.session.row("SELECT position, at FROM head WHERE id = 1")
        assert row is not None, "the store has no head row"
        return row[0], row[1]

    def sizes(self) -> dict[str, int]:
        """How many rows each kind has: persons, visits, resources and so on."""
        counted = ("person", "visit", "fact", "resource", "version", "outbox", "outbox_exception")
        sizes = {}
        for table in counted:
            row = self.session.row(f"SELECT count(*) FROM {table}")
            sizes[table] = row[0] if row else 0
        return sizes


def _head(row: Row) -> Head:
    return Head(
        row[2],
        row[3],
        row[4],
        row[5] or row[4],
        unpack(row[6]),
        KIND[row[7]],
        bool(row[8]),
        row[9],
    )
