"""What a modifier asks of a resource's own values, where index rows cannot tell.

Each function gives a test of a resource (or of a composite's base) for one parameter.

Source: https://hl7.org/fhir/R4/search.html#modifiers
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from math import asin, cos, radians, sin, sqrt
from typing import Any

from segue.fhir.search.amounts import Amount, bounds
from segue.fhir.search.conditions import DateCondition, StringCondition, TokenCondition
from segue.fhir.search.parameters import Parameter
from segue.fhir.search.values import folded, rows_of, shaped, values_of

Test = Callable[[dict[str, Any]], bool]
Coded = tuple[str, str]
"""A system, "" for none, and a code."""

_TAGS = re.compile(r"<[^>]*>")
_EARTH_KM = 6371.0
_KM = {"km": 1.0, "m": 0.001, "[mi_us]": 1.609344, "[mi_i]": 1.609344, "mi": 1.609344}


def holds(known: Parameter, condition: TokenCondition | DateCondition | StringCondition) -> Test:
    """What the index would say."""

    def test(node: dict[str, Any]) -> bool:
        return condition.holds(rows_of(known, node))

    return test


def missing(known: Parameter, *, wanted: bool) -> Test:
    """`:missing`: whether there is no value at all."""
    if any(path.datatype == "deceased" for path in known.paths):
        return lambda _: not wanted

    def test(node: dict[str, Any]) -> bool:
        return any(True for _ in values_of(known, node)) != wanted

    return test


def exact(known: Parameter, wanted: Collection[str]) -> Test:
    """`:exact`: the whole text, with case and accents."""

    def test(node: dict[str, Any]) -> bool:
        return any(text in wanted for text in _texts(known, node))

    return test


def _texts(known: Parameter, node: dict[str, Any]) -> Iterable[str]:
    for value, path in values_of(known, node):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict) and path.datatype != "Reference":
            for part in value.values():
                for one in part if isinstance(part, list) else (part,):
                    if isinstance(one, str):
                        yield one


def text(known: Parameter, wanted: Sequence[str]) -> Test:
    """`:text`: the words that go with a code, a reference or an identifier."""
    folds = tuple(folded(one) for one in wanted)

    def test(node: dict[str, Any]) -> bool:
        return any(
            f" {word}".find(f" {one}") >= 0
            for value, _ in values_of(known, node)
            for word in map(folded, _words(value))
            for one in folds
        )

    return test


def _words(value: Any) -> Iterable[str]:
    if not isinstance(value, dict):
        return
    for part in (value, *value.get("coding", ()), value.get("type", {})):
        for name in ("text", "display"):
            if isinstance(part.get(name), str):
                yield part[name]


def codes_of(known: Parameter, node: dict[str, Any]) -> Iterable[Coded]:
    """The codes and identifiers that a token parameter finds."""
    for value, path in values_of(known, node):
        datatype = path.datatype
        if datatype == "fhirpath":
            datatype = shaped("token", value)
        if not isinstance(value, dict):
            yield "", ("true" if value else "false") if isinstance(value, bool) else str(value)
        elif datatype == "CodeableConcept":
            for coding in value.get("coding", ()):
                yield coding.get("system", ""), coding.get("code", "")
        else:
            name = "code" if datatype == "Coding" else "value"
            yield value.get("system", ""), value.get(name, "")


def coded(known: Parameter, fits: Callable[[str, str], bool], *, negate: bool = False) -> Test:
    """Whether a code is of those that `fits` knows, for `:in`, `:below` and `system|`."""

    def test(node: dict[str, Any]) -> bool:
        return any(fits(*one) for one in codes_of(known, node)) != negate

    return test


def of_type(known: Parameter, wanted: Collection[tuple[str, str, str]]) -> Test:
    """`:of-type` of identifiers: (system, code, value), of the type and the identifier."""

    def test(node: dict[str, Any]) -> bool:
        return any(
            value.get("value") == number
            and coding.get("code") == code
            and system in ("", coding.get("system"))
            for value, _ in values_of(known, node)
            if isinstance(value, dict)
            for coding in value.get("type", {}).get("coding", ())
            for system, code, number in wanted
        )

    return test


def identified(known: Parameter, wanted: Collection[tuple[str | None, str]]) -> Test:
    """`:identifier` of references: (system, value); None for any system."""

    def test(node: dict[str, Any]) -> bool:
        return any(
            identifier.get("value") == number and system in (None, identifier.get("system", ""))
            for value, _ in values_of(known, node)
            if isinstance(value, dict)
            for identifier in [value.get("identifier", {})]
            for system, number in wanted
        )

    return test


def below(known: Parameter, wanted: Sequence[str]) -> Test:
    """`:below` of URIs: the same, or further down the path."""

    def test(node: dict[str, Any]) -> bool:
        return any(
            str(value) == one or str(value).startswith(one.rstrip("/") + "/")
            for value, _ in values_of(known, node)
            for one in wanted
        )

    return test


def above(known: Parameter, wanted: Sequence[str]) -> Test:
    """`:above` of URIs: the same, or further up the path."""

    def test(node: dict[str, Any]) -> bool:
        return any(
            one == str(value) or one.startswith(str(value).rstrip("/") + "/")
            for value, _ in values_of(known, node)
            for one in wanted
        )

    return test


def measured(known: Parameter, wanted: Sequence[Amount]) -> Test:
    """Numbers and quantities."""

    def test(node: dict[str, Any]) -> bool:
        for value, path in values_of(known, node):
            datatype = path.datatype
            if datatype == "fhirpath":
                datatype = shaped("quantity", value)
            reach = bounds(value, datatype)
            if reach is None:
                continue
            unit = value if isinstance(value, dict) else {}
            if datatype == "Range":
                unit = unit.get("low") or unit.get("high") or {}
            if any(one.fits(*reach) and one.measures(unit) for one in wanted):
                return True
        return False

    return test


def composed(known: Parameter, tuples: Sequence[Sequence[Test]]) -> Test:
    """A composite: one base meets all tests of a tuple, each about its component."""

    def test(resource: dict[str, Any]) -> bool:
        for base, _ in values_of(known, resource):
            for tests in tuples:
                if all(
                    one(resource if part.paths[0].root else base)
                    for one, part in zip(tests, known.components, strict=True)
                ):
                    return True
        return False

    return test


def near(known: Parameter, places: Sequence[tuple[float, float, float]]) -> Test:
    """`Location?near`: (latitude, longitude, kilometres)."""

    def test(node: dict[str, Any]) -> bool:
        return any(
            distance(float(value["latitude"]), float(value["longitude"]), *place[:2]) <= place[2]
            for value, _ in values_of(known, node)
            if "latitude" in value and "longitude" in value
            for place in places
        )

    return test


def distance(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Kilometres between two places on the Earth, along a great circle.

    >>> round(distance(42.36, -71.06, 40.71, -74.01))
    306
    """
    across, along = radians(other_lat - lat), radians(other_lon - lon)
    chord = sin(across / 2) ** 2
    chord += cos(radians(lat)) * cos(radians(other_lat)) * sin(along / 2) ** 2
    return 2 * _EARTH_KM * asin(min(1.0, sqrt(chord)))


def place(value: str) -> tuple[float, float, float]:
    """Read `latitude|longitude|distance|unit`; 10 km where no distance is given.

    Raises:
        ValueError: it is none.

    >>> place("42.3|-71.1|5|[mi_us]")
    (42.3, -71.1, 8.04672)
    """
    lat, lon, *rest = value.split("|")
    reach = float(rest[0]) if rest and rest[0] else 10.0
    unit = rest[1] if len(rest) > 1 and rest[1] else "km"
    found = float(lat), float(lon), reach * _KM.get(unit, float("nan"))
    if not (abs(found[0]) <= 90 and abs(found[1]) <= 180 and 0 <= found[2] < float("inf")):
        message = "not a place"
        raise ValueError(message)
    return found


def narrative(wanted: Sequence[str]) -> Test:
    """`_text`: words of the narrative."""
    folds = tuple(folded(one) for one in wanted)

    def test(resource: dict[str, Any]) -> bool:
        said = str(resource.get("text", {}).get("div", ""))
        whole = _fold(_TAGS.sub(" ", said))
        return any(one in whole for one in folds)

    return test


def content(wanted: Sequence[str]) -> Test:
    """`_content`: words of any text of the resource."""
    folds = tuple(folded(one) for one in wanted)

    def test(resource: dict[str, Any]) -> bool:
        return any(one in _fold(said) for said in _strings(resource) for one in folds)

    return test


def _fold(said: str) -> str:
    """As `folded`, at full length."""
    return " ".join(folded(word) for word in said.split())


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
