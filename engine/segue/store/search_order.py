"""The order of a search's matches, and the cursor that says where a page ended."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from segue.fhir.outcomes import fhir_error
from segue.fhir.search.amounts import bounds
from segue.fhir.search.conditions import Query, Sort
from segue.fhir.search.matching import codes_of
from segue.fhir.search.values import folded, references, rows_of, terms, values_of
from segue.store.search_conditions import Sql, both, joined

POSITION = "(SELECT c.position FROM commits c WHERE c.tx = r.tx)"
_AT = "(SELECT c.at FROM commits c WHERE c.tx = r.tx)"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: sort values, pk, and the position of the first page."""

    position: int
    pk: int
    values: tuple[Any, ...]

    def __str__(self) -> str:
        text = json.dumps([self.position, self.pk, *self.values], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(query: Query) -> Cursor | None:
    """The cursor of a query; None on the first page.

    Raises:
        FhirError: 400; it is none of ours, or of another search.
    """
    if query.cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
        position, pk, *values = json.loads(text)
        fits = len(values) == len(query.sort) and all(
            type(number) is int and abs(number) < 1 << 63 for number in (pk, position)
        )
        fits = fits and all(map(_comparable, query.sort, values))
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError, RecursionError):
        fits = False
    if not fits:
        raise fhir_error(
            "incorrect", "value", "this page does not belong to this search: start anew", "_cursor"
        )
    return Cursor(position, pk, tuple(values))


def _comparable(sort: Sort, value: Any) -> bool:
    """Whether a sort has such values: a cursor comes from outside."""
    if value is None:
        return sort.by not in ("id", "lastUpdated")
    if sort.by == "value" and sort.known and sort.known.kind in ("number", "quantity"):
        return type(value) in (int, float)
    if sort.by in ("date", "lastUpdated") or (sort.known and sort.known.kind == "date"):
        return type(value) is int and abs(value) < 1 << 63
    return isinstance(value, str)


def by_old_place(sorts: Sequence[Sort]) -> bool:
    """Whether a change can move a match within the order."""
    return any(sort.by != "id" for sort in sorts)


def in_sql(sorts: Sequence[Sort]) -> bool:
    """Whether the database can sort by them."""
    return all(sort.by != "value" for sort in sorts)


def direction(sort: Sort) -> str:
    """The end of an ORDER BY."""
    return " DESC" if sort.descending else ""


def sort_key(sort: Sort) -> Sql:
    """The value that a resource `r` is sorted by."""
    match sort.by:
        case "id":
            return "r.id", []
        case "lastUpdated":
            return _AT, []
        case "date":
            value = "max(s.high)" if sort.descending else "min(s.low)"
            table = "search_date"
        case _:
            value = "max(s.value)" if sort.descending else "min(s.value)"
            table = "search_string"
    return (
        f"(SELECT {value} FROM {table} s WHERE s.resource = r.pk AND s.param = ?)",  # noqa: S608
        [sort.parameter],
    )


def after(sorts: Sequence[Sort], cursor: Cursor) -> Sql:
    """What comes after the cursor: alternatives, one for each key that decides."""
    ways: list[Sql] = []
    same: list[Sql] = []
    for n, (sort, value) in enumerate(zip(sorts, cursor.values, strict=True)):
        if value is None:
            same.append((f"x.k{n} IS NULL", []))
            continue
        sign = "<" if sort.descending else ">"
        ways.append(both([*same, (f"(x.k{n} IS NULL OR x.k{n} {sign} ?)", [value])]))
        same.append((f"x.k{n} = ?", [value]))
    ways.append(both([*same, ("x.pk > ?", [cursor.pk])]))
    return " OR ".join(f"({sql})" for sql, _ in ways), joined(*ways)


def compare(sorts: Sequence[Sort], one: Sequence[Any], other: Sequence[Any]) -> int:
    """Compare (pk, sort values …): negative where the first comes first."""
    for sort, a, b in zip(sorts, one[1:], other[1:], strict=True):
        if a == b:
            continue
        if a is None or b is None:
            return 1 if a is None else -1
        return -1 if (a < b) != sort.descending else 1
    return int(one[0] > other[0]) - int(one[0] < other[0])


def sorting(sorts: Sequence[Sort], first: int) -> Callable[[Sequence[Any]], Any]:
    """The sort key of rows that hold pk and sort values from the column `first` on."""
    return cmp_to_key(lambda one, other: compare(sorts, one[first:], other[first:]))


def values(sorts: Sequence[Sort], resource: dict[str, Any], id_: str, at: int) -> tuple[Any, ...]:
    """The sort values of a version, as the database would give them."""
    return tuple(_value(sort, resource, id_, at) for sort in sorts)


def _value(sort: Sort, resource: dict[str, Any], id_: str, at: int) -> Any:
    pick: Callable[..., Any] = max if sort.descending else min
    if sort.by == "id":
        return id_
    if sort.by == "lastUpdated":
        return at
    if sort.by == "value":
        return pick(_keys(sort, resource), default=None)
    found = rows_of(sort.known, resource) if sort.known else terms(resource)
    if sort.by == "date":
        times = [(low, high) for number, low, high in found.dates if number == sort.parameter]
        return pick((high if sort.descending else low for low, high in times), default=None)
    return pick((text for number, text in found.strings if number == sort.parameter), default=None)


def _keys(sort: Sort, resource: dict[str, Any]) -> list[Any]:
    """What a parameter without index of its own is sorted by."""
    known = sort.known
    assert known is not None, "a sort by value names its parameter"
    match known.kind:
        case "token":
            return [code for _, code in codes_of(known, resource) if code]
        case "date":
            side = 2 if sort.descending else 1
            return [row[side] for row in rows_of(known, resource).dates]
        case "string":
            return [text for _, text in rows_of(known, resource).strings]
        case "number" | "quantity":
            reach = [bounds(value, path.datatype) for value, path in values_of(known, resource)]
            side = 1 if sort.descending else 0
            return [float(one[side]) for one in reach if one and one[side] is not None]  # type: ignore[arg-type]
        case "reference":
            return list(references(resource, known.code))
        case _:
            return [folded(str(value)) for value, _ in values_of(known, resource)]
