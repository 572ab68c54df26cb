"""The index rows of a resource. Runs for every stored version, so it is compiled.

For each resource type the search parameters become a list of (top-level element, closure);
a closure reads the values under its element and adds numbers to three lists.
"""

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from segue.fhir.datetimes import HIGHEST, LOWEST, interval
from segue.fhir.search.hashes import reference_hash, token_hash
from segue.fhir.search.parameters import Parameter, Path, parameter, parameters_of
from segue.model.changes import SearchTerms

__all__ = ["folded", "references", "terms", "token_hash"]

Tokens = list[int]
Dates = list[tuple[int, int, int]]
Strings = list[tuple[int, str]]
Emit = Callable[[Any, Tokens, Dates, Strings], None]

_LONGEST = 100


def terms(resource: dict[str, Any]) -> SearchTerms:
    """The index rows of a resource, sorted and unique.

    >>> terms({"resourceType": "Basic", "id": "a"})
    SearchTerms(tokens=(), dates=(), strings=())
    """
    tokens: Tokens = []
    dates: Dates = []
    strings: Strings = []
    get = resource.get
    for name, emit in _plan(resource["resourceType"]):
        value = get(name)
        if value is not None:
            emit(value, tokens, dates, strings)
    return SearchTerms(
        tuple(sorted(set(tokens))),
        tuple(sorted(set(dates))) if dates else (),
        tuple(sorted(set(strings))) if strings else (),
    )


@lru_cache(maxsize=65_536)
def folded(text: str) -> str:
    """Text as it is compared: without case, accents, outer and doubled spaces.

    >>> folded("  Núñez  García ")
    'nunez garcia'
    """
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(text.casefold().split())[:_LONGEST]


def references(resource: dict[str, Any], code: str) -> list[str]:
    """The relative references that a reference parameter finds, for `_include`.

    >>> references({"resourceType": "Task", "for": {"reference": "Patient/1"}}, "patient")
    ['Patient/1']
    """
    known = parameter(resource["resourceType"], code)
    found: list[str] = []
    for path in known.paths if known else ():
        for value in _values(resource, path.steps):
            text = value.get("reference") if isinstance(value, dict) else None
            key = _relative(text) if isinstance(text, str) else None
            if key and key.startswith(path.only) and key not in found:
                found.append(key)
    return found


def _values(value: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict) and steps[0] in value:
        yield from _values(value[steps[0]], steps[1:])


@lru_cache(maxsize=256)
def _plan(type_: str) -> tuple[tuple[str, Emit], ...]:
    by_name: dict[str, list[tuple[Path, Parameter]]] = {}
    for known in parameters_of(type_):
        for path in known.paths:
            name = path.steps[0].partition("[")[0]
            by_name.setdefault(name, []).append((path, known))
    plan = [(name, _element(found)) for name, found in by_name.items()]
    plan.append(("meta", _meta(type_)))
    return tuple(plan)


def _element(found: list[tuple[Path, Parameter]]) -> Emit:
    codes = {p.code for path, p in found}
    emits = [
        _descend(path.steps[1:], _leaf(path, known), path.steps[0])
        for path, known in found
        # `subject` gives the row of `patient` too.
        if not (known.code == "patient" and "subject" in codes and path.only == "Patient")
    ]
    if len(emits) == 1:
        return emits[0]

    def emit(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        for one in emits:
            one(value, tokens, dates, strings)

    return emit


def _descend(steps: tuple[str, ...], leaf: Emit, first: str) -> Emit:
    if first.endswith("]"):
        return _extension(first[first.index("[") + 1 : -1], steps[0], leaf)
    if not steps:

        def here(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
            if type(value) is list:
                for item in value:
                    # A null keeps a list in step with its extensions.
                    if item is not None:
                        leaf(item, tokens, dates, strings)
            else:
                leaf(value, tokens, dates, strings)

        return here
    name = steps[0]
    below = _descend(steps[1:], leaf, name)

    def deeper(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        for item in value if type(value) is list else (value,):
            inner = item.get(name)
            if inner is not None:
                below(inner, tokens, dates, strings)

    return deeper


def _extension(url: str, name: str, leaf: Emit) -> Emit:
    def emit(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        for item in value:
            if item.get("url") == url and name in item:
                leaf(item[name], tokens, dates, strings)

    return emit


def _leaf(path: Path, known: Parameter) -> Emit:
    """Adds the rows of one value of the path's data type."""
    type_, code = known.type, known.code
    if known.kind == "reference":
        return _reference(type_, code, path)
    if known.kind == "date":
        return _date(known.number, path.datatype)
    if known.kind == "string":
        return _string(known.number, path.datatype)
    if path.datatype == "CodeableConcept":

        def concept(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            for coding in value.get("coding", ()):
                if "code" in coding:
                    tokens += _pair(type_, code, coding.get("system", ""), coding["code"])

        return concept
    if path.datatype in ("Coding", "Identifier"):
        part = "code" if path.datatype == "Coding" else "value"

        def coded(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            if part in value:
                tokens += _pair(type_, code, value.get("system", ""), value[part])

        return coded

    def plain(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        tokens.append(_plain(type_, code, value))

    return plain


@lru_cache(maxsize=200_000)
def _pair(type_: str, code: str, system: str, value: str) -> tuple[int, int]:
    return token_hash(type_, code, system, value), token_hash(type_, code, None, value)


@lru_cache(maxsize=65_536)
def _plain(type_: str, code: str, value: Any) -> int:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return token_hash(type_, code, None, text)


def _relative(text: str) -> str | None:
    """A reference without version; None for one into `contained`."""
    if text.startswith("#"):
        return None
    head, mark, _ = text.partition("/_history/")
    return head if mark else text


def _reference(type_: str, code: str, path: Path) -> Emit:
    only = path.only + "/" if path.only else ""

    def canonical(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        tokens.append(token_hash(type_, code, None, value))
        url, mark, _ = value.partition("|")
        if mark:
            tokens.append(token_hash(type_, code, None, url))

    def literal(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        text = value.get("reference")
        if text is not None and text.startswith(only):
            key = _relative(text)
            if key is not None:
                tokens.append(_reference_number(type_, code, key))

    return literal if path.datatype == "Reference" else canonical


@lru_cache(maxsize=200_000)
def _reference_number(type_: str, code: str, text: str) -> int:
    return reference_hash(type_, code, text)


def _date(number: int, datatype: str) -> Emit:
    def instant(value: Any, _tokens: Tokens, dates: Dates, _strings: Strings) -> None:
        low, high = interval(value)
        dates.append((number, low, high))

    def period(value: Any, _tokens: Tokens, dates: Dates, _strings: Strings) -> None:
        start, end = value.get("start"), value.get("end")
        if start is not None or end is not None:
            low = interval(start)[0] if start is not None else LOWEST
            dates.append((number, low, interval(end)[1] if end is not None else HIGHEST))

    def timing(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        for event in value.get("event", ()):
            instant(event, tokens, dates, strings)
        bounds = value.get("repeat", {}).get("boundsPeriod")
        if bounds is not None:
            period(bounds, tokens, dates, strings)

    return {"Period": period, "Timing": timing, "string": _nothing}.get(datatype, instant)


def _nothing(_value: Any, _tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
    """Free text in place of a date cannot be searched as one."""


_NAME_PARTS = ("family", "given", "prefix", "suffix", "text")
_ADDRESS_PARTS = ("line", "city", "district", "state", "postalCode", "country", "text")


def _string(number: int, datatype: str) -> Emit:
    def plain(value: Any, _tokens: Tokens, _dates: Dates, strings: Strings) -> None:
        strings.append((number, folded(value)))

    parts = {"HumanName": _NAME_PARTS, "Address": _ADDRESS_PARTS}.get(datatype, ())

    def structured(value: Any, _tokens: Tokens, _dates: Dates, strings: Strings) -> None:
        for part in parts:
            text = value.get(part)
            if text is None:
                continue
            for one in text if type(text) is list else (text,):
                if one:
                    strings.append((number, folded(one)))

    return structured if parts else plain


def _meta(type_: str) -> Emit:
    def emit(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        for name, code in (("tag", "_tag"), ("security", "_security")):
            for coding in value.get(name, ()):
                if "code" in coding:
                    tokens += _pair(type_, code, coding.get("system", ""), coding["code"])

    return emit
