"""Reading the store: everything one `Reader` sees is of one snapshot."""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Collection, Iterable

import msgspec

from segue.model.changes import Head, Kind
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.model.messages import EntryState
from segue.store import packing
from segue.store.commit import KINDS, ORDINAL_BITS, of_commit
from segue.store.dialects import Row, Session
from segue.store.leases import lane_cursors
from segue.store.listings import Page
from segue.store.packing import unpack_text
from segue.store.records import Change, FactRow, PersonRow, StoredVersion, VisitRow
from segue.store.terms import unpack

_KIND: dict[int, Kind] = {0: "fold", 1: "client", 2: "directory"}
assert {number: name for name, number in KINDS.items()} == _KIND

_META = '{"meta":{'
_SOME = 2_000
"""Rows that are read at once where all of them are."""

_ORDINALS = (1 << ORDINAL_BITS) - 1
_PERSON = "SELECT p.pk, p.key, p.revision, p.state, p.merged_into FROM person p"
_HEAD = (
    "SELECT r.type, r.id, r.pk, r.version, r.content, r.gist, r.terms, r.kind, r.deleted, "
    "r.owner FROM resource r"
)
_FACT = "SELECT f.id, f.entry, f.kind, f.identity, f.visit, f.person, f.stay FROM fact f"
_STORED = (
    "SELECT r.type, r.id, r.pk, v.version, v.body, c.at, c.position FROM resource r "
    "JOIN version v ON v.resource = r.pk {} JOIN commits c ON c.tx = v.id >> 20"
)
_CURRENT = _STORED.format("AND v.version = r.version")
_ANY = _STORED.format("")
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
    """Queries over one snapshot; valid inside the `with` that gave it."""

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self.session = session

    # --- persons -------------------------------------------------------------------------

    def persons_by_identity(self, keys: Collection[str]) -> dict[str, PersonRow]:
        """Identity key to its person; without the keys that nobody has."""
        if not keys:
            return {}
        where, params = self.session.among(("i.key",), [(key,) for key in keys])
        rows = self.session.rows(
            "SELECT i.key, p.pk, p.key, p.revision, p.state, p.merged_into "
            f"FROM identity i JOIN person p ON p.pk = i.person WHERE {where}",
            params,
        )
        return {row[0]: PersonRow(*row[1:]) for row in rows}

    def persons_by_pk(self, pks: Collection[int]) -> dict[int, PersonRow]:
        """Persons by number; without those that are not there."""
        if not pks:
            return {}
        where, params = self.session.among(("p.pk",), [(pk,) for pk in pks])
        rows = self.session.rows(f"{_PERSON} WHERE {where}", params)
        return {row[0]: PersonRow(*row) for row in rows}

    def revisions(self, pks: Collection[int]) -> dict[int, int]:
        """The revision of each of these persons; without those that are not there."""
        if not pks:
            return {}
        where, params = self.session.among(("pk",), [(pk,) for pk in pks])
        return dict(self.session.rows(f"SELECT pk, revision FROM person WHERE {where}", params))

    def identities_of(self, pks: Collection[int]) -> dict[int, list[str]]:
        """Identity keys that point to each person, sorted."""
        found: dict[int, list[str]] = {pk: [] for pk in pks}
        if pks:
            where, params = self.session.among(("person",), [(pk,) for pk in pks])
            for key, pk in self.session.rows(
                f"SELECT key, person FROM identity WHERE {where} ORDER BY key",
                params,
            ):
                found[pk].append(key)
        return found

    def visits_of(self, pks: Collection[int]) -> dict[int, dict[str, VisitRow]]:
        """Visits of each person by visit key; every person asked for is in it."""
        found: dict[int, dict[str, VisitRow]] = {pk: {} for pk in pks}
        if pks:
            where, params = self.session.among(("owner",), [(pk,) for pk in pks])
            for row in self.session.rows(
                f"SELECT key, owner, state FROM visit WHERE {where}",
                params,
            ):
                found[row[1]][row[0]] = VisitRow(*row)
        return found

    def visits(self, keys: Collection[str]) -> dict[str, VisitRow]:
        """Visits by visit key, whoever owns them."""
        if not keys:
            return {}
        where, params = self.session.among(("key",), [(key,) for key in keys])
        rows = self.session.rows(f"SELECT key, owner, state FROM visit WHERE {where}", params)
        return {row[0]: VisitRow(*row) for row in rows}

    def visits_numbered(self, number: str) -> list[tuple[str, str]]:
        """(visit key, identity) of facts about a visit, by its key or its bare number.

        Reads all facts where no visit is kept under that number: for people who look,
        not for the hot path.
        """
        # A bare number has no authority before it; LIKE's own signs are looked for as such.
        tail = "%|" + number.replace("^", "^^").replace("%", "^%").replace("_", "^_")
        kept = self.session.rows(
            "SELECT key FROM visit WHERE key = ? OR key LIKE ? ESCAPE '^'", (number, tail)
        )
        keys = [row[0] for row in kept]
        where, params = "visit = ? OR visit LIKE ? ESCAPE '^'", [number, tail]
        if keys:
            where, params = self.session.among(("visit",), [(key,) for key in keys])
        rows = self.session.rows(
            f"SELECT DISTINCT visit, identity FROM fact WHERE {where} ORDER BY 1, 2", params
        )
        return [(row[0], row[1]) for row in rows]

    def facts_of(self, identities: Collection[str]) -> list[FactRow]:
        """All facts about these source identities, in order of entry and id."""
        return self._facts("f.identity", identities)

    def facts_of_entries(self, entries: Collection[int]) -> list[FactRow]:
        """The facts that these journal entries gave."""
        return self._facts("f.entry", entries)

    def facts_beside(self) -> list[FactRow]:
        """The facts that no journal entry gave: statements, receipts, acts; in no order."""
        return [FactRow(*row) for row in self.session.rows(f"{_FACT} WHERE f.entry = 0")]

    def persons(self, after: int = 0, limit: int = 500) -> list[PersonRow]:
        """Persons in order of their numbers, those that were merged away too."""
        rows = self.session.rows(f"{_PERSON} WHERE p.pk > ? ORDER BY p.pk LIMIT ?", (after, limit))
        return [PersonRow(*row) for row in rows]

    def current(self, kind: Kind, after: int = 0, limit: int = 500) -> list[StoredVersion]:
        """Current versions of a kind in order of their numbers, without deleted ones."""
        rows = self.session.rows(
            f"{_CURRENT} WHERE r.kind = ? AND r.deleted = 0 AND r.pk > ? ORDER BY r.pk LIMIT ?",
            (KINDS[kind], after, limit),
        )
        return [stored(row) for row in rows]

    def registers(self, types: Collection[str]) -> list[StoredVersion]:
        """All directory resources of these types as they are now."""
        where, params = self.session.among(("r.type",), [(name,) for name in types])
        rows = self.session.rows(
            f"{_CURRENT} WHERE {where} AND r.kind = ? AND r.deleted = 0 ORDER BY r.pk",
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

    def _facts(self, column: str, values: Collection[str] | Collection[int]) -> list[FactRow]:
        if not values:
            return []
        where, params = self.session.among((column,), [(value,) for value in values])
        rows = self.session.rows(f"{_FACT} WHERE {where} ORDER BY f.entry, f.id", params)
        return [FactRow(*row) for row in rows]

    def due(self, now: int, limit: int = 200) -> list[tuple[int, int]]:
        """Persons whose care changes by time alone at or before `now`: (pk, due µs)."""
        rows = self.session.rows(
            "SELECT person, due FROM timer WHERE due <= ? ORDER BY due, person LIMIT ?",
            (now, limit),
        )
        return [(pk, due) for pk, due in rows]

    def next_due(self) -> int | None:
        """The earliest timer, microseconds UTC."""
        row = self.session.row("SELECT min(due) FROM timer")
        return row[0] if row else None

    # --- resources -----------------------------------------------------------------------

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
        row = self.session.row(f"{_CURRENT} WHERE r.type = ? AND r.id = ?", (type_, id_))
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

    def causes(self, key: ResourceKey, limit: int = 100) -> list[int]:
        """Entries of messages that wrote the newest versions of a resource, oldest first."""
        rows = self.session.rows(
            "SELECT s.entry FROM resource r JOIN version v ON v.resource = r.pk "
            f"JOIN step s ON s.id = ((v.id >> {ORDINAL_BITS}) << {ORDINAL_BITS}) + v.step "
            "WHERE r.type = ? AND r.id = ? AND s.entry <> 0 ORDER BY v.version DESC LIMIT ?",
            (*key, limit),
        )
        return sorted({int(row[0]) for row in rows})

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
            f"{_ANY} WHERE r.type = ? AND r.id = ? AND v.version = ?", (type_, id_, version)
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

    def authors(self, keys: Collection[ResourceKey]) -> dict[ResourceKey, str]:
        """Who began each resource that is there: the source of its first version.

        Of one that was deleted and came back, who brought it back.
        """
        if not keys:
            return {}
        given, params = self.session.given(("type", "id"), list(keys))
        rows = self.session.rows(
            f"{given}SELECT r.type, r.id, s.source FROM given g "
            "CROSS JOIN resource r CROSS JOIN version v "
            f"JOIN step s ON s.id = ((v.id >> {ORDINAL_BITS}) << {ORDINAL_BITS}) + v.step "
            "WHERE r.type = g.type AND r.id = g.id AND v.resource = r.pk AND v.version = "
            "1 + coalesce((SELECT max(d.version) FROM version d "
            "WHERE d.resource = r.pk AND d.body IS NULL), 0)",
            params,
        )
        return {ResourceKey(row[0], row[1]): row[2] for row in rows}

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
        where = f"{_CURRENT} WHERE {where} AND r.deleted = 0"
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

    def history(
        self,
        type_: str | None = None,
        id_: str | None = None,
        *,
        before: int | None = None,
        since: int | None = None,
        span: tuple[int, int] | None = None,
        limit: int = 100,
    ) -> Page[StoredVersion]:
        """Versions in reverse commit order, of a resource, of a type, or of all.

        Source: https://hl7.org/fhir/R4/http.html#history

        Args:
            type_: resource type.
            id_: logical id in it.
            before: the `next` of the page before.
            since: only versions committed at or after this instant (µs).
            span: only versions that were current at some instant of [from, to) (µs).
            limit: how many at most.
        """
        where, params = ["1 = 1"], list[object]()
        for sql, value in (("r.type = ?", type_), ("r.id = ?", id_), ("c.at >= ?", since)):
            if value is not None:
                where.append(sql)
                params.append(value)
        if span is not None:
            where.append(
                "c.at < ? AND NOT EXISTS (SELECT 1 FROM version n JOIN commits d "
                f"ON d.tx = n.id >> {ORDINAL_BITS} WHERE n.resource = v.resource "
                "AND n.version = v.version + 1 AND d.at <= ?)"
            )
            params += [span[1], span[0]]
        # The count leaves out what it does not need: it has to see every version.
        joins = "" if type_ is None else "JOIN resource r ON r.pk = v.resource "
        timeless = since is None and span is None
        joins += "" if timeless else f"JOIN commits c ON c.tx = v.id >> {ORDINAL_BITS} "
        total = self.session.row(
            f"SELECT count(*) FROM version v {joins}WHERE {' AND '.join(where)}", params
        )
        if before is not None:
            # One number for (position, ordinal), as cursors of the outbox are.
            position, ordinal = before >> ORDINAL_BITS, before & _ORDINALS
            where.append(f"(c.position < ? OR (c.position = ? AND (v.id & {_ORDINALS}) < ?))")
            params += [position, position, ordinal]
        rows = self.session.rows(
            f"{_ANY.replace('c.position FROM', 'c.position, v.id FROM')} "
            f"WHERE {' AND '.join(where)} ORDER BY c.position DESC, v.id DESC LIMIT ?",
            [*params, limit + 1],
        )
        items = [stored(row[:7]) for row in rows[:limit]]
        following = None
        if len(rows) > limit and items:
            last = rows[limit - 1]
            following = last[6] << ORDINAL_BITS | last[7] & _ORDINALS
        return Page(items, following, total[0] if total else 0)

    def revived(self, versions: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
        """Those of the versions (pk, number) that came after a deletion."""
        before = [(pk, number - 1) for pk, number in versions if number > 1]
        if not before:
            return set()
        where, params = self.session.among(("resource", "version"), before)
        rows = self.session.rows(
            f"SELECT resource, version FROM version WHERE body IS NULL AND {where}", params
        )
        return {(pk, number + 1) for pk, number in rows}

    def changes(self, after: int, limit: int = 500) -> list[Change]:
        """What was committed after a position, in commit order, whole commits only.

        Args:
            after: the last position that was read.
            limit: commits are read until they hold this many versions.
        """
        found: list[Change] = []
        rows = self.session.rows(
            "SELECT position, tx FROM commits WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        for position, tx in rows:
            first = tx << ORDINAL_BITS
            found += [
                Change(
                    StoredVersion(
                        ResourceKey(row[0], row[1]),
                        row[2],
                        row[3],
                        unpack_text(row[4]),
                        row[5],
                        position,
                    ),
                    row[6],
                    str(row[7]) if row[6] == "entry" else row[8],
                    row[9],
                    _KIND[row[10]],
                )
                for row in self.session.rows(
                    "SELECT r.type, r.id, r.pk, v.version, v.body, c.at, s.kind, s.entry, "
                    "s.ref, s.source, r.kind FROM version v JOIN resource r ON r.pk = v.resource "
                    f"JOIN commits c ON c.tx = v.id >> {ORDINAL_BITS} "
                    f"JOIN step s ON s.id = (c.tx << {ORDINAL_BITS}) + v.step "
                    "WHERE v.id >= ? AND v.id < ? ORDER BY v.id",
                    (first, first + (1 << ORDINAL_BITS)),
                )
            ]
            if len(found) >= limit:
                break
        return found

    def written(self, type_: str, after: int, limit: int) -> tuple[int, list[ResourceKey]]:
        """Resources of a type that were written after a position, each once.

        Args:
            type_: resource type.
            after: the last position that was read.
            limit: how many commits are read at most.

        Returns:
            The last position that was read, and the keys in the order of the writes.
        """
        last = self.session.row(
            "SELECT max(position) FROM "
            "(SELECT position FROM commits WHERE position > ? ORDER BY position LIMIT ?) x",
            (after, limit),
        )
        if last is None or last[0] is None:
            return after, []
        rows = self.session.rows(
            "SELECT r.id FROM commits c "
            f"{self.session.lookup_join('version', 'v', of_commit('v'))} "
            f"{self.session.lookup_join('resource', 'r', 'r.pk = v.resource AND r.type = ?')} "
            "WHERE c.position > ? AND c.position <= ? ORDER BY c.position, v.id",
            (type_, after, last[0]),
        )
        return last[0], [ResourceKey(type_, id_) for (id_,) in dict.fromkeys(rows)]

    # --- sizes ---------------------------------------------------------------------------

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


def stored(row: Row) -> StoredVersion:
    """The version of a row (type, id, pk, version, body, at, position)."""
    type_, id_, pk, version, body, at, position = row
    return StoredVersion(ResourceKey(type_, id_), pk, version, unpack_text(body), at, position)


def _head(row: Row) -> Head:
    return Head(
        row[2],
        row[3],
        row[4],
        row[5] or row[4],
        unpack(row[6]),
        _KIND[row[7]],
        bool(row[8]),
        row[9],
    )
