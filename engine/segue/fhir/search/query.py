"""Reads the parameters of a search into a `Query`.

Source: FHIR R4 search, https://hl7.org/fhir/R4/search.html
"""

import re
from collections.abc import Iterable
from typing import Literal, cast

from segue.fhir.datetimes import interval
from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.references import parse_reference
from segue.fhir.search.conditions import (
    Condition,
    DateCondition,
    IdCondition,
    Include,
    Interval,
    LastUpdatedCondition,
    Prefix,
    Query,
    ReverseInclude,
    Sort,
    StringCondition,
    TokenCondition,
)
from segue.fhir.search.hashes import parameter_hash, reference_hash, token_hash
from segue.fhir.search.parameters import Parameter, parameter, parameters, parameters_of
from segue.fhir.search.values import folded
from segue.fhir.subset import SUMMARIES

__all__ = [
    "Condition",
    "DateCondition",
    "IdCondition",
    "Include",
    "Interval",
    "LastUpdatedCondition",
    "Prefix",
    "Query",
    "ReverseInclude",
    "Sort",
    "StringCondition",
    "TokenCondition",
    "lock_number",
    "parse",
]

_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_TARGETS_WITHOUT_TYPE = 20
_UNSAFE = ("_has", "_filter", "_query", "_list", "_text", "_content", "_contained")
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

    Raises:
        FhirError: 400; a value, a modifier or a prefix that cannot be honoured. To leave
            those out would answer with more than was asked for.

    >>> parse("Task", [("status", "requested,accepted"), ("colour", "red")]).ignored
    ('colour',)
    """
    return _Parser(type_, strict, base, default_count, most).parse(pairs)


def lock_number(query: Query) -> int:
    """Number to lock on while a conditional create looks and writes."""
    return parameter_hash(query.type, repr(sorted(query.used)))


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark that no backslash precedes; escapes stay."""
    if "\\" not in text:
        return text.split(mark)
    parts, part, escaped = [], "", False
    for char in text:
        if char == mark and not escaped:
            parts.append(part)
            part = ""
        else:
            part += char
        escaped = char == "\\" and not escaped
    return [*parts, part]


def _unescape(text: str) -> str:
    return re.sub(r"\\([\\,|$])", r"\1", text) if "\\" in text else text


class _Parser:
    def __init__(
        self, type_: str, strict: bool, base: str | None, default_count: int, most: int
    ) -> None:
        self.type = type_
        self.strict = strict
        self.base = base
        self.most = most
        self.count = default_count
        self.conditions: list[Condition] = []
        self.sort: tuple[Sort, ...] = ()
        self.include: list[Include] = []
        self.revinclude: list[ReverseInclude] = []
        self.summary_count = False
        self.total: Literal["none", "accurate"] = "accurate"
        self.cursor: str | None = None
        self.elements: tuple[str, ...] = ()
        self.ignored: list[str] = []

    def parse(self, pairs: Iterable[tuple[str, str]]) -> Query:
        used = []
        for name, value in pairs:
            if name in _TRANSPORT:
                continue
            if not value.strip():
                self._ignore(name)
            elif self._control(name, value) or self._condition(name, value):
                if name != "_cursor":
                    used.append((name, value))
            else:
                self._ignore(name)
        return Query(
            self.type,
            tuple(self.conditions),
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

    def _ignore(self, name: str) -> None:
        if self.strict:
            known = ", ".join(p.code for p in parameters_of(self.type))
            raise _refused(name, f"{self.type} is not searched by {name}: use one of {known}")
        self.ignored.append(name)

    def _control(self, name: str, value: str) -> bool:
        """Take a parameter that shapes the answer; False where it is none."""
        plain, _, modifier = name.partition(":")
        if plain == "_count":
            if not value.isdecimal():
                raise _refused(name, "_count is a whole number")
            self.count = min(int(value), self.most)
            self.summary_count = self.summary_count or self.count == 0
        elif plain == "_sort":
            self.sort = tuple(s for v in _split(value, ",") if (s := self._sort(v.strip())))
        elif plain in ("_include", "_revinclude"):
            self._included(name, plain, modifier, value)
        elif plain == "_summary":
            if value not in SUMMARIES:
                raise _refused(name, f"_summary is one of {', '.join(SUMMARIES)}")
            self.summary_count = self.summary_count or value == "count"
        elif plain == "_total":
            if value not in ("none", "estimate", "accurate"):
                raise _refused(name, "_total is none, estimate or accurate")
            self.total = "none" if value == "none" else "accurate"
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
        if known.kind == "date":
            return Sort("date", known.number, descending)
        if known.kind == "string":
            return Sort("string", known.number, descending)
        raise _refused(
            "_sort", f"{code} cannot be sorted by: use _id, _lastUpdated, a date or a string"
        )

    def _included(self, name: str, plain: str, modifier: str, value: str) -> None:
        if modifier not in ("", "iterate"):
            raise _refused(name, f"{plain} knows the modifier iterate only")
        source, _, rest = value.partition(":")
        code, _, target = rest.partition(":")
        known = parameter(source, code)
        if known is None or known.kind != "reference":
            raise _refused(
                name, f"{plain} is written Type:parameter[:Target], with an indexed reference"
            )
        kind = Include if plain == "_include" else ReverseInclude
        found = kind(source, code, target or None, modifier == "iterate")
        if isinstance(found, Include):
            self.include.append(found)
        else:
            self.revinclude.append(found)

    def _condition(self, name: str, value: str) -> bool:
        """Take a parameter that selects; False where it is not known."""
        code, _, modifier = name.partition(":")
        values = [v for v in _split(value, ",") if v]
        if code in ("_id", "_lastUpdated"):
            if modifier:
                raise _refused(name, f"{code} takes no modifier")
            if code == "_id":
                self.conditions.append(IdCondition(tuple(dict.fromkeys(values))))
            else:
                ranges = tuple(_range(name, v) for v in values)
                self.conditions.append(LastUpdatedCondition(ranges))
            return True
        if code in ("_tag", "_security"):
            self._token(name, code, modifier, values, systemless=False)
            return True
        head, dot, _ = code.partition(".")
        if code in _UNSAFE or (dot and parameter(self.type, head)):
            raise _refused(name, f"{name}: chains, _has and text search are not supported")
        known = parameter(self.type, code)
        if known is None:
            return False
        if known.kind == "reference":
            self._reference(name, known, modifier, values)
        elif known.kind in ("token", "uri"):
            systemless = known.kind == "uri" or known.systemless
            self._token(name, code, modifier, values, systemless=systemless)
        elif modifier:
            raise _refused(name, f"{code} takes no modifier {modifier} here")
        elif known.kind == "date":
            ranges = tuple(_range(name, v) for v in values)
            self.conditions.append(DateCondition(known.number, ranges))
        else:
            prefixes = tuple(dict.fromkeys(folded(_unescape(v)) for v in values))
            self.conditions.append(StringCondition(known.number, prefixes))
        return True

    def _token(
        self, name: str, code: str, modifier: str, values: list[str], *, systemless: bool
    ) -> None:
        if modifier not in ("", "not"):
            raise _refused(name, f"{code} knows the modifier not only, not {modifier}")
        numbers = []
        for value in values:
            parts = [_unescape(part) for part in _split(value, "|")]
            if systemless:
                # The system of a code element is known to all and stored by nobody.
                numbers.append(token_hash(self.type, code, None, parts[-1]))
            elif len(parts) == 1:
                numbers.append(token_hash(self.type, code, None, parts[0]))
            elif parts[1]:
                numbers.append(token_hash(self.type, code, parts[0], "|".join(parts[1:])))
            else:
                raise _refused(name, f"{code}: a system without a code is not supported")
        self.conditions.append(TokenCondition(_numbers(numbers), modifier == "not"))

    def _reference(self, name: str, known: Parameter, modifier: str, values: list[str]) -> None:
        known_types = {type_ for type_, _ in parameters()}
        if modifier and modifier not in known_types:
            raise _refused(name, f"{known.code} knows a resource type as modifier only")
        numbers = []
        for raw in values:
            value = _unescape(raw)
            if known.paths[0].datatype != "Reference":
                numbers.append(token_hash(self.type, known.code, None, value))
                continue
            for text in self._targets(name, known, modifier, value):
                numbers.append(reference_hash(self.type, known.code, text))
        self.conditions.append(TokenCondition(_numbers(numbers)))

    def _targets(self, name: str, known: Parameter, modifier: str, value: str) -> Iterable[str]:
        if value.startswith(("http://", "https://")) and self.base:
            value = value.removeprefix(self.base.rstrip("/") + "/")
        if "/" in value or ":" in value:
            key = parse_reference(value) if ":" not in value else None
            return (key.reference if key else value,)
        types = (modifier,) if modifier else known.targets
        if not types or len(types) > _TARGETS_WITHOUT_TYPE:
            raise _refused(name, f"{known.code} may point to many types: write Type/id")
        return [f"{type_}/{value}" for type_ in types]


def _numbers(numbers: list[int]) -> tuple[int, ...]:
    return tuple(sorted(set(numbers)))


def _range(name: str, text: str) -> Interval:
    prefix, value = text[:2], text[2:]
    if prefix not in _PREFIXES:
        prefix, value = "eq", text
    try:
        # A plus sign that was not encoded arrives as a space.
        low, high = interval(value.strip().replace(" ", "+"))
    except ValueError:
        message = f"{name}: not a FHIR date; write YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz"
        raise _refused(name, message) from None
    if prefix == "ap":
        low, high = low - (high - low), high + (high - low)
    return Interval(cast("Prefix", prefix), low, high)


def _refused(name: str, text: str) -> FhirError:
    return fhir_error("incorrect", "not-supported", text, name)
