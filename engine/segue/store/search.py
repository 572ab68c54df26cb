"""Pages of what a search finds, sorted, and how many there are.

Paging follows keys, not offsets. In creation order (and by `_id`) a walk over all pages
yields every resource that matched throughout exactly once. Under another `_sort` what
was changed since the first page is shown at its old place, so never twice.

Source: https://hl7.org/fhir/R4/search.html
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from dataclasses import dataclass, replace

from segue.fhir.canonical import loads
from segue.fhir.outcomes import fhir_error
from segue.fhir.search.conditions import Query
from segue.store.commit import ORDINAL_BITS
from segue.store.dialects import Row, Session
from segue.store.packing import unpack
from segue.store.records import StoredVersion
from segue.store.search_order import (
    POSITION,
    Cursor,
    by_old_place,
    compare,
    in_sql,
    read_cursor,
    sorting,
    values,
)
from segue.store.search_plan import Plan
from segue.store.search_walk import PK, Walker
from segue.store.versions import stored

SCANNED = 20_000
"""Bodies that are read for one page; then it ends, full or not, and the next one goes on."""

COUNTED = 2_000
"""Candidates whose bodies are read for a total that nobody insists on."""

SORTED = 20_000
"""Candidates that are sorted by what only their bodies tell."""


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of matches.

    Attributes:
        total: matches on all pages, None where nobody asked.
        next: `_cursor` of the next page, None on the last.
    """

    items: list[StoredVersion]
    total: int | None
    next: str | None


class Searcher:
    """Searches one snapshot.

    Attributes:
        walk: the same snapshot, resource by resource.
    """

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self._session = session
        self.walk = Walker(session)

    def page(self, query: Query) -> SearchPage:
        """One page of matches.

        Raises:
            FhirError: 400; the cursor is not one of ours, or of another search; or so
                many candidates are left that they cannot be sorted from their bodies.
        """
        plan = self.walk.plan(query)
        if query.summary_count:
            return SearchPage([], self._total(plan, "accurate"), None)
        cursor = read_cursor(query)
        if not query.sort and plan.filters:
            return self._scanned(plan, cursor)
        if plan.filters or not in_sql(query.sort):
            return self._sorted(plan, cursor)
        rows = self.walk.rows(plan, cursor, query.count + 1)
        if cursor is not None and by_old_place(query.sort):
            rows += self._changed(plan, cursor)
            rows.sort(key=sorting(query.sort, 7))
        whole = cursor is None and len(rows) <= query.count
        total = len(rows) if whole else self._total(plan, query.total)
        return self._page(plan, rows, cursor, None if query.total == "none" else total)

    def _page(
        self, plan: Plan, rows: list[Row], cursor: Cursor | None, total: int | None
    ) -> SearchPage:
        count = plan.query.count
        following = None
        if len(rows) > count:
            rows = rows[:count]
            position = cursor.position if cursor else self._position()
            last = rows[-1]
            following = str(Cursor(position, last[7], tuple(last[8:])))
        return SearchPage([stored(row[:7]) for row in rows], total, following)

    def _position(self) -> int:
        row = self._session.row("SELECT position FROM head WHERE id = 1")
        return row[0] if row else 0

    def _total(self, plan: Plan, wanted: str) -> int | None:
        if wanted == "none":
            return None
        candidates = self.walk.candidates(plan)
        if not plan.filters:
            return candidates
        if wanted == "affordable" and candidates > COUNTED:
            return None
        return sum(len(kept) for kept, _ in self.walk.batches(plan, 0))

    def _scanned(self, plan: Plan, cursor: Cursor | None) -> SearchPage:
        """A page in creation order of what only the bodies tell.

        A page ends early where too many bodies would have to be read for it.
        """
        query = plan.query
        found: list[Row] = []
        scanned, last, more = 0, cursor.pk if cursor else 0, False
        for kept, rows in self.walk.batches(plan, last):
            found += kept
            scanned += len(rows)
            last = rows[-1][PK] if rows else last
            more = len(found) > query.count or scanned >= SCANNED
            if more:
                break
        total: int | None
        if cursor is None and not more and query.total != "none":
            total = len(found)
        else:
            total = self._total(plan, query.total)
        page = self._page(plan, found, cursor, total)
        if page.next is None and more:
            position = cursor.position if cursor else self._position()
            return replace(page, next=str(Cursor(position, last, ())))
        return page

    def _sorted(self, plan: Plan, cursor: Cursor | None) -> SearchPage:
        """A page of matches that are sorted here, as only their bodies tell their order."""
        query = plan.query
        if self.walk.candidates(plan) > SORTED:
            raise fhir_error(
                "incorrect",
                "too-costly",
                f"more than {SORTED} resources would have to be read to sort them: add a "
                "condition, or sort by _id, _lastUpdated or an indexed date or string",
                "_sort",
            )
        matches: list[Row] = []
        total = 0
        for kept, _ in self.walk.batches(plan, 0):
            total += len(kept)
            for row in kept:
                old: Row | None = (row[4], row[5], row[1])
                if cursor is not None and by_old_place(query.sort) and row[6] > cursor.position:
                    old = self._old(row[PK], cursor.position)
                if old is None or old[0] is None:
                    continue
                keys = (row[PK], *values(query.sort, loads(unpack(old[0])), old[2], old[1]))
                if cursor is None or compare(query.sort, keys, (cursor.pk, *cursor.values)) > 0:
                    matches.append((*row[:7], *keys))
        matches.sort(key=sorting(query.sort, 7))
        return self._page(plan, matches, cursor, None if query.total == "none" else total)

    def _changed(self, plan: Plan, cursor: Cursor) -> list[Row]:
        """Matches that changed since the first page and stood beyond the cursor then."""
        sorts = plan.query.sort
        changed = self._session.rows(
            f"SELECT r.pk {plan.source[0]} {plan.where[0]} AND {POSITION} > ?",
            [*plan.params, cursor.position],
        )
        found: list[Row] = []
        for (pk,) in changed:
            old = self._old(pk, cursor.position)
            if old is None or old[0] is None:
                continue
            keys = (pk, *values(sorts, loads(unpack(old[0])), old[2], old[1]))
            if compare(sorts, keys, (cursor.pk, *cursor.values)) > 0:
                row = self._session.row(
                    "SELECT r.type, r.id, r.pk, v.version, v.body, c.at, c.position "
                    "FROM resource r JOIN version v ON v.resource = r.pk "
                    "AND v.version = r.version JOIN commits c ON c.tx = r.tx WHERE r.pk = ?",
                    (pk,),
                )
                assert row is not None
                found.append((*row, *keys))
        return found

    def _old(self, pk: int, position: int) -> Row | None:
        """Body, instant and id of a resource as they were at a position."""
        return self._session.row(
            "SELECT v.body, c.at, r.id FROM version v "
            f"JOIN commits c ON c.tx = v.id >> {ORDINAL_BITS} "
            "JOIN resource r ON r.pk = v.resource WHERE v.resource = ? "
            "AND c.position <= ? ORDER BY v.version DESC LIMIT 1",
            (pk, position),
        )
