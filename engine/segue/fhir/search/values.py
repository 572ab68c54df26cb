"""The index rows of a resource. Runs for every stored version, so it is compiled.

For each resource type the search parameters become a list of (top-level element, closure);
a closure reads the values under its element and adds numbers to three lists.
"""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from segue.fhir.datetimes import HIGHEST, LOWEST, interval
from segue.fhir.fhirpath import evaluate
from segue.fhir.search.hashes import coded_hash, parameter_salt, value_hash
from segue.fhir.search.parameters import Kind, Parameter, Path, indexed_of, parameter
from segue.model.changes import SearchTerms

__all__ = ["folded", "forget", "references", "rows_of", "terms", "values_of"]

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
    return _terms(tokens, dates, strings)


def rows_of(known: Parameter, node: dict[str, Any]) -> SearchTerms:
    """The rows that one parameter has, or would have if it were indexed.

    Args:
        known: the parameter, or a part of a composite.
        node: the resource, or the base of the composite.
    """
    tokens: Tokens = []
    dates: Dates = []
    strings: Strings = []
    for name, emit in _emits(known):
        if not name:
            emit(node, tokens, dates, strings)
        elif name in node:
            emit(node[name], tokens, dates, strings)
    return _terms(tokens, dates, strings)


def _terms(tokens: Tokens, dates: Dates, strings: Strings) -> SearchTerms:
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
    for value, path in values_of(known, resource) if known else ():
        if not isinstance(value, dict):
            continue
        text = value.get("reference")
        if path.datatype == "Resource":
            text = f"{value.get('resourceType')}/{value.get('id')}"
        key = _relative(text) if isinstance(text, str) else None
        if key and key.startswith(path.only) and key not in found:
            found.append(key)
    return found


def values_of(known: Parameter, node: dict[str, Any]) -> Iterator[tuple[Any, Path]]:
    """The values that a parameter finds, each with the path that it stands at.

    Raises:
        FhirPathError: the expression of a site's parameter cannot be evaluated.
    """
    for path in known.paths:
        if path.expression:
            for value in evaluate(node, path.expression):
                yield value, path
            continue
        for value in _values(node, path.steps):
            if value is not None:
                yield value, path


def _values(value: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict):
        name, wanted = _step(steps[0])
        if name in value:
            yield from _values(_kept(value[name], wanted), steps[1:])


def _kept(value: Any, wanted: str) -> Any:
    """The items that a filter keeps."""
    if not wanted or not isinstance(value, list):
        return value
    key, equals, text = wanted.partition("=")
    if equals:
        return [item for item in value if isinstance(item, dict) and item.get(key) == text]
    return value[int(key) : int(key) + 1]


def _step(step: str) -> tuple[str, str]:
    """Element name and filter."""
    name, _, wanted = step.partition("[")
    return name, wanted.removesuffix("]")


def forget() -> None:
    """Compile anew: the parameters are others now."""
    _plan.cache_clear()
    _emits.cache_clear()


@lru_cache(maxsize=4_096)
def _emits(known: Parameter) -> tuple[tuple[str, Emit], ...]:
    """Top-level element and closure of each path; "" for the resource itself."""
    return tuple(
        (_step(path.steps[0])[0], _descend(path.steps, _leaf(path, known)))
        if path.steps
        else ("", _leaf(path, known))
        for path in known.paths
    )


@lru_cache(maxsize=256)
def _plan(type_: str) -> dict[str, Emit]:
    by_name: dict[str, list[tuple[Path, Parameter]]] = {}
    for known in indexed_of(type_):
        for path in known.paths:
            by_name.setdefault(_step(path.steps[0])[0], []).append((path, known))
    plan = {name: _element(found) for name, found in by_name.items()}
    return plan | {"meta": _meta(type_)}


def _element(found: list[tuple[Path, Parameter]]) -> Emit:
    codes = {p.code for path, p in found}
    emits = [
        _descend(path.steps, _leaf(path, known))
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


def _descend(steps: tuple[str, ...], leaf: Emit) -> Emit:
    """Takes what stands at the first step down to the last one."""
    wanted = _step(steps[0])[1]
    if not steps[1:]:
        return _filtered(wanted, leaf) if wanted else leaf
    name = _step(steps[1])[0]
    below = _descend(steps[1:], leaf)

    def deeper(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        for item in value if type(value) is list else (value,):
            inner = item.get(name)
            if inner is not None:
                below(inner, tokens, dates, strings)

    return _filtered(wanted, deeper) if wanted else deeper


def _filtered(wanted: str, below: Emit) -> Emit:
    def emit(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        kept = _kept(value, wanted)
        if kept:
            below(kept, tokens, dates, strings)

    return emit


def _leaf(path: Path, known: Parameter) -> Emit:
    """Adds the rows of a value of the path's data type, or of a list of them.

    Every leaf goes through the list itself: one call for each element, not two. A null
    keeps a list of primitives in step with its extensions.
    """
    type_, code = known.type, known.code
    if path.datatype == "fhirpath":
        return _found(path, known)
    if known.kind == "reference" or path.datatype == "canonical":
        return _reference(type_, code, path)
    if known.kind == "date":
        return _date(known.number, path.datatype)
    if known.kind == "string":
        return _string(known.number, path.datatype)
    if path.datatype == "Identifier":
        return _identifier(parameter_salt(type_, code))
    return _coded(_Codes(type_, code), path.datatype)


def _identifier(salt: int) -> Emit:
    def identifier(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            if "value" in one:
                text = one["value"]
                tokens.append(coded_hash(one.get("system", ""), text) ^ salt)
                tokens.append(value_hash(text) ^ salt)

    return identifier


def _coded(codes: "_Codes", datatype: str) -> Emit:
    if datatype == "CodeableConcept":

        def concept(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            for one in value if type(value) is list else (value,):
                if "coding" in one:
                    for coding in one["coding"]:
                        if "code" in coding:
                            tokens += codes[coding.get("system", ""), coding["code"]]

        return concept
    if datatype in ("Coding", "ContactPoint"):
        name = "code" if datatype == "Coding" else "value"

        def coded(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            for one in value if type(value) is list else (value,):
                if name in one:
                    tokens += codes[one.get("system", ""), one[name]]

        return coded
    if datatype == "deceased":

        def deceased(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
            died = value.get("deceasedBoolean") or "deceasedDateTime" in value
            tokens += codes[None, "true" if died else "false"]

        return deceased

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
            found = (coded_hash(system, code) ^ self._salt, alone)
        self[key] = found
        return found


def _found(path: Path, known: Parameter) -> Emit:
    """What FHIRPath finds, by the look of it."""

    def emit(value: Any, tokens: Tokens, dates: Dates, strings: Strings) -> None:
        for one in evaluate(value, path.expression):
            shape = replace(path, datatype=shaped(known.kind, one), expression="")
            _leaf(shape, known)(one, tokens, dates, strings)

    return emit


def shaped(kind: Kind, value: Any) -> str:
    """The data type that a value of an expression has, as far as its look tells.

    >>> shaped("token", {"system": "urn:x", "code": "a"})
    'Coding'
    """
    if not isinstance(value, dict):
        return {"reference": "canonical", "date": "dateTime"}.get(kind, "string")
    keys = value.keys()
    if kind == "token":
        if "coding" in keys or keys <= {"text"}:
            return "CodeableConcept"
        return "Identifier" if "value" in keys else "Coding"
    if kind == "date":
        return "Timing" if keys & {"event", "repeat"} else "Period"
    if kind == "string":
        return "HumanName" if keys & {"family", "given"} else "Address"
    if kind == "quantity":
        return "Range" if keys & {"low", "high"} else "Quantity"
    return "Resource" if "resourceType" in keys else "Reference"


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

    def contained(value: Any, tokens: Tokens, _dates: Dates, _strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            tokens.append(value_hash(f"{one.get('resourceType')}/{one.get('id')}") ^ salt)

    return {"Reference": literal, "Resource": contained}.get(path.datatype, canonical)


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


STRING_PARTS = {
    "HumanName": ("family", "given", "prefix", "suffix", "text"),
    "Address": ("line", "city", "district", "state", "postalCode", "country", "text"),
}
"""What is searched of the data types that are not one string."""


def _string(number: int, datatype: str) -> Emit:
    def plain(value: Any, _tokens: Tokens, _dates: Dates, strings: Strings) -> None:
        for one in value if type(value) is list else (value,):
            if one is not None:
                strings.append((number, folded(one)))

    parts = STRING_PARTS.get(datatype, ())

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
