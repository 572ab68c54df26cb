"""A search as plain data: what the store turns into SQL.

Source: FHIR R4 search, https://hl7.org/fhir/R4/search.html

Every condition of a query must hold (AND); the values within a condition are
alternatives (OR). All keys are numbers made by `segue.fhir.search.hashes`, all times
are microseconds UTC, all intervals are half open.

Token, date, string, id and `_lastUpdated` conditions are answered by the store's index.
An `EvaluatedCondition` reads the bodies of what the others leave.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from segue.fhir.fhirpath import FhirPathError
from segue.fhir.outcomes import fhir_error
from segue.fhir.search.parameters import Parameter
from segue.model.changes import SearchTerms

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

    def fits(self, row_low: int, row_high: int) -> bool:
        """Whether a row matches.

        >>> Interval("gt", 10, 20).fits(15, 25), Interval("sa", 10, 20).fits(15, 25)
        (True, False)
        """
        prefix, low, high = self
        match prefix:
            case "eq":
                return row_low >= low and row_high <= high
            case "ne":
                return row_low < low or row_high > high
            case "gt":
                return row_high > high
            case "lt":
                return row_low < low
            case "ge":
                return row_high > high or row_low >= low
            case "le":
                return row_low < low or row_high <= high
            case "sa":
                return row_low >= high
            case "eb":
                return row_high <= low
            case "ap":
                return row_low < high and row_high > low


@dataclass(frozen=True, slots=True)
class TokenCondition:
    """A token or reference parameter: one of these numbers is among the resource's tokens.

    Attributes:
        any_of: signed 64-bit numbers, sorted, unique; never empty.
        negate: `:not`, no number of `any_of` is among them.
    """

    any_of: tuple[int, ...]
    negate: bool = False

    def holds(self, rows: SearchTerms) -> bool:
        """Whether rows of one parameter meet it."""
        return (not set(self.any_of).isdisjoint(rows.tokens)) != self.negate


@dataclass(frozen=True, slots=True)
class DateCondition:
    """A date parameter: some row of `parameter` fits one of the intervals."""

    parameter: int
    ranges: tuple[Interval, ...]

    def holds(self, rows: SearchTerms) -> bool:
        """Whether rows of one parameter meet it."""
        return any(one.fits(low, high) for one in self.ranges for _, low, high in rows.dates)


@dataclass(frozen=True, slots=True)
class StringCondition:
    """A string parameter: some row's folded text starts with one of the prefixes.

    Attributes:
        contains: one of them may stand anywhere in the text.
    """

    parameter: int
    prefixes: tuple[str, ...]
    contains: bool = False

    def holds(self, rows: SearchTerms) -> bool:
        """Whether rows of one parameter meet it."""
        if self.contains:
            return any(one in text for one in self.prefixes for _, text in rows.strings)
        return any(text.startswith(self.prefixes) for _, text in rows.strings)


@dataclass(frozen=True, slots=True)
class IdCondition:
    """`_id`: the resource has one of these logical ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastUpdatedCondition:
    """`_lastUpdated`: the commit instant of the current version fits one of the intervals."""

    ranges: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class EvaluatedCondition:
    """What is read from the body: a parameter without index, or a modifier.

    Attributes:
        name: of the parameter, as it was sent.
        test: whether a resource meets it.
    """

    name: str
    test: Callable[[dict[str, Any]], bool]

    def holds(self, resource: dict[str, Any]) -> bool:
        """Whether a resource meets it.

        Raises:
            FhirError: 400; the expression of a site's parameter cannot be evaluated.
        """
        try:
            return self.test(resource)
        except FhirPathError as error:
            # The expression is the site's; its text holds nothing of a patient.
            raise fhir_error("incorrect", "exception", str(error), self.name) from error


@dataclass(frozen=True, slots=True)
class MarkedCondition:
    """A site's parameter: the index answers once the store has the mark, else the bodies."""

    mark: str
    indexed: TokenCondition | DateCondition | StringCondition
    evaluated: EvaluatedCondition


@dataclass(frozen=True, slots=True)
class ChainCondition:
    """`patient.name=x`: what the reference parameter names meets one of the queries."""

    parameter: Parameter
    queries: tuple["Query", ...]


@dataclass(frozen=True, slots=True)
class HasCondition:
    """`_has:Encounter:patient:status=x`: something that meets the query points here.

    Attributes:
        parameter: the reference of the query's type that points to the resource.
    """

    parameter: Parameter
    query: "Query"


IndexCondition = (
    TokenCondition | DateCondition | StringCondition | IdCondition | LastUpdatedCondition
)
Condition = IndexCondition | EvaluatedCondition | MarkedCondition | ChainCondition | HasCondition


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of `_sort`.

    Attributes:
        by: `id`, `lastUpdated`, the kind of index that the parameter lives in, or
            `value`, which is read from the bodies.
        parameter: number of the date or string parameter; 0 for the others.
        descending: from the highest; a date then counts by its row_high, else by
            its row_low. Resources without a value come last either way.
        known: the parameter.
    """

    by: Literal["id", "lastUpdated", "date", "string", "value"]
    parameter: int = 0
    descending: bool = False
    known: Parameter | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=source:parameter[:target]`: what the matches point to.

    The references are read from the matched body with
    `segue.fhir.search.values.references(resource, parameter)`. A `*` stands for any
    type as source, and for every reference parameter.
    """

    source: str
    parameter: str
    target: str | None = None
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class ReverseInclude:
    """`_revinclude=source:parameter[:target]`: what points to the matches.

    Resources of type `source` whose parameter names `<match type>/<match id>`; `*` as
    for an `Include`.
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
        total: `accurate` where the client insists, `none` where it does not want it,
            else `affordable`: counted where that takes no long reading of bodies.
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
    total: Literal["none", "affordable", "accurate"] = "affordable"
    cursor: str | None = None
    elements: tuple[str, ...] = ()
    used: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
