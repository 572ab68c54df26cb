"""What the database does for a search, and what is left to read from bodies.

The condition that the fewest resources meet leads; the others are tested on what it leaves.

Source: https://hl7.org/fhir/R4/search.html
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from segue.fhir.search.conditions import (
    Condition,
    DateCondition,
    IdCondition,
    IndexCondition,
    LastUpdatedCondition,
    Query,
    StringCondition,
    TokenCondition,
)
from segue.store.dialects import Row, Session
from segue.store.search_conditions import Sql, condition_sql, joined, lookup

FEW = 2000
"""A condition that so few rows meet is looked up first; else the type is walked."""

ENOUGH = 100
"""A condition that fewer rows meet is taken at once, by their numbers: no other is counted."""

INDEXED = (IdCondition, TokenCondition, StringCondition, DateCondition, LastUpdatedCondition)
"""What SQL answers, in the order in which it pays to look: cheaper, and mostly fewer, first."""


class Candidate(NamedTuple):
    """A row (version's seven columns, …) and the resource in it."""

    row: Row
    resource: dict[str, Any]


Filter = Callable[[Sequence[Candidate]], Sequence[Candidate]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A query for one snapshot: what the database does, and what is left to do.

    Attributes:
        source: FROM; where: WHERE. filters: what keeps of the rows' bodies those that match.
        token: the hash whose rows are the matches, where the query asks for no more.
    """

    query: Query
    source: Sql
    where: Sql
    filters: tuple[Filter, ...]
    token: int | None = None

    @property
    def params(self) -> list[Any]:
        """The parameters of FROM and WHERE."""
        return joined(self.source, self.where)

    @property
    def pk(self) -> str:
        """The column to sort by for creation order: of the index that is walked."""
        return "t.resource" if self.source[0].startswith("FROM search_token") else "r.pk"


def kept(test: Callable[[dict[str, Any]], bool]) -> Filter:
    """The filter of a test of bodies."""

    def keep(batch: Sequence[Candidate]) -> Sequence[Candidate]:
        return [one for one in batch if test(one.resource)]

    return keep


def planned(
    session: Session, query: Query, indexed: Sequence[IndexCondition], filters: Sequence[Filter]
) -> Plan:
    """FROM and WHERE, with the most selective condition first.

    Args:
        session: with a reading transaction begun.
        query: what is asked.
        indexed: its conditions that SQL answers.
        filters: the others.
    """
    rest = list(indexed)
    first = _fewest(session, query.type, rest)
    source: Sql = ("FROM resource r", [])
    where: list[Sql] = [("r.type = ? AND r.deleted = 0", [query.type])]
    token = None
    walk = next((one for one in rest if _is_one_token(one)), None)
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
    sql: Sql = (f"WHERE {whole}", joined(*where))
    return Plan(query, source, sql, tuple(filters), None if rest else token)


def _fewest(
    session: Session, type_: str, conditions: Sequence[IndexCondition]
) -> tuple[int, Sql, IndexCondition] | None:
    """The condition that the fewest rows meet, as far as it pays to look."""
    counted = []
    for one in sorted(conditions, key=_cost):
        for number, rows in _few(session, type_, one):
            counted.append((number, rows, one))
            if number < ENOUGH:
                return counted[-1]
    return min(counted, key=_number, default=None)


def _few(session: Session, type_: str, condition: IndexCondition) -> list[tuple[int, Sql]]:
    """How many rows meet a condition, counted up to FEW, and SQL for being one of them."""
    rows = lookup(type_, condition)
    if rows is None:
        return []
    found = session.rows(f"{rows[0]} LIMIT {ENOUGH}", rows[1])
    if not found:
        return [(0, ("1 = 0", []))]
    if len(found) < ENOUGH:
        return [(len(found), session.among(("r.pk",), found))]
    counted = session.row(f"SELECT count(*) FROM ({rows[0]} LIMIT {FEW}) x", rows[1])
    return [(counted[0] if counted else 0, (f"r.pk IN ({rows[0]})", rows[1]))]


def _number(found: tuple[int, Sql, IndexCondition]) -> int:
    return found[0]


def _cost(condition: IndexCondition) -> int:
    return INDEXED.index(type(condition))


def _is_one_token(condition: Condition) -> bool:
    return (
        isinstance(condition, TokenCondition)
        and not condition.negate
        and len(condition.any_of) == 1
    )
