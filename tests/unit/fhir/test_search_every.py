"""Every search parameter of R4 finds a resource that has the value, and only that one."""

from typing import Any

import pytest

from segue.fhir.search.conditions import EvaluatedCondition, TokenCondition
from segue.fhir.search.parameters import Parameter, Path, every, indexed_of, parameters, types
from segue.fhir.search.query import parse
from segue.fhir.search.values import rows_of, terms
from segue.model.changes import SearchTerms
from tests.unit.fhir.examples import EXAMPLES

SYSTEM = "urn:example:system"
CODE = {"system": SYSTEM, "code": "abc"}
QUANTITY = {"value": 5, "system": SYSTEM, "code": "mg", "unit": "mg"}

# Data type: a value, what finds it, what does not.
VALUES: dict[str, tuple[Any, str, str]] = {
    "Address": ({"city": "Boston"}, "bost", "york"),
    "Age": (QUANTITY, "5", "6"),
    "CodeableConcept": ({"coding": [CODE]}, f"{SYSTEM}|abc", f"{SYSTEM}|xyz"),
    "Coding": (CODE, "abc", "xyz"),
    "ContactPoint": ({"value": "555-1"}, "555-1", "555-2"),
    "Duration": (QUANTITY, "lt6", "gt6"),
    "HumanName": ({"family": "Núñez"}, "nun", "x"),
    "Identifier": ({"system": SYSTEM, "value": "7"}, f"{SYSTEM}|7", "8"),
    "Location.position": ({"latitude": 42.3, "longitude": -71.1}, "42.31|-71.1|5", "40|-71.1|5"),
    "Money": ({"value": 5, "currency": "USD"}, "5", "6"),
    "Period": ({"start": "2026-07-05", "end": "2026-07-10"}, "ge2026-07-06", "gt2026-07-11"),
    "Quantity": (QUANTITY, f"5|{SYSTEM}|mg", f"5|{SYSTEM}|g"),
    "Range": ({"low": QUANTITY, "high": {"value": 9}}, "gt7", "gt9"),
    "Reference": ({"reference": "Patient/p"}, "Patient/p", "Patient/q"),
    "Resource": ({"resourceType": "Composition", "id": "c"}, "Composition/c", "Composition/d"),
    "Timing": ({"event": ["2026-07-05"]}, "2026-07-05", "2026-07-06"),
    "boolean": (True, "true", "false"),
    "canonical": ("http://x/a|1", "http://x/a", "http://x/b"),
    "code": ("abc", "abc", "xyz"),
    "date": ("2026-07-05", "2026-07", "2026-08"),
    "dateTime": ("2026-07-05T10:00:00Z", "2026-07-05", "lt2026-07-05"),
    "decimal": (5, "5", "5.5"),
    "deceased": (True, "true", "false"),
    "id": ("abc", "abc", "xyz"),
    "instant": ("2026-07-05T10:00:00Z", "ge2026-07-05", "sa2026-07-05"),
    "integer": (5, "ge5", "gt5"),
    "markdown": ("Some text", "some", "text"),
    "string": ("abc", "abc", "b"),
    "uri": ("urn:x:1", "urn:x:1", "urn:x:2"),
    "url": ("http://x/1", "http://x/1", "http://x/2"),
}  # fmt: skip


def holding(known: Parameter, path: Path) -> tuple[dict[str, Any], str, str]:
    """A resource with a value at a path, what finds it, and what does not."""
    value, finds, misses = VALUES[path.datatype]
    if path.only:
        value, finds, misses = {"reference": f"{path.only}/p"}, f"{path.only}/p", f"{path.only}/q"
    elif known.kind == "reference" and known.targets and path.datatype == "Reference":
        target = known.targets[0]
        value, finds, misses = {"reference": f"{target}/p"}, f"{target}/p", f"{target}/q"
    if path.datatype == "deceased":
        return {"deceasedDateTime": "2026"}, finds, misses
    return put(path, value), finds, misses


def put(path: Path, value: Any) -> dict[str, Any]:
    for step in reversed(path.steps):
        name, _, rest = step.partition("[")
        key, equals, text = rest.removesuffix("]").partition("=")
        if equals:
            value = [{key: "other"}, {**value, key: text}]
        elif rest:
            value = [value, {}]
        value = {name: value}
    assert isinstance(value, dict)
    return value


def meets(resource: dict[str, Any], known: Parameter, value: str) -> bool:
    """As the store does: the index by the parameter's rows, the rest by the body."""
    query = parse(known.type, [(known.code, value)], strict=True)
    return all(
        one.test(resource) if isinstance(one, EvaluatedCondition)
        else one.holds(rows_of(known, resource))  # type: ignore[union-attr]
        for one in query.conditions
    )  # fmt: skip


def simple() -> list[Parameter]:
    return [one for one in parameters() if one.kind != "composite"]


def test_every_parameter_finds_the_value_at_each_of_its_paths() -> None:
    tried = 0
    for known in simple():
        for path in known.paths:
            made, finds, misses = holding(known, path)
            resource = {"resourceType": known.type, "id": "x", **made}
            assert meets(resource, known, finds), (known.type, known.code, path)
            assert not meets(resource, known, misses), (known.type, known.code, path)
            empty = {"resourceType": known.type, "id": "x"}
            assert meets(empty, known, finds) is False, (known.type, known.code)
            tried += 1
    assert tried > 1_700


def test_every_composite_finds_what_has_all_parts_in_one_place() -> None:
    composites = [one for one in parameters() if one.kind == "composite"]
    for known in composites:
        base: dict[str, Any] = {}
        outside: dict[str, Any] = {}
        finds, misses = [], []
        for part in known.components:
            path = part.paths[0]
            value, good, bad = VALUES[path.datatype]
            (outside if path.root else base).update(put(path, value))
            finds.append(good)
            misses.append(bad)
        place = known.paths[0]
        resource = {"resourceType": known.type, **put(place, base), **outside}
        assert meets(resource, known, "$".join(finds)), known.code
        for n in range(len(finds)):
            one_wrong = [*finds[:n], misses[n], *finds[n + 1 :]]
            assert not meets(resource, known, "$".join(one_wrong)), known.code
    assert len(composites) >= 40


def test_every_parameter_knows_missing() -> None:
    for known in simple():
        made, _, _ = holding(known, known.paths[0])
        resource = {"resourceType": known.type, **made}
        (missing,) = parse(known.type, [(f"{known.code}:missing", "true")]).conditions
        (there,) = parse(known.type, [(f"{known.code}:missing", "false")]).conditions
        assert isinstance(missing, EvaluatedCondition)
        assert isinstance(there, EvaluatedCondition)
        assert there.test(resource)
        assert not missing.test(resource), known
        absent = known.paths[0].datatype != "deceased"
        assert missing.test({"resourceType": known.type}) == absent


def test_what_all_types_share_is_found_in_meta() -> None:
    meta = {"profile": ["http://p|1"], "source": "urn:s", "tag": [CODE], "security": [CODE]}
    assert {one.code for one in every()} == {"_profile", "_source", "_tag", "_security"}
    for type_ in types():
        resource = {"resourceType": type_, "id": "x", "meta": meta}
        for name, value in (("_profile", "http://p"), ("_source", "urn:s")):
            for condition in parse(type_, [(name, value)], strict=True).conditions:
                assert isinstance(condition, EvaluatedCondition)
                assert condition.test(resource)
        for name in ("_tag", "_security"):
            (token,) = parse(type_, [(name, f"{SYSTEM}|abc")], strict=True).conditions
            assert isinstance(token, TokenCondition)
            assert token.holds(terms(resource))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_rows_of_a_resource_are_those_of_its_indexed_parameters(name: str) -> None:
    resource = EXAMPLES[name]
    tokens, dates, strings = set(), set(), set()
    for known in (*indexed_of(resource["resourceType"]), *every()):
        if known.indexed:
            own = known if known.type != "Resource" else _of(resource["resourceType"], known.code)
            rows = rows_of(own, resource)
            tokens |= set(rows.tokens)
            dates |= set(rows.dates)
            strings |= set(rows.strings)
    whole = SearchTerms(tuple(sorted(tokens)), tuple(sorted(dates)), tuple(sorted(strings)))
    assert terms(resource) == whole


def _of(type_: str, code: str) -> Parameter:
    from segue.fhir.search.parameters import parameter

    found = parameter(type_, code)
    assert found is not None
    return found
