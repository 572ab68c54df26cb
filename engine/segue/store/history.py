"""What was written, when and by whom: the versions of resources in commit order."""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Collection, Iterable

from segue.model.identity import ResourceKey
from segue.store.commit import ORDINAL_BITS, of_commit
from segue.store.dialects import Session
from segue.store.listings import Page
from segue.store.packing import unpack_text
from segue.store.records import Change, StoredVersion
from segue.store.versions import ANY, KIND, stored

_ORDINALS = (1 << ORDINAL_BITS) - 1


class History:
    """Queries over one snapshot."""

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self._session = session

    def page(
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
        total = self._session.row(
            f"SELECT count(*) FROM version v {joins}WHERE {' AND '.join(where)}", params
        )
        if before is not None:
            # One number for (position, ordinal), as cursors of the outbox are.
            position, ordinal = before >> ORDINAL_BITS, before & _ORDINALS
            where.append(f"(c.position < ? OR (c.position = ? AND (v.id & {_ORDINALS}) < ?))")
            params += [position, position, ordinal]
        rows = self._session.rows(
            f"{ANY.replace('c.position FROM', 'c.position, v.id FROM')} "
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
        where, params = self._session.among(("resource", "version"), before)
        rows = self._session.rows(
            f"SELECT resource, version FROM version WHERE body IS NULL AND {where}", params
        )
        return {(pk, number + 1) for pk, number in rows}

    def causes(self, key: ResourceKey, limit: int = 100) -> list[int]:
        """Entries of messages that wrote the newest versions of a resource, oldest first."""
        rows = self._session.rows(
            "SELECT s.entry FROM resource r JOIN version v ON v.resource = r.pk "
            f"JOIN step s ON s.id = ((v.id >> {ORDINAL_BITS}) << {ORDINAL_BITS}) + v.step "
            "WHERE r.type = ? AND r.id = ? AND s.entry <> 0 ORDER BY v.version DESC LIMIT ?",
            (*key, limit),
        )
        return sorted({int(row[0]) for row in rows})

    def authors(self, keys: Collection[ResourceKey]) -> dict[ResourceKey, str]:
        """Who began each resource that is there: the source of its first version.

        Of one that was deleted and came back, who brought it back.
        """
        if not keys:
            return {}
        given, params = self._session.given(("type", "id"), list(keys))
        rows = self._session.rows(
            f"{given}SELECT r.type, r.id, s.source FROM given g "
            "CROSS JOIN resource r CROSS JOIN version v "
            f"JOIN step s ON s.id = ((v.id >> {ORDINAL_BITS}) << {ORDINAL_BITS}) + v.step "
            "WHERE r.type = g.type AND r.id = g.id AND v.resource = r.pk AND v.version = "
            "1 + coalesce((SELECT max(d.version) FROM version d "
            "WHERE d.resource = r.pk AND d.body IS NULL), 0)",
            params,
        )
        return {ResourceKey(row[0], row[1]): row[2] for row in rows}

    def changes(self, after: int, limit: int = 500) -> list[Change]:
        """What was committed after a position, in commit order, whole commits only.

        Args:
            after: the last position that was read.
            limit: commits are read until they hold this many versions.
        """
        found: list[Change] = []
        rows = self._session.rows(
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
                    KIND[row[10]],
                )
                for row in self._session.rows(
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
        last = self._session.row(
            "SELECT max(position) FROM "
            "(SELECT position FROM commits WHERE position > ? ORDER BY position LIMIT ?) x",
            (after, limit),
        )
        if last is None or last[0] is None:
            return after, []
        rows = self._session.rows(
            "SELECT r.id FROM commits c "
            f"{self._session.lookup_join('version', 'v', of_commit('v'))} "
            f"{self._session.lookup_join('resource', 'r', 'r.pk = v.resource AND r.type = ?')} "
            "WHERE c.position > ? AND c.position <= ? ORDER BY c.position, v.id",
            (type_, after, last[0]),
        )
        return last[0], [ResourceKey(type_, id_) for (id_,) in dict.fromkeys(rows)]
