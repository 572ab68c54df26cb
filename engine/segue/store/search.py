"""Searches of parsed queries: conditions, sorting, pages, included resources.

Source: https://hl7.org/fhir/R4/search.html

Paging follows keys, not offsets. In creation order (and by `_id`) a walk over all pages
yields every resource that matched throughout exactly once. Under another `_sort` what
was changed since the first page is shown at its old place, so never twice.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from segue.fhir.canonical import loads
from segue.fhir.outcomes import fhir_error
from segue.fhir.references import parse_reference
from segue.fhir.search.hashes import reference_hash
from segue.fhir.search.query import (
    Condition,
    DateCondition,
    IdCondition,
    Interval,
    LastUpdatedCondition,
    Query,
    Sort,
    StringCondition,
    TokenCondition,
)
from segue.fhir.search.values import references, terms
from segue.model.identity import ResourceKey
from segue.store.commit import ORDINAL_BITS
from segue.store.dialects import Row, Session
from segue.store.packing import unpack
from segue.store.reader import Reader, stored
from segue.store.records import StoredVersion

FEW = 2000
"""A condition that so few rows meet is looked up first; else the type is walked."""

MOST_INCLUDED = 1000

_POSITION = "(SELECT c.position FROM commits c WHERE c.tx = r.tx)"
_AT = "(SELECT c.at FROM commits c WHERE c.tx = r.tx)"
_LAST_CHARACTER = "\U0010ffff"

Sql = tuple[str, list[Any]]


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
class _Cursor:
    """Where a page ended: sort values, pk, and the position of the first page."""

    position: int
    pk: int
    values: tuple[Any, ...]

    def __str__(self) -> str:
        text = json.dumps([self.position, self.pk, *self.values], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class Searcher:
    """Searches one snapshot."""

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self._session = session

    def page(self, query: Query) -> SearchPage:
        """One page of matches.

        Raises:
            FhirError: 400; the cursor is not one of ours, or of another search.
        """
        source, where = self._source(query)
        total: int | None = None
        if query.total == "accurate" or query.summary_count:
            row = self._session.row(
                f"SELECT count(*) {source[0]} {where[0]}", _params(source, where)
            )
            total = row[0] if row else 0
        if query.summary_count:
            return SearchPage([], total, None)
        cursor = _read(query)
        rows = self._rows(query, source, where, cursor)
        by_old_place = bool(query.sort) and any(sort.by != "id" for sort in query.sort)
        if cursor is not None and by_old_place:
            rows += self._changed(query, source, where, cursor)
            rows.sort(key=_sorting(query.sort))
        following = None
        if len(rows) > query.count:
            rows = rows[: query.count]
            position = cursor.position if cursor else self._position()
            last = rows[-1]
            following = str(_Cursor(position, last[2], tuple(last[8:])))
        return SearchPage([stored(row[:7]) for row in rows], total, following)

    def _position(self) -> int:
        row = self._session.row("SELECT position FROM head WHERE id = 1")
        return row[0] if row else 0

    # --- conditions ----------------------------------------------------------------------

    def _source(self, query: Query) -> tuple[Sql, Sql]:
        """FROM and WHERE, with the most selective condition first."""
        found = [
            (number, rows, one)
            for one in query.conditions
            for number, rows in self._few(query, one)
        ]
        first = min(found, key=_number, default=None)
        rest = list(query.conditions)
        source: Sql = ("FROM resource r", [])
        where: list[Sql] = [("r.type = ? AND r.deleted = 0", [query.type])]
        walk = next((c for c in rest if _is_one_token(c)), None)
        if first is not None and first[0] < FEW:
            where.append((f"r.pk IN ({first[1][0]})", first[1][1]))
            rest.remove(first[2])
        elif isinstance(walk, TokenCondition):
            source = ("FROM search_token t CROSS JOIN resource r", [])
            where.append(("t.hash = ? AND r.pk = t.resource", [walk.any_of[0]]))
            rest.remove(walk)
        where += [_condition(condition) for condition in rest]
        joined = " AND ".join(f"({sql})" for sql, _ in where)
        return source, (f"WHERE {joined}", [value for _, params in where for value in params])

    def _few(self, query: Query, condition: Condition) -> list[tuple[int, Sql]]:
        """How many rows meet a condition, counted up to FEW, and their resources."""
        rows = _lookup(query.type, condition)
        if rows is None:
            return []
        counted = self._session.row(
            f"SELECT count(*) FROM ({rows[0]} LIMIT {FEW}) x",
            rows[1],
        )
        return [(counted[0] if counted else 0, rows)]

    # --- pages ---------------------------------------------------------------------------

    def _rows(self, query: Query, source: Sql, where: Sql, cursor: _Cursor | None) -> list[Row]:
        """Rows (version's seven columns, pk, sort values) of a page and one more."""
        keys = [_sort_key(sort) for sort in query.sort]
        named = "".join(f", {sql} AS k{n}" for n, (sql, _) in enumerate(keys))
        key_params = [value for _, params in keys for value in params]
        pk = "t.resource" if source[0].startswith("FROM search_token") else "r.pk"
        inner = f"SELECT {pk} AS pk, r.type, r.id, r.version, r.tx{named} {source[0]} {where[0]}"
        params = [*key_params, *source[1], *where[1]]
        names = "".join(f", x.k{n}" for n in range(len(keys)))
        order = [
            part
            for n, sort in enumerate(query.sort)
            for part in (f"CASE WHEN x.k{n} IS NULL THEN 1 ELSE 0 END", f"x.k{n}{_direction(sort)}")
        ]
        if not keys:
            # In creation order the cursor belongs inside, so that an index is followed.
            if cursor:
                inner += f" AND {pk} > ?"
                params.append(cursor.pk)
            inner += f" ORDER BY {pk} LIMIT ?"
            params.append(query.count + 1)
            outer = ""
        else:
            cut: Sql = ("1 = 1", [])
            if cursor:
                cut = _after(query.sort, cursor)
                if any(sort.by != "id" for sort in query.sort):
                    inner += f" AND {_POSITION} <= ?"
                    params.append(cursor.position)
            inner = f"SELECT * FROM ({inner}) x WHERE {cut[0]} "
            inner += f"ORDER BY {', '.join([*order, 'x.pk'])} LIMIT ?"
            params += [*cut[1], query.count + 1]
            outer = ", ".join(order) + ", "
        return self._session.rows(
            "SELECT x.type, x.id, x.pk, v.version, v.body, c.at, c.position, x.pk"
            f"{names} FROM ({inner}) x JOIN version v ON v.resource = x.pk "
            f"AND v.version = x.version JOIN commits c ON c.tx = x.tx ORDER BY {outer}x.pk",
            params,
        )

    def _changed(self, query: Query, source: Sql, where: Sql, cursor: _Cursor) -> list[Row]:
        """Matches that changed since the first page and stood beyond the cursor then."""
        changed = self._session.rows(
            f"SELECT r.pk {source[0]} {where[0]} AND {_POSITION} > ?",
            [*_params(source, where), cursor.position],
        )
        found: list[Row] = []
        for (pk,) in changed:
            old = self._session.row(
                "SELECT v.body, c.at, r.id FROM version v "
                f"JOIN commits c ON c.tx = v.id >> {ORDINAL_BITS} "
                "JOIN resource r ON r.pk = v.resource WHERE v.resource = ? "
                "AND c.position <= ? ORDER BY v.version DESC LIMIT 1",
                (pk, cursor.position),
            )
            if old is None or old[0] is None:
                continue
            values = _old_values(query.sort, old)
            if _order(query.sort, (pk, *values), (cursor.pk, *cursor.values)) > 0:
                row = self._session.row(
                    "SELECT r.type, r.id, r.pk, v.version, v.body, c.at, c.position "
                    "FROM resource r JOIN version v ON v.resource = r.pk "
                    "AND v.version = r.version JOIN commits c ON c.tx = r.tx WHERE r.pk = ?",
                    (pk,),
                )
                assert row is not None
                found.append((*row, pk, *values))
        return found

    # --- included resources --------------------------------------------------------------

    def included(self, query: Query, matches: Sequence[StoredVersion]) -> list[StoredVersion]:
        """What `_include` and `_revinclude` add to a page; each once, no match again."""
        reader = Reader(self._session)
        seen = {match.key for match in matches}
        found: list[StoredVersion] = []
        frontier = list(matches)
        first = True
        while frontier and len(found) < MOST_INCLUDED:
            keys = self._referred(query, frontier, first=first)
            keys |= self._referring(query, frontier, first=first)
            new = sorted(keys - seen)[: MOST_INCLUDED - len(found)]
            seen.update(new)
            bodies = reader.bodies(new)
            frontier = [bodies[k] for k in new if k in bodies and bodies[k].body is not None]
            found += frontier
            first = False
        return found

    def _referred(
        self, query: Query, frontier: Sequence[StoredVersion], *, first: bool
    ) -> set[ResourceKey]:
        rules = [rule for rule in query.include if first or rule.iterate]
        keys: set[ResourceKey] = set()
        for one in frontier:
            wanted = [rule for rule in rules if rule.source == one.key.type]
            if not wanted or one.body is None:
                continue
            resource = loads(one.body)
            for rule in wanted:
                for text in references(resource, rule.parameter):
                    key = parse_reference(text)
                    if key is not None and rule.target in (None, key.type):
                        keys.add(key)
        return keys

    def _referring(
        self, query: Query, frontier: Sequence[StoredVersion], *, first: bool
    ) -> set[ResourceKey]:
        hashes = sorted(
            {
                reference_hash(rule.source, rule.parameter, one.key.reference)
                for rule in query.revinclude
                if first or rule.iterate
                for one in frontier
                if rule.target in (None, one.key.type)
            }
        )
        if not hashes:
            return set()
        where, params = self._session.among(("t.hash",), [(number,) for number in hashes])
        rows = self._session.rows(
            "SELECT r.type, r.id FROM search_token t JOIN resource r ON r.pk = t.resource "
            f"WHERE {where} AND r.deleted = 0 ORDER BY r.pk LIMIT ?",
            [*params, MOST_INCLUDED],
        )
        return {ResourceKey(*row) for row in rows}


def _number(found: tuple[int, Sql, Condition]) -> int:
    return found[0]


def _params(*parts: Sql) -> list[Any]:
    return [value for _, params in parts for value in params]


def _is_one_token(condition: Condition) -> bool:
    return (
        isinstance(condition, TokenCondition)
        and not condition.negate
        and len(condition.any_of) == 1
    )


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


def _lookup(type_: str, condition: Condition) -> Sql | None:
    """The resources that meet a condition, from its index; None where it has none."""
    match condition:
        case TokenCondition(any_of, negate):
            if negate:
                return None
            sql = f"SELECT resource FROM search_token WHERE hash IN ({_marks(any_of)})"
            return sql, list(any_of)
        case DateCondition(parameter, ranges):
            sql, params = _any_range(ranges, "low", "high")
            sql = f"SELECT resource FROM search_date WHERE param = ? AND ({sql})"
            return sql, [parameter, *params]
        case StringCondition(parameter, prefixes):
            sql, params = _any_prefix(prefixes)
            sql = f"SELECT resource FROM search_string WHERE param = ? AND ({sql})"
            return sql, [parameter, *params]
        case IdCondition(ids):
            sql = f"SELECT pk FROM resource WHERE type = ? AND id IN ({_marks(ids)})"
            return sql, [type_, *ids]
        case LastUpdatedCondition(ranges):
            sql, params = _any_instant(ranges)
            return (
                "SELECT v.resource FROM commits c CROSS JOIN version v "
                "JOIN resource q ON q.pk = v.resource AND q.version = v.version "
                f"WHERE ({sql}) AND v.id >= c.tx << {ORDINAL_BITS} "
                f"AND v.id < (c.tx + 1) << {ORDINAL_BITS}",
                params,
            )


def _condition(condition: Condition) -> Sql:
    """A condition on the resource `r`."""
    match condition:
        case TokenCondition(any_of, negate):
            exists = "NOT EXISTS" if negate else "EXISTS"
            return (
                f"{exists} (SELECT 1 FROM search_token s WHERE s.hash IN ({_marks(any_of)}) "
                "AND s.resource = r.pk)",
                list(any_of),
            )
        case DateCondition(parameter, ranges):
            sql, params = _any_range(ranges, "s.low", "s.high")
            return (
                "EXISTS (SELECT 1 FROM search_date s WHERE s.resource = r.pk "
                f"AND s.param = ? AND ({sql}))",
                [parameter, *params],
            )
        case StringCondition(parameter, prefixes):
            sql, params = _any_prefix(prefixes)
            return (
                "EXISTS (SELECT 1 FROM search_string s WHERE s.resource = r.pk "
                f"AND s.param = ? AND ({sql}))",
                [parameter, *params],
            )
        case IdCondition(ids):
            return f"r.id IN ({_marks(ids)})", list(ids)
        case LastUpdatedCondition(ranges):
            sql, params = _any_instant(ranges)
            return f"r.tx IN (SELECT c.tx FROM commits c WHERE {sql})", params


def _any_range(ranges: Iterable[Interval], low: str, high: str) -> Sql:
    parts = [_range(one, low, high) for one in ranges]
    return " OR ".join(sql for sql, _ in parts), _params(*parts)


def _range(interval: Interval, low: str, high: str) -> Sql:
    """Source: the table of `segue.fhir.search.query.Interval`."""
    prefix, start, end = interval
    match prefix:
        case "eq":
            # The second bound follows from the third; it lets an index end the scan.
            return f"({low} >= ? AND {low} < ? AND {high} <= ?)", [start, end, end]
        case "ne":
            return f"({low} < ? OR {high} > ?)", [start, end]
        case "gt":
            return f"{high} > ?", [end]
        case "lt":
            return f"{low} < ?", [start]
        case "ge":
            return f"({high} > ? OR {low} >= ?)", [end, start]
        case "le":
            return f"({low} < ? OR {high} <= ?)", [start, end]
        case "sa":
            return f"{low} >= ?", [end]
        case "eb":
            return f"{high} <= ?", [start]
        case "ap":
            return f"({low} < ? AND {high} > ?)", [end, start]


def _any_instant(ranges: Iterable[Interval]) -> Sql:
    """The same for instants: `low` is `at`, `high` is the microsecond after it."""
    parts = []
    for prefix, start, end in ranges:
        match prefix:
            case "eq" | "ap":
                parts.append(("c.at >= ? AND c.at < ?", [start, end]))
            case "ne":
                parts.append(("c.at < ? OR c.at >= ?", [start, end]))
            case "gt" | "sa":
                parts.append(("c.at >= ?", [end]))
            case "lt" | "eb":
                parts.append(("c.at < ?", [start]))
            case "ge":
                parts.append(("c.at >= ?", [start]))
            case "le":
                parts.append(("c.at < ?", [end]))
    return " OR ".join(f"({sql})" for sql, _ in parts), _params(*parts)


def _any_prefix(prefixes: Iterable[str]) -> Sql:
    parts = [("value >= ? AND value < ?", [one, one + _LAST_CHARACTER]) for one in prefixes]
    return " OR ".join(f"({sql})" for sql, _ in parts), _params(*parts)


# --- sorting -----------------------------------------------------------------------------


def _direction(sort: Sort) -> str:
    return " DESC" if sort.descending else ""


def _sort_key(sort: Sort) -> Sql:
    match sort.by:
        case "id":
            return "r.id", []
        case "lastUpdated":
            return _AT, []
        case "date":
            value = "max(s.high)" if sort.descending else "min(s.low)"
            table = "search_date"
        case "string":
            value = "max(s.value)" if sort.descending else "min(s.value)"
            table = "search_string"
    return (
        f"(SELECT {value} FROM {table} s WHERE s.resource = r.pk AND s.param = ?)",
        [sort.parameter],
    )


def _after(sorts: Sequence[Sort], cursor: _Cursor) -> Sql:
    """What comes after the cursor: alternatives, one for each key that decides."""
    ways: list[Sql] = []
    same: list[Sql] = []
    for n, (sort, value) in enumerate(zip(sorts, cursor.values, strict=True)):
        if value is None:
            same.append((f"x.k{n} IS NULL", []))
            continue
        sign = "<" if sort.descending else ">"
        ways.append(_both([*same, (f"(x.k{n} IS NULL OR x.k{n} {sign} ?)", [value])]))
        same.append((f"x.k{n} = ?", [value]))
    ways.append(_both([*same, ("x.pk > ?", [cursor.pk])]))
    return " OR ".join(f"({sql})" for sql, _ in ways), _params(*ways)


def _both(parts: Sequence[Sql]) -> Sql:
    return " AND ".join(sql for sql, _ in parts), _params(*parts)


def _order(sorts: Sequence[Sort], one: Sequence[Any], other: Sequence[Any]) -> int:
    """Compare (pk, sort values …): negative where the first comes first."""
    for sort, a, b in zip(sorts, one[1:], other[1:], strict=True):
        if a == b:
            continue
        if a is None or b is None:
            return 1 if a is None else -1
        return -1 if (a < b) != sort.descending else 1
    return int(one[0] > other[0]) - int(one[0] < other[0])


def _sorting(sorts: Sequence[Sort]) -> Callable[[Row], Any]:
    """The sort key of page rows."""

    def compare(one: Row, other: Row) -> int:
        return _order(sorts, one[7:], other[7:])

    return cmp_to_key(compare)


def _old_values(sorts: Sequence[Sort], old: Row) -> tuple[Any, ...]:
    body, at, id_ = old
    found = terms(loads(unpack(body)))
    values: list[Any] = []
    for sort in sorts:
        match sort.by:
            case "id":
                values.append(id_)
            case "lastUpdated":
                values.append(at)
            case "date":
                times = [
                    (low, high) for number, low, high in found.dates if number == sort.parameter
                ]
                if sort.descending:
                    values.append(max((high for _, high in times), default=None))
                else:
                    values.append(min((low for low, _ in times), default=None))
            case "string":
                texts = [text for number, text in found.strings if number == sort.parameter]
                pick = max if sort.descending else min
                values.append(pick(texts, default=None))
    return tuple(values)


def _read(query: Query) -> _Cursor | None:
    if query.cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
        position, pk, *values = json.loads(text)
        fits = len(values) == len(query.sort) and isinstance(pk, int) and isinstance(position, int)
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
        fits = False
    if not fits:
        raise fhir_error(
            "incorrect", "value", "this page does not belong to this search: start anew", "_cursor"
        )
    return _Cursor(position, pk, tuple(values))
