"""The resources that meet a query, one after the other.

What the index cannot tell is read from the bodies of the candidates that its conditions
leave, in creation order and in batches.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from segue.fhir.canonical import loads
from segue.fhir.search.conditions import (
    ChainCondition,
    Condition,
    EvaluatedCondition,
    HasCondition,
    IndexCondition,
    MarkedCondition,
    Query,
)
from segue.fhir.search.parameters import Parameter
from segue.model.identity import ResourceKey
from segue.store.dialects import Row, Session
from segue.store.packing import unpack
from segue.store.search_chains import Chains
from segue.store.search_conditions import Sql, joined
from segue.store.search_order import POSITION, Cursor, after, by_old_place, direction, sort_key
from segue.store.search_plan import INDEXED, Candidate, Filter, Plan, kept, planned

DONE = 1 << 62
"""`counter.next` of a parameter's mark once every resource has its rows."""

PK = 2
"""Where the number of the resource stands in a row."""

_BATCH = 200
_LARGEST = 2_000


class Walker:
    """Walks the matches of queries in one snapshot."""

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self.session = session
        self._chains = Chains(session, self)
        self._marks: frozenset[str] | None = None

    def names(self, query: Query) -> tuple[list[ResourceKey], bool]:
        """The first matches in creation order, without their bodies; whether there are more.

        Args:
            query: all of its conditions are indexed; it has neither cursor nor order.
        """
        plan = self.plan(query)
        rows = self.session.rows(
            f"SELECT r.type, r.id {plan.source[0]} {plan.where[0]} ORDER BY {plan.pk} LIMIT ?",
            [*plan.params, query.count + 1],
        )
        return [ResourceKey(*row) for row in rows[: query.count]], len(rows) > query.count

    def first(self, query: Query, most: int) -> list[ResourceKey]:
        """The first matches in creation order, however many bodies that takes."""
        return [ResourceKey(row[0], row[1]) for row in self.matches(query, most)]

    def reading(
        self, type_: str, name: str, test: Callable[[dict[str, Any]], bool]
    ) -> Iterator[ResourceKey]:
        """The resources of a type whose bodies meet a test, in creation order."""
        query = Query(type_, (EvaluatedCondition(name, test),))
        for row in self.matches(query, None):
            yield ResourceKey(row[0], row[1])

    def matches(self, query: Query, most: int | None) -> Iterator[Row]:
        """Matches in creation order, unbounded."""
        plan = self.plan(replace(query, sort=(), cursor=None))
        found = 0
        size = _BATCH if plan.filters or most is None else max(most, 1)
        for chosen, _ in self.batches(plan, 0, size):
            for row in chosen:
                if most is not None and found >= most:
                    return
                found += 1
                yield row

    def batches(
        self, plan: Plan, after_pk: int, size: int = _BATCH
    ) -> Iterator[tuple[list[Row], Sequence[Row]]]:
        """Batches in creation order: what is kept, and what was read."""
        while True:
            cursor = Cursor(0, after_pk, ()) if after_pk else None
            rows = self.rows(replace(plan, query=_unsorted(plan.query)), cursor, size)
            yield self._filtered(plan, rows), rows
            if len(rows) < size:
                return
            after_pk = rows[-1][PK]
            size = min(2 * size, _LARGEST)

    def _filtered(self, plan: Plan, rows: list[Row]) -> list[Row]:
        if not plan.filters or not rows:
            return rows
        batch: Sequence[Candidate] = [Candidate(row, loads(unpack(row[4]))) for row in rows]
        for one in plan.filters:
            batch = one(batch)
        return [one.row for one in batch]

    # --- planning ------------------------------------------------------------------------

    def plan(self, query: Query) -> Plan:
        """How a query is answered.

        Raises:
            FhirError: 400; an expression of the site's cannot be evaluated.
        """
        indexed: list[IndexCondition] = []
        filters: list[Filter] = []
        for condition in query.conditions:
            found = self._answered(query.type, condition)
            if isinstance(found, INDEXED):
                indexed.append(found)
            else:
                filters.append(found)
        return planned(self.session, query, indexed, filters)

    def _answered(self, type_: str, condition: Condition) -> IndexCondition | Filter:
        match condition:
            case EvaluatedCondition():
                return kept(condition.holds)
            case MarkedCondition(mark, indexed, evaluated):
                return indexed if self._complete(mark) else kept(evaluated.holds)
            case ChainCondition():
                return self._chains.chained(type_, condition)
            case HasCondition():
                return self._chains.pointed_at(type_, condition)
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

    # --- rows ----------------------------------------------------------------------------

    def candidates(self, plan: Plan) -> int:
        """How many rows the database leaves; the filters are still to be asked."""
        # Hashes differ by type, and what was deleted has no rows: no resource need be looked at.
        found = ("FROM search_token WHERE hash = ?", [plan.token])
        if plan.token is None:
            found = (f"{plan.source[0]} {plan.where[0]}", plan.params)
        row = self.session.row(f"SELECT count(*) {found[0]}", found[1])
        return row[0] if row else 0

    def rows(self, plan: Plan, cursor: Cursor | None, most: int) -> list[Row]:
        """Rows (version's seven columns, pk, sort values), in order."""
        query, source, where = plan.query, plan.source, plan.where
        keys = [sort_key(sort) for sort in query.sort]
        named = "".join(f", {sql} AS k{n}" for n, (sql, _) in enumerate(keys))
        key_params = joined(*keys)
        pk = plan.pk
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


def _unsorted(query: Query) -> Query:
    return replace(query, sort=()) if query.sort else query
