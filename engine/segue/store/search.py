"""Searches of parsed queries: conditions, sorting, pages, included resources.

What the index cannot tell is read from the bodies of the candidates that its conditions
leave, in creation order and in batches.

Paging follows keys, not offsets. In creation order (and by `_id`) a walk over all pages
yields every resource that matched throughout exactly once. Under another `_sort` what
was changed since the first page is shown at its old place, so never twice.

Source: https://hl7.org/fhir/R4/search.html
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from segue.fhir.canonical import loads
from segue.fhir.outcomes import fhir_error
from segue.fhir.search.conditions import (
    ChainCondition,
    Condition,
    DateCondition,
    EvaluatedCondition,
    HasCondition,
    IdCondition,
    IndexCondition,
    LastUpdatedCondition,
    MarkedCondition,
    Query,
    StringCondition,
    TokenCondition,
)
from segue.fhir.search.hashes import reference_hash
from segue.fhir.search.parameters import Parameter
from segue.fhir.search.values import references
from segue.model.identity import ResourceKey
from segue.store.commit import ORDINAL_BITS
from segue.store.dialects import Row, Session
from segue.store.packing import unpack
from segue.store.reader import stored
from segue.store.records import StoredVersion
from segue.store.search_conditions import Sql, condition_sql, joined, lookup
from segue.store.search_merged import merged, with_gone
from segue.store.search_order import (
    POSITION,
    Cursor,
    after,
    by_old_place,
    compare,
    direction,
    in_sql,
    read_cursor,
    sort_key,
    sorting,
    values,
)

FEW = 2000
"""A condition that so few rows meet is looked up first; else the type is walked."""

ENOUGH = 100
"""Where so few rows meet a condition, the others are not counted."""

LINKED = 1000
"""A chain whose end so few resources meet is followed from its end; else from its start."""

SCANNED = 20_000
"""Bodies that are read for one page; then it ends, full or not, and the next one goes on."""

COUNTED = 2_000
"""Candidates whose bodies are read for a total that nobody insists on."""

SORTED = 20_000
"""Candidates that are sorted by what only their bodies tell."""

DONE = 1 << 62
"""`counter.next` of a parameter's mark once every resource has its rows."""

_BATCH = 200
_LARGEST = 2_000
_PK = 2

_INDEX = (IdCondition, TokenCondition, StringCondition, DateCondition, LastUpdatedCondition)


class Candidate(NamedTuple):
    """A row (version's seven columns, …) and the resource in it."""

    row: Row
    resource: dict[str, Any]


Filter = Callable[[Sequence[Candidate]], Sequence[Candidate]]


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


@dataclass(frozen=True, slots=True)
class _Settled:
    """A query for this snapshot: what the database does, and what is left to do.

    Attributes:
        token: the hash whose rows are the matches, where the query asks for no more.
    """

    query: Query
    source: Sql
    where: Sql
    filters: tuple[Filter, ...]
    token: int | None = None

    @property
    def params(self) -> list[Any]:
        return joined(self.source, self.where)

    @property
    def pk(self) -> str:
        """The column to sort by for creation order: of the index that is walked."""
        return "t.resource" if self.source[0].startswith("FROM search_token") else "r.pk"


class Searcher:
    """Searches one snapshot."""

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self.session = session
        self._marks: frozenset[str] | None = None

    def page(self, query: Query) -> SearchPage:
        """One page of matches.

        Raises:
            FhirError: 400; the cursor is not one of ours, or of another search; or so
                many candidates are left that they cannot be sorted from their bodies.
        """
        settled = self._settled(query)
        if query.summary_count:
            return SearchPage([], self._total(settled, "accurate"), None)
        cursor = read_cursor(query)
        if not query.sort and settled.filters:
            return self._scanned(settled, cursor)
        if settled.filters or not in_sql(query.sort):
            return self._sorted(settled, cursor)
        rows = self._rows(settled, cursor, query.count + 1)
        if cursor is not None and by_old_place(query.sort):
            rows += self._changed(settled, cursor)
            rows.sort(key=sorting(query.sort, 7))
        whole = cursor is None and len(rows) <= query.count
        total = len(rows) if whole else self._total(settled, query.total)
        return self._page(settled, rows, cursor, None if query.total == "none" else total)

    def names(self, query: Query) -> tuple[list[ResourceKey], bool]:
        """The first matches in creation order, without their bodies; whether there are more.

        Args:
            query: all of its conditions are indexed; it has neither cursor nor order.
        """
        settled = self._settled(query)
        rows = self.session.rows(
            f"SELECT r.type, r.id {settled.source[0]} {settled.where[0]} "
            f"ORDER BY {settled.pk} LIMIT ?",
            [*settled.params, query.count + 1],
        )
        return [ResourceKey(*row) for row in rows[: query.count]], len(rows) > query.count

    def first(self, query: Query, most: int) -> list[ResourceKey]:
        """The first matches in creation order, however many bodies that takes."""
        return [ResourceKey(row[0], row[1]) for row in self._matches(query, most)]

    def reading(
        self, type_: str, name: str, test: Callable[[dict[str, Any]], bool]
    ) -> Iterator[ResourceKey]:
        """The resources of a type whose bodies meet a test, in creation order."""
        query = Query(type_, (EvaluatedCondition(name, test),))
        for row in self._matches(query, None):
            yield ResourceKey(row[0], row[1])

    def _page(
        self, settled: _Settled, rows: list[Row], cursor: Cursor | None, total: int | None
    ) -> SearchPage:
        count = settled.query.count
        following = None
        if len(rows) > count:
            rows = rows[:count]
            position = cursor.position if cursor else self._position()
            last = rows[-1]
            following = str(Cursor(position, last[7], tuple(last[8:])))
        return SearchPage([stored(row[:7]) for row in rows], total, following)

    def _position(self) -> int:
        row = self.session.row("SELECT position FROM head WHERE id = 1")
        return row[0] if row else 0

    # --- totals --------------------------------------------------------------------------

    def _total(self, settled: _Settled, wanted: str) -> int | None:
        if wanted == "none":
            return None
        candidates = self._candidates(settled)
        if not settled.filters:
            return candidates
        if wanted == "affordable" and candidates > COUNTED:
            return None
        return sum(len(kept) for kept, _ in self._batches(settled, 0))

    def _candidates(self, settled: _Settled) -> int:
        # Hashes differ by type, and what was deleted has no rows: no resource need be looked at.
        found = ("FROM search_token WHERE hash = ?", [settled.token])
        if settled.token is None:
            found = (f"{settled.source[0]} {settled.where[0]}", settled.params)
        row = self.session.row(f"SELECT count(*) {found[0]}", found[1])
        return row[0] if row else 0

    # --- conditions ----------------------------------------------------------------------

    def _settled(self, query: Query) -> _Settled:
        """FROM and WHERE, with the most selective condition first, and what is left."""
        rest: list[IndexCondition] = []
        filters: list[Filter] = []
        for condition in query.conditions:
            found = self._answered(query.type, condition)
            if isinstance(found, _INDEX):
                rest.append(found)
            else:
                filters.append(found)
        first = self._fewest(query.type, rest)
        source: Sql = ("FROM resource r", [])
        where: list[Sql] = [("r.type = ? AND r.deleted = 0", [query.type])]
        token = None
        walk = next((c for c in rest if _is_one_token(c)), None)
        if first is not None and first[0] < FEW:
            where.append(first[1])
            rest.remove(first[2])
        elif isinstance(walk, TokenCondition):
            token = walk.any_of[0]
            source = ("FROM search_token t CROSS JOIN resource r", [])
            where.append(("t.hash = ? AND r.pk = t.resource", [token]))
            rest.remove(walk)
        where += [condition_sql(condition) for condition in rest]
        whole = " AND ".join(f"({sql})" for sql, _ in where)
        return _Settled(
            query,
            source,
            (f"WHERE {whole}", joined(*where)),
            tuple(filters),
            None if rest else token,
        )

    def _fewest(
        self, type_: str, conditions: Sequence[IndexCondition]
    ) -> tuple[int, Sql, IndexCondition] | None:
        """The condition that the fewest rows meet, as far as it pays to look."""
        counted = []
        for one in sorted(conditions, key=_cost):
            for number, rows in self._few(type_, one):
                counted.append((number, rows, one))
                if number < ENOUGH:
                    return counted[-1]
        return min(counted, key=_number, default=None)

    def _few(self, type_: str, condition: IndexCondition) -> list[tuple[int, Sql]]:
        """How many rows meet a condition, counted up to FEW, and SQL for being one of them."""
        rows = lookup(type_, condition)
        if rows is None:
            return []
        found = self.session.rows(f"{rows[0]} LIMIT {ENOUGH}", rows[1])
        if not found:
            return [(0, ("1 = 0", []))]
        if len(found) < ENOUGH:
            return [(len(found), self.session.among(("r.pk",), found))]
        counted = self.session.row(f"SELECT count(*) FROM ({rows[0]} LIMIT {FEW}) x", rows[1])
        return [(counted[0] if counted else 0, (f"r.pk IN ({rows[0]})", rows[1]))]

    def _answered(self, type_: str, condition: Condition) -> IndexCondition | Filter:
        match condition:
            case EvaluatedCondition():
                return _kept(condition.holds)
            case MarkedCondition(mark, indexed, evaluated):
                return indexed if self._complete(mark) else _kept(evaluated.holds)
            case ChainCondition():
                return self._chained(type_, condition)
            case HasCondition():
                return self._pointed_at(type_, condition)
            case _:
                return condition

    def indexed(self, known: Parameter) -> bool:
        """Whether the index answers for a parameter in this store."""
        return known.indexed and (not known.mark or self._complete(known.mark))

    def _complete(self, mark: str) -> bool:
        if self._marks is None:
            rows = self.session.rows(
                "SELECT name FROM counter WHERE substr(name, 1, 6) = 'index:' AND next = ?", (DONE,)
            )
            self._marks = frozenset(name for (name,) in rows)
        return mark in self._marks

    # --- chains --------------------------------------------------------------------------

    def _chained(self, type_: str, chain: ChainCondition) -> IndexCondition | Filter:
        """What names one of the resources that meet the end of the chain."""
        known = chain.parameter
        ends: set[str] = set()
        for query in chain.queries:
            found = self.first(query, LINKED + 1 - len(ends))
            ends.update(key.reference for key in found)
            if len(ends) > LINKED:
                return self._chained_from_start(chain)
        if not ends:
            return IdCondition(())
        ends = with_gone(self.session, ends)
        if self.indexed(known):
            numbers = {reference_hash(type_, known.code, end) for end in ends}
            return TokenCondition(tuple(sorted(numbers)))
        return _kept(lambda resource: not ends.isdisjoint(references(resource, known.code)))

    def _chained_from_start(self, chain: ChainCondition) -> Filter:
        code = chain.parameter.code

        def keep(batch: Sequence[Candidate]) -> Sequence[Candidate]:
            named = [set(references(one.resource, code)) for one in batch]
            now = merged(self.session, {text for refs in named for text in refs})
            named = [{now.get(text, text) for text in refs} | refs for refs in named]
            ends: set[str] = set()
            for query in chain.queries:
                mark = f"{query.type}/"
                ids = {
                    text[len(mark) :] for refs in named for text in refs if text.startswith(mark)
                }
                if ids:
                    among = (IdCondition(tuple(sorted(ids))), *query.conditions)
                    found = self.first(replace(query, conditions=among), len(ids))
                    ends.update(key.reference for key in found)
            return [
                one for one, refs in zip(batch, named, strict=True) if not ends.isdisjoint(refs)
            ]

        return keep

    def _pointed_at(self, type_: str, has: HasCondition) -> IndexCondition | Filter:
        """What one of the resources that meet the query points to."""
        query, code = has.query, has.parameter.code
        most = LINKED + 1 if self.indexed(has.parameter) else None
        rows = list(self._matches(query, most))
        if most is not None and len(rows) > LINKED:
            return self._pointed_at_from_end(type_, has)
        return IdCondition(tuple(sorted(self._survivors(type_, _named(type_, code, rows)))))

    def _survivors(self, type_: str, ids: set[str]) -> set[str]:
        """The same, with the survivors instead of Patients that were merged."""
        if type_ != "Patient" or not ids:
            return ids
        now = merged(self.session, {f"Patient/{one}" for one in ids})
        return {now.get(f"Patient/{one}", one).removeprefix("Patient/") for one in ids}

    def _pointed_at_from_end(self, type_: str, has: HasCondition) -> Filter:
        query, code = has.query, has.parameter.code

        def keep(batch: Sequence[Candidate]) -> Sequence[Candidate]:
            texts = with_gone(self.session, {f"{type_}/{one.row[1]}" for one in batch})
            hashes = {reference_hash(query.type, code, text) for text in texts}
            among = (TokenCondition(tuple(sorted(hashes))), *query.conditions)
            rows = self._matches(replace(query, conditions=among), None)
            ids = self._survivors(type_, _named(type_, code, rows))
            return [one for one in batch if one.row[1] in ids]

        return keep

    # --- walking -------------------------------------------------------------------------

    def _matches(self, query: Query, most: int | None) -> Iterator[Row]:
        """Matches in creation order, unbounded."""
        settled = self._settled(replace(query, sort=(), cursor=None))
        found = 0
        size = _BATCH if settled.filters or most is None else max(most, 1)
        for kept, _ in self._batches(settled, 0, size):
            for row in kept:
                if most is not None and found >= most:
                    return
                found += 1
                yield row

    def _batches(
        self, settled: _Settled, after_pk: int, size: int = _BATCH
    ) -> Iterator[tuple[list[Row], Sequence[Row]]]:
        """Batches in creation order: what is kept, and what was read."""
        while True:
            cursor = Cursor(0, after_pk, ()) if after_pk else None
            rows = self._rows(replace(settled, query=_unsorted(settled.query)), cursor, size)
            yield self._filtered(settled, rows), rows
            if len(rows) < size:
                return
            after_pk = rows[-1][_PK]
            size = min(2 * size, _LARGEST)

    def _filtered(self, settled: _Settled, rows: list[Row]) -> list[Row]:
        if not settled.filters or not rows:
            return rows
        batch: Sequence[Candidate] = [Candidate(row, loads(unpack(row[4]))) for row in rows]
        for one in settled.filters:
            batch = one(batch)
        return [one.row for one in batch]

    def _scanned(self, settled: _Settled, cursor: Cursor | None) -> SearchPage:
        """A page in creation order of what only the bodies tell.

        A page ends early where too many bodies would have to be read for it.
        """
        query = settled.query
        found: list[Row] = []
        scanned, last, more = 0, cursor.pk if cursor else 0, False
        for kept, rows in self._batches(settled, last):
            found += kept
            scanned += len(rows)
            last = rows[-1][_PK] if rows else last
            more = len(found) > query.count or scanned >= SCANNED
            if more:
                break
        total: int | None
        if cursor is None and not more and query.total != "none":
            total = len(found)
        else:
            total = self._total(settled, query.total)
        page = self._page(settled, found, cursor, total)
        if page.next is None and more:
            position = cursor.position if cursor else self._position()
            return replace(page, next=str(Cursor(position, last, ())))
        return page

    def _sorted(self, settled: _Settled, cursor: Cursor | None) -> SearchPage:
        """A page of matches that are sorted here, as only their bodies tell their order."""
        query = settled.query
        if self._candidates(settled) > SORTED:
            raise fhir_error(
                "incorrect",
                "too-costly",
                f"more than {SORTED} resources would have to be read to sort them: add a "
                "condition, or sort by _id, _lastUpdated or an indexed date or string",
                "_sort",
            )
        matches: list[Row] = []
        total = 0
        for kept, _ in self._batches(settled, 0):
            total += len(kept)
            for row in kept:
                old: Row | None = (row[4], row[5], row[1])
                if cursor is not None and by_old_place(query.sort) and row[6] > cursor.position:
                    old = self._old(row[_PK], cursor.position)
                if old is None or old[0] is None:
                    continue
                keys = (row[_PK], *values(query.sort, loads(unpack(old[0])), old[2], old[1]))
                if cursor is None or compare(query.sort, keys, (cursor.pk, *cursor.values)) > 0:
                    matches.append((*row[:7], *keys))
        matches.sort(key=sorting(query.sort, 7))
        return self._page(settled, matches, cursor, None if query.total == "none" else total)

    # --- rows ----------------------------------------------------------------------------

    def _rows(self, settled: _Settled, cursor: Cursor | None, most: int) -> list[Row]:
        """Rows (version's seven columns, pk, sort values), in order."""
        query, source, where = settled.query, settled.source, settled.where
        keys = [sort_key(sort) for sort in query.sort]
        named = "".join(f", {sql} AS k{n}" for n, (sql, _) in enumerate(keys))
        key_params = joined(*keys)
        pk = settled.pk
        inner = f"SELECT {pk} AS pk, r.type, r.id, r.version, r.tx{named} {source[0]} {where[0]}"
        params = [*key_params, *source[1], *where[1]]
        names = "".join(f", x.k{n}" for n in range(len(keys)))
        order = [
            part
            for n, sort in enumerate(query.sort)
            for part in (f"CASE WHEN x.k{n} IS NULL THEN 1 ELSE 0 END", f"x.k{n}{direction(sort)}")
        ]
        if not keys:
            # In creation order the cursor belongs inside, so that an index is followed.
            if cursor:
                inner += f" AND {pk} > ?"
                params.append(cursor.pk)
            inner += f" ORDER BY {pk} LIMIT ?"
            params.append(most)
            outer = ""
        else:
            cut: Sql = ("1 = 1", [])
            if cursor:
                cut = after(query.sort, cursor)
                if by_old_place(query.sort):
                    inner += f" AND {POSITION} <= ?"
                    params.append(cursor.position)
            inner = f"SELECT * FROM ({inner}) x WHERE {cut[0]} "
            inner += f"ORDER BY {', '.join([*order, 'x.pk'])} LIMIT ?"
            params += [*cut[1], most]
            outer = ", ".join(order) + ", "
        return self.session.rows(
            "SELECT x.type, x.id, x.pk, v.version, v.body, c.at, c.position, x.pk"
            f"{names} FROM ({inner}) x JOIN version v ON v.resource = x.pk "
            f"AND v.version = x.version JOIN commits c ON c.tx = x.tx ORDER BY {outer}x.pk",
            params,
        )

    def _changed(self, settled: _Settled, cursor: Cursor) -> list[Row]:
        """Matches that changed since the first page and stood beyond the cursor then."""
        sorts = settled.query.sort
        changed = self.session.rows(
            f"SELECT r.pk {settled.source[0]} {settled.where[0]} AND {POSITION} > ?",
            [*settled.params, cursor.position],
        )
        found: list[Row] = []
        for (pk,) in changed:
            old = self._old(pk, cursor.position)
            if old is None or old[0] is None:
                continue
            keys = (pk, *values(sorts, loads(unpack(old[0])), old[2], old[1]))
            if compare(sorts, keys, (cursor.pk, *cursor.values)) > 0:
                row = self.session.row(
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
        return self.session.row(
            "SELECT v.body, c.at, r.id FROM version v "
            f"JOIN commits c ON c.tx = v.id >> {ORDINAL_BITS} "
            "JOIN resource r ON r.pk = v.resource WHERE v.resource = ? "
            "AND c.position <= ? ORDER BY v.version DESC LIMIT 1",
            (pk, position),
        )


def _unsorted(query: Query) -> Query:
    return replace(query, sort=()) if query.sort else query


def _number(found: tuple[int, Sql, IndexCondition]) -> int:
    return found[0]


def _cost(condition: IndexCondition) -> int:
    """What comes first is cheaper to count, and mostly leaves less."""
    return _INDEX.index(type(condition))


def _is_one_token(condition: Condition) -> bool:
    return (
        isinstance(condition, TokenCondition)
        and not condition.negate
        and len(condition.any_of) == 1
    )


def _kept(test: Callable[[dict[str, Any]], bool]) -> Filter:
    def keep(batch: Sequence[Candidate]) -> Sequence[Candidate]:
        return [one for one in batch if test(one.resource)]

    return keep


def _named(type_: str, code: str, rows: Iterator[Row] | Sequence[Row]) -> set[str]:
    """Ids of one type that the rows' resources name by a parameter."""
    mark = f"{type_}/"
    return {
        text[len(mark) :]
        for row in rows
        for text in references(loads(unpack(row[4])), code)
        if text.startswith(mark)
    }
