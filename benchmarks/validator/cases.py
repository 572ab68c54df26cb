"""Deterministic changes to valid resources: each case is right or wrong in one respect."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from segue.fhir.definitions import Definitions, Structure

Resource = dict[str, Any]
Step = str | int
Path = tuple[Step, ...]


class Case(NamedTuple):
    """A changed resource.

    Attributes:
        sample: the valid resource it was made from.
        rule: the kind of change.
        at: where, as a path of JSON names.
    """

    sample: str
    rule: str
    at: str
    resource: Resource


_DATES = frozenset({"date", "dateTime", "instant"})
_STRINGS = frozenset({"string", "markdown", "code", "uri", "url", "canonical", "id"})
_ABSENT = {
    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "valueCode": "unknown",
}


EACH = 3
"""Places of one sample at which the same kind of change is made."""


def cases(name: str, sample: Resource, table: Definitions) -> Iterator[Case]:
    """The changes of one sample, each kind at a few places spread over it."""
    by_rule: dict[str, list[Case]] = {}
    for case in _all(name, sample, table):
        by_rule.setdefault(case.rule, []).append(case)
    for rule, found in by_rule.items():
        most = len(found) if rule in _EVERYWHERE else EACH
        step = max(1.0, len(found) / most)
        yield from (found[int(i * step)] for i in range(min(most, len(found))))


_EVERYWHERE = frozenset({"leave-out", "code-unknown"})


def _all(name: str, sample: Resource, table: Definitions) -> Iterator[Case]:
    for path, value, kind, structure in _spots(sample, table):
        at = ".".join(map(str, path))

        def case(rule: str, new: Any, path: Path = path, at: str = at) -> Case:
            return Case(name, rule, at, _with(sample, path, new))

        if path and isinstance(path[-1], str) and path[-1] != "resourceType":
            yield Case(name, "leave-out", at, _without(sample, path))
        if path and isinstance(path[-1], int):
            if len(_at(sample, path[:-1])) > 1:
                yield Case(name, "leave-out-item", at, _without(sample, path))
            if not isinstance(value, dict) or "linkId" not in value:
                owner = _at(sample, path[:-1])
                yield Case(name, "twice", at, _with(sample, path[:-1], [*owner, deepcopy(value)]))
        if isinstance(value, dict):
            yield from _object_cases(name, sample, path, value, kind, structure)
        elif isinstance(value, list):
            yield case("empty-list", [])
            yield case("list-as-object", value[0])
        else:
            # A reference is a URL in the clothes of a string; it has cases of its own.
            own = "reference" if path[-1] == "reference" else kind
            yield from _primitive_cases(case, value, own)


def _object_cases(
    name: str, sample: Resource, path: Path, value: Resource, kind: str, structure: Structure
) -> Iterator[Case]:
    at = ".".join(map(str, path))

    def case(rule: str, **changes: Any) -> Case:
        return Case(name, rule, at, _with(sample, path, {**value, **changes}))

    yield case("unknown-element", colour="red")
    if path:
        yield Case(name, "empty-object", at, _with(sample, path, {}))
        yield case("element-id", id="e-1")
        yield Case(name, "object-as-text", at, _with(sample, path, "text"))
        if isinstance(path[-1], str):
            yield Case(name, "object-as-list", at, _with(sample, path, [value]))
    if kind != "Extension" and (not path or "resourceType" not in value):
        own = {"url": "http://example.org/ours", "valueString": "x"}
        more = [*value.get("extension", ()), own]
        yield case("own-extension", extension=more)
        yield case("extension-without-url", extension=[*more[:-1], {"valueString": "x"}])
        both = {**own, "extension": [own]}
        yield case("extension-with-both", extension=[*more[:-1], both])
        yield case(
            "extension-misplaced",
            extension=[
                *more[:-1],
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                    "valueString": "Doe",
                },
            ],
        )
    for element in structure.elements:
        if element.choice:
            names = element.keys()
            there = [k for k in names if k in value]
            others = [k for k in names if k not in value]
            if there and others:
                other = next((k for k in others if k.endswith("String")), others[0])
                yield case("choice-twice", **{other: _sample_of(other)})
    if kind == "Reference" and "reference" in value:
        for target in ("Device/x", "Patient/x", "Substance/x", "urn:uuid:x", "#x", "nothing"):
            yield case("reference-to-" + target.partition("/")[0], reference=target)
        yield case("reference-by-identifier", identifier={"value": "1"})
        yield case("reference-absolute", reference="http://example.org/fhir/" + value["reference"])
    if kind == "Period":
        yield case("period-backwards", start="2026-09-01", end="2026-08-01")
    if kind == "Coding":
        yield case("coding-code-unknown", code="no-such-code")
        yield case("coding-other-system", system="http://example.org/codes")
        yield case("coding-without-system", system="http://example.org/x", code="x y")
    if kind == "CodeableConcept":
        other = {"system": "http://example.org/codes", "code": "x"}
        yield case("concept-more", coding=[*value.get("coding", ()), other])
        yield Case(name, "concept-text-only", at, _with(sample, path, {"text": "words"}))
    if kind == "Quantity" and "value" in value:
        yield case("quantity-comparator", comparator="<")
        yield case("quantity-comparator-unknown", comparator="~")
        yield Case(
            name,
            "quantity-code-without-system",
            at,
            _with(sample, path, {k: v for k, v in value.items() if k != "system"}),
        )
    if kind == "Attachment":
        yield case("attachment-bad-data", data="@@@")
        yield case("attachment-data-without-type", data="QQ==", contentType="text/plain")
    if kind == "Narrative":
        for rule, inner in (
            ("script", "<script>x</script>"),
            ("empty", ""),
            ("not-closed", "<p>x"),
            ("fine", "<p>a <b>b</b></p>"),
            ("event", '<p onclick="x()">x</p>'),
            ("table", "<table><tr><td>x</td></tr></table>"),
        ):
            div = f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'
            yield case("narrative-" + rule, div=div)
        yield case("narrative-no-namespace", div="<div><p>x</p></div>")
    if kind == "Identifier":
        yield case("identifier-use-unknown", use="mine")
    if not path:
        yield case("bad-id", id="a b")
        yield case("long-id", id="x" * 65)
        yield case("profile-unknown", meta={"profile": ["http://example.org/profile"]})
        yield case("language", language="en-US")
        yield case(
            "contained-unused",
            contained=[{"resourceType": "Basic", "id": "z", "code": {"text": "x"}}],
        )
        yield case(
            "contained-nested",
            contained=[
                {
                    "resourceType": "Basic",
                    "id": "z",
                    "code": {"text": "x"},
                    "contained": [{"resourceType": "Basic", "id": "y", "code": {"text": "x"}}],
                }
            ],
        )
        yield case("implicit-rules", implicitRules="http://example.org/rules")


def _sample_of(key: str) -> Any:
    if key.endswith("Boolean"):
        return True
    if key.endswith(("Integer", "PositiveInt", "UnsignedInt")):
        return 5
    if key.endswith("Decimal"):
        return 1.5
    if key.endswith(("String", "Code", "Markdown")):
        return "x"
    if key.endswith(("DateTime", "Date")):
        return "2026-01-01"
    if key.endswith("Reference"):
        return {"reference": "Patient/p1"}
    if key.endswith("CodeableConcept"):
        return {"text": "x"}
    if key.endswith(("Period",)):
        return {"start": "2026-01-01"}
    return {"extension": [_ABSENT]}


def _primitive_cases(case: Any, value: Any, kind: str) -> Iterator[Case]:
    yield case("null", None)
    yield case("object-for-primitive", {"x": 1})
    if isinstance(value, bool):
        yield case("boolean-as-text", "true")
        yield case("boolean-as-number", 1)
        yield case("boolean-other", not value)
    elif isinstance(value, str):
        yield case("empty-text", "")
        yield case("blank-text" if kind in ("string", "markdown") else "blank-value", " ")
        yield case("number-for-text", 5)
    else:
        yield case("number-as-text", str(value))
        yield case("number-negative", -3)
        yield case("number-fraction", 2.5)
    if kind in _DATES:
        for rule, new in (
            ("impossible", "2026-02-30"),
            ("month-13", "2026-13-01"),
            ("short-year", "202-01-01"),
            ("no-zone", "2026-03-01T10:00:00"),
            ("no-seconds", "2026-03-01T10:00Z"),
            ("hour-25", "2026-03-01T25:00:00Z"),
            ("year-only", "2026"),
            ("month-only", "2026-03"),
            ("with-zone", "2026-03-01T10:00:00+02:00"),
            ("fraction", "2026-03-01T10:00:00.123Z"),
            ("us-style", "03/01/2026"),
        ):
            yield case("date-" + rule, new)
    if kind == "code":
        yield case("code-unknown", "no-such-code")
        yield case("code-with-space", " " + str(value))
        yield case("code-upper", str(value).upper())
    if kind in ("uri", "url", "canonical"):
        yield case("uri-with-space", "http://example.org/a b")
        yield case("uri-oid-bad", "urn:oid:x.y")
        yield case("uri-uuid-bad", "urn:uuid:xyz")
        yield case("uri-other", "http://example.org/other")
    if kind == "time":
        yield case("time-without-seconds", "08:00")
        yield case("time-hour-25", "25:00:00")
    if kind in ("string", "markdown"):
        yield case("text-with-spaces", f" {value} ")
        yield case("text-with-control", f"a\u0001{value}")
        yield case("text-other", "something else")


def _spots(resource: Resource, table: Definitions) -> Iterator[tuple[Path, Any, str, Structure]]:
    """Every JSON value with its path, its type and the structure that describes it."""
    waiting: list[tuple[Path, Any, str]] = [((), resource, resource["resourceType"])]
    while waiting:
        path, value, kind = waiting.pop(0)
        element = table.structure("Element")
        if isinstance(value, dict):
            kind = value.get("resourceType", kind)
            structure = table.structure(kind) if kind in table else element
            yield path, value, kind, structure
            for key, item in value.items():
                found = structure.properties.get(key)
                if found is not None:
                    waiting.append(((*path, key), item, found.kind.type))
        else:
            yield path, value, kind, element
            if isinstance(value, list):
                waiting += [((*path, i), item, kind) for i, item in enumerate(value)]


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(resource: Resource, path: Path, new: Any) -> Resource:
    if not path:
        return deepcopy(new)
    made = deepcopy(resource)
    _at(made, path[:-1])[path[-1]] = new
    return made


def _without(resource: Resource, path: Path) -> Resource:
    made = deepcopy(resource)
    del _at(made, path[:-1])[path[-1]]
    return made
