"""The conditions that the index answers, as SQL on the resource `r`."""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Iterable, Sequence
from typing import Any

from segue.fhir.search.conditions import (
    DateCondition,
    IdCondition,
    IndexCondition,
    Interval,
    LastUpdatedCondition,
    StringCondition,
    TokenCondition,
)
from segue.store.commit import of_commit

_LAST_CHARACTER = "\U0010ffff"

Sql = tuple[str, list[Any]]


def joined(*parts: Sql) -> list[Any]:
    """The parameters of several parts, one after the other."""
    return [value for _, params in parts for value in params]


def both(parts: Sequence[Sql]) -> Sql:
    """All of the parts."""
    return " AND ".join(sql for sql, _ in parts), joined(*parts)


def lookup(type_: str, condition: IndexCondition) -> Sql | None:
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
        case StringCondition(parameter, texts, contains):
            sql, params = _any_text(texts, contains=contains)
            sql = f"SELECT resource FROM search_string WHERE param = ? AND ({sql})"
            return sql, [parameter, *params]
        case IdCondition(ids):
            sql = f"SELECT pk FROM resource WHERE type = ? AND id IN ({_marks(ids)})"
            return sql, [type_, *(ids or [None])]
        case LastUpdatedCondition(ranges):
            sql, params = _any_instant(ranges)
            return (
                "SELECT v.resource FROM commits c CROSS JOIN version v "
                "JOIN resource q ON q.pk = v.resource AND q.version = v.version "
                f"WHERE ({sql}) AND {of_commit('v')}",
                params,
            )


def condition_sql(condition: IndexCondition) -> Sql:
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
        case StringCondition(parameter, texts, contains):
            sql, params = _any_text(texts, contains=contains)
            return (
                "EXISTS (SELECT 1 FROM search_string s WHERE s.resource = r.pk "
                f"AND s.param = ? AND ({sql}))",
                [parameter, *params],
            )
        case IdCondition(ids):
            return f"r.id IN ({_marks(ids)})", list(ids) or [None]
        case LastUpdatedCondition(ranges):
            sql, params = _any_instant(ranges)
            return f"r.tx IN (SELECT c.tx FROM commits c WHERE {sql})", params


def _marks(values: Sequence[Any]) -> str:
    """As many marks as values; nothing is equal to the NULL that stands for none."""
    return ",".join("?" * max(len(values), 1))


def _any_range(ranges: Iterable[Interval], low: str, high: str) -> Sql:
    parts = [_range(one, low, high) for one in ranges]
    return " OR ".join(sql for sql, _ in parts), joined(*parts)


def _range(interval: Interval, low: str, high: str) -> Sql:
    """Source: the table of `segue.fhir.search.conditions.Interval`."""
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
    return " OR ".join(f"({sql})" for sql, _ in parts), joined(*parts)


def _any_text(texts: Iterable[str], *, contains: bool) -> Sql:
    if contains:
        # Both databases know replace(): a text that has lost a part did contain it.
        parts: list[Sql] = [("replace(value, ?, '') <> value", [one]) for one in texts if one]
        parts = parts or [("1 = 1", [])]
    else:
        parts = [("value >= ? AND value < ?", [one, one + _LAST_CHARACTER]) for one in texts]
    return " OR ".join(f"({sql})" for sql, _ in parts), joined(*parts)
