"""The index rows of a resource. Runs for every stored version, so it is compiled.

For each resource type the search parameters become a list of (top-level element, closure);
a closure reads the values under its element and adds numbers to three lists.
"""

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from segue.fhir.datetimes import HIGHEST, LOWEST, interval
from segue.fhir.search.hashes import parameter_salt, token_hash, value_hash
from segue.fhir.search.parameters import Parameter, Path, parameter, parameters_of
from segue.model.changes import SearchTerms

__all__ = ["folded", "references", "terms", "token_hash"]

Tokens = list[int]
Dates = list[tuple[int, int, int]]
Strings = list[tuple[int, str]]
Emit = Callable[[Any, Tokens, Dates, Strings], None]

_LONGEST = 100
_CODES = 2_048
"""How many codes of a parameter are remembered; few are in use, they come all the time."""


def terms(resource: dict[str, Any]) -> SearchTerms:
    """The index rows of a resource, sorted and unique.

    >>> terms({"resourceType": "Basic", "id": "a"})
    SearchTerms(tokens=(), dates=(), strings=())
    """
    tokens: Tokens = []
    dates: Dates = []
    strings: Strings = []
    plan = _plan(resource["resourceType"])
    # The names that both have, found at once: a type has more parameters than a resource
    # has elements.
    for name in plan.keys() & resource.keys():
        plan[name](resource[name], tokens, dates, strings)
    return SearchTerms(
        tuple(sorted(set(tokens))),
        tuple(sorted(set(dates))) if dates else (),
        tuple(sorted(set(strings))) if strings else (),
    )


@lru_cache(maxsize=8_192)
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
def _plan(type_: str) -> dict[str, Emit]:
    by_name: dict[str, list[tuple[Path, Parameter]]] = {}
    for known in parameters_of(type_):
        for path in known.paths:
            name = path.steps[0].partition("[")[0]
            by_name.setdefault(name, []).append((path, known))
    plan = {name: _element(found) for name, found in by_name.items()}
    return plan | {"meta": _meta(type_)}


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
        return leaf
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
    """Adds the rows of a value of the path's data type, or of a list of them.

    Every leaf goes through the list itself: one call for each element, not two. A null
    keeps a list of primitives in step with its extensions.
    """
    type_, code = known.type, known.code
    if known.kind == "reference":
        return _reference(type_, code, path)
    if known.kind == "date":
        return _date(known.number, path.datatype)
    if known.kind == "string":
        return _string(known.number, path.datatype)
    codes = _Codes(type_, code)
    if path.datatype == "CodeableConcept":

        def concept(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            for one in value if type(value) is list else (value,):
                if "coding" in one:
                    for coding in one["coding"]:
                        if "code" in coding:
                            tokens += codes[coding.get("system", ""), coding["code"]]

        return concept
    if path.datatype == "Coding":

        def coded(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            for one in value if type(value) is list else (value,):
                if "code" in one:
                    tokens += codes[one.get("system", ""), one["code"]]

        return coded
    if path.datatype == "Identifier":
        salt = parameter_salt(type_, code)

        def identifier(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            for one in value if type(value) is list else (value,):
                if "value" in one:
                    text = one["value"]
                    tokens.append(value_hash(f"{one.get('system', '')}|{text}") ^ salt)
                    tokens.append(value_hash(text) ^ salt)

        return identifier

    def plain(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            if one is not None:
                text = ("true" if one else "false") if isinstance(one, bool) else str(one)
                tokens += codes[None, text]

    return plain


class _Codes(dict[tuple[str | None, str], tuple[int, ...]]):
    """(system, code) to the numbers of one parameter's token; filled as they come."""

    def __init__(self, type_: str, parameter: str) -> None:
        self._salt = parameter_salt(type_, parameter)

    def __missing__(self, key: tuple[str | None, str]) -> tuple[int, ...]:
        if len(self) >= _CODES:
            self.clear()
        system, code = key
        alone = value_hash(code) ^ self._salt
        if system is None:
            found: tuple[int, ...] = (alone,)
        else:
            found = (value_hash(f"{system}|{code}") ^ self._salt, alone)
        self[key] = found
        return found


def _relative(text: str) -> str | None:
    """A reference without version; None for one into `contained`."""
    if text.startswith("#"):
        return None
    head, mark, _ = text.partition("/_history/")
    return head if mark else text


def _reference(type_: str, code: str, path: Path) -> Emit:
    only = path.only + "/" if path.only else ""
    salt = parameter_salt(type_, code)
    of_patient = parameter_salt(type_, "patient") if code == "subject" else salt

    def canonical(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            if one is not None:
                tokens.append(value_hash(one) ^ salt)
                url, mark, _ = one.partition("|")
                if mark:
                    tokens.append(value_hash(url) ^ salt)

    def literal(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            text = one.get("reference")
            if text is not None and text.startswith(only):
                if "#" in text or "/_history/" in text:
                    text = _relative(text)
                    if text is None:
                        continue
                # As `reference_hash` does.
                own = of_patient if text.startswith("Patient/") else salt
                tokens.append(value_hash(text) ^ own)

    return literal if path.datatype == "Reference" else canonical


def _date(number: int, datatype: str) -> Emit:
    def instant(value: Any, _tokens: Tokens, dates: Dates, _strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            if one is not None:
                dates.append((number, *interval(one)))

    def period(value: Any, _tokens: Tokens, dates: Dates, _strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            start, end = one.get("start"), one.get("end")
            if start is not None or end is not None:
                low = interval(start)[0] if start is not None else LOWEST
                dates.append((number, low, interval(end)[1] if end is not None else HIGHEST))

    def timing(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            instant(one.get("event", []), tokens, dates, strings)
            bounds = one.get("repeat", {}).get("boundsPeriod")
            if bounds is not None:
                period(bounds, tokens, dates, strings)

    return {"Period": period, "Timing": timing, "string": _nothing}.get(datatype, instant)


def _nothing(_value: Any, _tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
    """Free text in place of a date cannot be searched as one."""


_NAME_PARTS = ("family", "given", "prefix", "suffix", "text")
_ADDRESS_PARTS = ("line", "city", "district", "state", "postalCode", "country", "text")


def _string(number: int, datatype: str) -> Emit:
    def plain(value: Any, _tokens: Tokens, _dates: Dates, strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            if one is not None:
                strings.append((number, folded(one)))

    parts = {"HumanName": _NAME_PARTS, "Address": _ADDRESS_PARTS}.get(datatype, ())

    def structured(value: Any, _tokens: Tokens, _dates: Dates, strings: Strings) -> None:
        for item in value if type(value) is list else (value,):
            for part in parts:
                if part in item:
                    text = item[part]
                    for one in text if type(text) is list else (text,):
                        if one:
                            strings.append((number, folded(one)))

    return structured if parts else plain


def _meta(type_: str) -> Emit:
    kinds = [(name, _Codes(type_, "_" + name)) for name in ("tag", "security")]

    def emit(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        for name, codes in kinds:
            if name in value:
                for coding in value[name]:
                    if "code" in coding:
                        tokens += codes[coding.get("system", ""), coding["code"]]

    return emit
