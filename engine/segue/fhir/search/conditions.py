"""A search as plain data: what the store turns into SQL.

Source: FHIR R4 search, https://hl7.org/fhir/R4/search.html

Every condition of a query must hold (AND); the values within a condition are
alternatives (OR). All keys are numbers made by `segue.fhir.search.hashes`, all times
are microseconds UTC, all intervals are half open.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


class Interval(NamedTuple):
    """What a date value asks of an index row (`row_low`, `row_high`).

    ======  =============================================
    prefix  the row matches when
    ======  =============================================
    eq      row_low >= low and row_high <= high
    ne      row_low < low or row_high > high
    gt      row_high > high
    lt      row_low < low
    ge      row_high > high or row_low >= low
    le      row_low < low or row_high <= high
    sa      row_low >= high
    eb      row_high <= low
    ap      row_low < high and row_high > low
    ======  =============================================

    For `_lastUpdated` the row is the instant `at`: row_low = at, row_high = at + 1.
    """

    prefix: Prefix
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class TokenCondition:
    """A token or reference parameter: one of these numbers is among the resource's tokens.

    Attributes:
        any_of: signed 64-bit numbers, sorted, unique; never empty.
        negate: `:not`, no number of `any_of` is among them.
    """

    any_of: tuple[int, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class DateCondition:
    """A date parameter: some row of `parameter` fits one of the intervals."""

    parameter: int
    ranges: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class StringCondition:
    """A string parameter: some row's folded text starts with one of the prefixes."""

    parameter: int
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdCondition:
    """`_id`: the resource has one of these logical ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastUpdatedCondition:
    """`_lastUpdated`: the commit instant of the current version fits one of the intervals."""

    ranges: tuple[Interval, ...]


Condition = TokenCondition | DateCondition | StringCondition | IdCondition | LastUpdatedCondition


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of `_sort`.

    Attributes:
        by: `id`, `lastUpdated`, or the kind of index that `parameter` lives in.
        parameter: number of the date or string parameter; 0 for the first two.
        descending: from the highest; a date then counts by its row_high, else by
            its row_low. Resources without a value come last either way.
    """

    by: Literal["id", "lastUpdated", "date", "string"]
    parameter: int = 0
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=source:parameter[:target]`: what the matches point to.

    The references are read from the matched body with
    `segue.fhir.search.values.references(resource, parameter)`.
    """

    source: str
    parameter: str
    target: str | None = None
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class ReverseInclude:
    """`_revinclude=source:parameter[:target]`: what points to the matches.

    Resources of type `source` with the token
    `reference_hash(source, parameter, "<match type>/<match id>")`.
    """

    source: str
    parameter: str
    target: str | None = None
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search.

    Attributes:
        type: resource type that is searched.
        conditions: all must hold; empty: every resource of the type.
        sort: empty: creation order (pk), which pages exactly.
        count: page size; 0 with `summary_count` asks for the number only.
        summary_count: `_summary=count`: only the total is wanted.
        total: `none` where the client does not want it counted, else `accurate`.
        cursor: opaque continuation made by the store, from `_cursor`.
        elements: top-level elements to keep (`_elements`); empty: all.
        used: the (name, value) pairs that took part, for `link.self`.
        ignored: names of parameters that were not understood.
    """

    type: str
    conditions: tuple[Condition, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = 50
    include: tuple[Include, ...] = ()
    revinclude: tuple[ReverseInclude, ...] = ()
    summary_count: bool = False
    total: Literal["none", "accurate"] = "accurate"
    cursor: str | None = None
    elements: tuple[str, ...] = ()
    used: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
