"""Reads the parameters of a search into a `Query`.

Source: FHIR R4 search, https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Iterable
from typing import Literal

from segue.fhir.expansion import Expander
from segue.fhir.profiles import definitions
from segue.fhir.search.conditions import Condition, Include, Query, ReverseInclude, Sort
from segue.fhir.search.criteria import MOST_VALUES, Criteria, refused, split
from segue.fhir.search.hashes import parameter_hash
from segue.fhir.search.parameters import parameter, parameters_of, types
from segue.fhir.subset import SUMMARIES

__all__ = ["lock_number", "parse"]

_DEEPEST = 5
_MOST = 100
"""Conditions of a search, and inclusions; of a sort a tenth of that."""

_TRANSPORT = ("_format", "_pretty", "fhirVersion")
"""Parameters about the answer's form; whoever answers reads them."""


def parse(
    type_: str,
    pairs: Iterable[tuple[str, str]],
    *,
    strict: bool = False,
    base: str | None = None,
    default_count: int = 50,
    most: int = 1_000,
    expander: Expander | None = None,
) -> Query:
    """Read the parameters of a search.

    Args:
        type_: resource type that is searched.
        pairs: decoded names and values, in the order they were sent.
        strict: `Prefer: handling=strict`: a parameter that is not known is an error,
            else it is named in `ignored`.
        base: our own base URL, for references that are sent with it.
        default_count: page size where `_count` is not sent.
        most: largest page size; more is cut to it.
        expander: knows the value sets and code systems that modifiers may name.

    Raises:
        FhirError: 400; a value, a modifier or a prefix that cannot be honoured. To leave
            those out would answer with more than was asked for.

    >>> parse("Task", [("status", "requested,accepted"), ("colour", "red")]).ignored
    ('colour',)
    """
    parser = _Parser(
        type_, strict, base, default_count, most, expander or Expander(definitions(), _none), 0
    )
    return parser.parse(pairs)


def lock_number(query: Query) -> int:
    """Number to lock on while a conditional create looks and writes."""
    return parameter_hash(query.type, repr(sorted(query.used)))


def _none(_type: str, _url: str) -> None:
    """Finds nothing: without a store only shipped value sets are known."""


class _Parser:
    def __init__(
        self,
        type_: str,
        strict: bool,
        base: str | None,
        default_count: int,
        most: int,
        expander: Expander,
        depth: int,
    ) -> None:
        self.type = type_
        self.strict = strict
        self.base = base
        self.most = most
        self.expander = expander
        self.depth = depth
        self.criteria = Criteria(type_, self._chained, base, expander)
        self.count = default_count
        self.sort: tuple[Sort, ...] = ()
        self.include: list[Include] = []
        self.revinclude: list[ReverseInclude] = []
        self.summary_count = False
        self.total: Literal["none", "affordable", "accurate"] = "affordable"
        self.cursor: str | None = None
        self.elements: tuple[str, ...] = ()
        self.ignored: list[str] = []

    def parse(self, pairs: Iterable[tuple[str, str]]) -> Query:
        conditions: list[Condition] = []
        used = []
        for name, value in pairs:
            if name in _TRANSPORT:
                continue
            if "\x00" in name or "\x00" in value:
                raise refused("", "a parameter holds a NUL character")
            if not value.strip():
                self._ignore(name)
                continue
            if not self._control(name, value):
                found = self.criteria.read(name, value)
                if found is None:
                    self._ignore(name)
                    continue
                conditions += found
            if name != "_cursor":
                used.append((name, value))
        for count, most in (
            (len(conditions), _MOST),
            (len(self.include) + len(self.revinclude), _MOST),
            (len(self.sort), _MOST // 10),
            (sum(value.count(",") for _, value in used), 2 * MOST_VALUES),
        ):
            if count > most:
                raise refused("", f"the search has {count} parts of a kind, {most} are allowed")
        return Query(
            self.type,
            tuple(conditions),
            self.sort,
            self.count,
            tuple(self.include),
            tuple(self.revinclude),
            self.summary_count,
            self.total,
            self.cursor,
            self.elements,
            tuple(used),
            tuple(self.ignored),
        )

    def _chained(self, type_: str, pairs: list[tuple[str, str]]) -> Query:
        """The search of a chain: nothing in it may be left out."""
        if self.depth >= _DEEPEST:
            raise refused(pairs[0][0], f"a chain has {_DEEPEST} links at most")
        parser = _Parser(type_, True, self.base, 0, self.most, self.expander, self.depth + 1)
        query = parser.parse(pairs)
        if not query.conditions:
            raise refused(pairs[0][0], "a chain ends in a parameter that selects")
        return query

    def _ignore(self, name: str) -> None:
        if self.strict:
            known = ", ".join(p.code for p in parameters_of(self.type))
            raise refused(name, f"{self.type} is not searched by {name}: use one of {known}")
        self.ignored.append(name)

    def _control(self, name: str, value: str) -> bool:
        """Take a parameter that shapes the answer; False where it is none."""
        plain, _, modifier = name.partition(":")
        if plain == "_count":
            if not value.isdecimal():
                raise refused(name, "_count is a whole number")
            self.count = min(int(value), self.most)
            self.summary_count = self.summary_count or self.count == 0
        elif plain == "_sort":
            self.sort = tuple(s for v in split(value, ",") if (s := self._sort(v.strip())))
        elif plain in ("_include", "_revinclude"):
            self._included(name, plain, modifier, value)
        elif plain == "_summary":
            if value not in SUMMARIES:
                raise refused(name, f"_summary is one of {', '.join(SUMMARIES)}")
            self.summary_count = self.summary_count or value == "count"
        elif plain == "_total":
            if value not in ("none", "estimate", "accurate"):
                raise refused(name, "_total is none, estimate or accurate")
            if value == "none":
                self.total = "none"
            else:
                self.total = "accurate" if value == "accurate" else "affordable"
        elif plain == "_elements":
            self.elements = tuple(e.strip() for e in value.split(",") if e.strip())
        elif plain == "_cursor":
            self.cursor = value
        else:
            return False
        return True

    def _sort(self, value: str) -> Sort | None:
        descending = value.startswith("-")
        code = value.lstrip("-")
        if code == "_id":
            return Sort("id", 0, descending)
        if code == "_lastUpdated":
            return Sort("lastUpdated", 0, descending)
        known = parameter(self.type, code)
        if known is None:
            self._ignore("_sort")
            return None
        if known.kind in ("composite", "special"):
            raise refused("_sort", f"{code} has no order: sort by another parameter")
        if known.indexed and not known.mark and known.kind in ("date", "string"):
            by: Literal["date", "string"] = "date" if known.kind == "date" else "string"
            return Sort(by, known.number, descending, known)
        return Sort("value", 0, descending, known)

    def _included(self, name: str, plain: str, modifier: str, value: str) -> None:
        if modifier not in ("", "iterate"):
            raise refused(name, f"{plain} knows the modifier iterate only")
        source, _, rest = value.partition(":")
        code, _, target = (rest or "*").partition(":")
        if target and target not in types():
            raise refused(name, f"{target} is no resource type")
        if source != "*" and code != "*":
            known = parameter(source, code)
            if known is None or known.kind != "reference":
                raise refused(name, f"{plain} is written Type:parameter[:Target], with a reference")
        elif source != "*" and source not in types():
            raise refused(name, f"{source} is no resource type")
        kind = Include if plain == "_include" else ReverseInclude
        found = kind(source, code, target or None, modifier == "iterate")
        if isinstance(found, Include):
            self.include.append(found)
        else:
            self.revinclude.append(found)
