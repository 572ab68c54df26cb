"""$expand and $translate, as clients ask them.

Sources: https://hl7.org/fhir/R4/valueset-operation-expand.html and
https://hl7.org/fhir/R4/conceptmap-operation-translate.html
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segue.fhir.profiles import definitions as fhir_definitions
from segue.fhir.validate import Gate
from segue.mapping.load import load, shipped
from segue.pipeline.definitions import own
from tests.support.api import Api, running

SYSTEM = "urn:example:diet"
DIETS = {
    "resourceType": "CodeSystem",
    "url": SYSTEM,
    "status": "active",
    "content": "complete",
    "concept": [
        {"code": "plant", "display": "Plants", "concept": [{"code": "vegan"}, {"code": "raw"}]},
        {"code": "meat", "display": "Meat"},
    ],
}
VALUES = {"resourceType": "ValueSet", "url": "urn:example:diets", "status": "active"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path) as started:
        yield started


def post(api: Api, resource: dict[str, Any]) -> dict[str, Any]:
    answer = api.call("POST", f"/fhir/{resource['resourceType']}", resource)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def codes(value_set: dict[str, Any]) -> list[str]:
    return [one["code"] for one in value_set["expansion"].get("contains", [])]


def composed(**compose: Any) -> dict[str, Any]:
    return {**VALUES, "compose": compose}


def expanded(api: Api, value_set: dict[str, Any]) -> list[str]:
    body = {
        "resourceType": "Parameters", "parameter": [{"name": "valueSet", "resource": value_set}],
    }  # fmt: skip
    answer = api.call("POST", "/fhir/ValueSet/$expand", body)
    assert answer.status_code == 200, answer.text
    return codes(answer.json())


def test_a_value_set_that_r4_binds_is_expanded(api: Api) -> None:
    found = api.get("ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/task-status")
    assert {"requested", "accepted", "completed"} <= set(codes(found))
    assert found["expansion"]["total"] == len(codes(found))
    assert found["expansion"]["contains"][0]["system"] == "http://hl7.org/fhir/task-status"


def test_a_value_set_of_us_core_is_expanded(api: Api) -> None:
    url = "http://hl7.org/fhir/us/core/ValueSet/us-core-servicerequest-category"
    found = api.get(f"ValueSet/$expand?url={url}")
    assert {"386053000", "sdoh"} <= set(codes(found))


def test_a_page_of_an_expansion_and_a_filter(api: Api) -> None:
    url = "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/task-status"
    whole = codes(api.get(url))
    page = api.get(f"{url}&offset=2&count=3")
    assert (codes(page), page["expansion"]["total"]) == (whole[2:5], len(whole))
    assert page["expansion"]["offset"] == 2
    assert codes(api.get(f"{url}&filter=REQ")) == ["requested"]
    assert codes(api.get(f"{url}&count=0")) == []


def test_a_stored_value_set_is_expanded_from_stored_code_systems(api: Api) -> None:
    post(api, DIETS)
    whole = post(api, composed(include=[{"system": SYSTEM}]))
    found = api.get(f"ValueSet/{whole['id']}/$expand")
    assert codes(found) == ["plant", "vegan", "raw", "meat"]
    assert found["expansion"]["contains"][0]["display"] == "Plants"
    assert found["id"] == whole["id"]
    assert "compose" not in found
    assert codes(api.get("ValueSet/$expand?url=urn:example:diets"))[0] == "plant"
    plants = {"property": "concept", "op": "is-a", "value": "plant"}
    below = {**plants, "op": "descendent-of"}
    assert expanded(api, composed(include=[{"system": SYSTEM, "filter": [plants]}])) == [
        "plant", "vegan", "raw",
    ]  # fmt: skip
    assert expanded(api, composed(include=[{"system": SYSTEM, "filter": [below]}])) == [
        "vegan", "raw",
    ]  # fmt: skip
    listed = {"system": SYSTEM, "concept": [{"code": "raw"}]}
    assert expanded(api, composed(include=[{"system": SYSTEM}], exclude=[listed])) == [
        "plant", "vegan", "meat",
    ]  # fmt: skip
    imported = {"valueSet": ["urn:example:diets"], **listed}
    assert expanded(api, {**composed(include=[imported]), "url": "urn:other"}) == ["raw"]


@pytest.mark.parametrize(
    ("compose", "word"),
    [
        ({"include": [{"system": "http://snomed.info/sct"}]}, "snomed"),
        ({"include": [{"valueSet": ["urn:nowhere"]}]}, "urn:nowhere"),
    ],
)
def test_what_cannot_be_expanded_says_why(api: Api, compose: Any, word: str) -> None:
    value_set = composed(**compose)
    answer = api.call("POST", "/fhir/ValueSet/$expand", value_set)
    assert answer.status_code == 400, "without Parameters the body is no valueSet"
    body = {
        "resourceType": "Parameters", "parameter": [{"name": "valueSet", "resource": value_set}],
    }  # fmt: skip
    answer = api.call("POST", "/fhir/ValueSet/$expand", body)
    assert answer.status_code == 422
    assert word in answer.text


def test_value_sets_that_include_one_another_are_refused(api: Api) -> None:
    post(api, composed(include=[{"valueSet": ["urn:example:diets"]}]))
    assert api.call("GET", "/fhir/ValueSet/$expand?url=urn:example:diets").status_code == 422
    assert api.call("GET", "/fhir/ValueSet/$expand?url=urn:nowhere").status_code == 404
    assert api.call("GET", "/fhir/ValueSet/$expand").status_code == 400


# --- $translate ---------------------------------------------------------------------------


def matches(parameters: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for one in parameters["parameter"]:
        if one["name"] == "match":
            part = {p["name"]: p for p in one["part"]}
            coding = part.get("concept", {}).get("valueCoding", {})
            found.append((part["equivalence"]["valueCode"], coding.get("code", "")))
    return found


def result(parameters: dict[str, Any]) -> bool:
    (found,) = [p["valueBoolean"] for p in parameters["parameter"] if p["name"] == "result"]
    return bool(found)


V2 = "http://terminology.hl7.org/CodeSystem/v2-"


def test_the_code_tables_translate_v2_codes(api: Api) -> None:
    found = api.get(f"ConceptMap/$translate?system={V2}0112&code=03")
    assert result(found)
    assert ("equivalent", "snf") in matches(found)
    assert matches(api.get(f"ConceptMap/$translate?system={V2}0112&code=09")) == [("unmatched", "")]
    assert not result(api.get(f"ConceptMap/$translate?system={V2}0112&code=09"))
    nothing = api.get(f"ConceptMap/$translate?system={V2}0112&code=nothing")
    assert (result(nothing), matches(nothing)) == (False, [])
    back = api.get(
        "ConceptMap/$translate?reverse=true&code=EMER"
        "&system=http://terminology.hl7.org/CodeSystem/v3-ActCode"
        "&url=urn:segue:ConceptMap:HL70004-ActCode"
    )
    assert matches(back) == [("equivalent", "E")]


def test_a_stored_concept_map_translates(api: Api) -> None:
    element = [
        {"code": "a", "target": [{"code": "x", "equivalence": "wider"}]},
        {"code": "b", "target": [{"equivalence": "unmatched"}]},
    ]
    group = {
        "source": "urn:ours", "target": "urn:theirs", "element": element,
        "unmapped": {"mode": "fixed", "code": "other"},
    }  # fmt: skip
    kept = post(api, {
        "resourceType": "ConceptMap", "url": "urn:example:map", "status": "active",
        "group": [group],
    })  # fmt: skip
    path = f"ConceptMap/{kept['id']}/$translate"
    assert matches(api.get(f"{path}?system=urn:ours&code=a")) == [("wider", "x")]
    assert matches(api.get(f"{path}?system=urn:ours&code=c")) == [("inexact", "other")]
    assert matches(api.get(f"{path}?system=urn:ours&code=a&targetsystem=urn:else")) == []
    coding = {"system": "urn:ours", "code": "a"}
    for parameter in (
        {"name": "coding", "valueCoding": coding},
        {"name": "codeableConcept", "valueCodeableConcept": {"coding": [coding]}},
    ):
        body = {"resourceType": "Parameters", "parameter": [parameter]}
        answer = api.call("POST", "/fhir/ConceptMap/$translate", body)
        assert matches(answer.json()) == [("wider", "x")]
    assert api.call("GET", f"/fhir/{path}").status_code == 400
    assert api.call("GET", "/fhir/ConceptMap/$translate?url=urn:no&code=a").status_code == 404
    assert api.call("GET", "/fhir/ConceptMap/HL70112/$translate?code=03").status_code == 404


def test_the_maps_of_the_code_tables_are_valid_and_those_of_a_site_bear_its_name() -> None:
    gate = Gate(fhir_definitions())
    core = load(shipped() / "core")
    site = load(shipped() / "core", [shipped()], "example")
    hub = SimpleNamespace(
        sites={"example": None},
        mapping_for=lambda name: site if name else core,
        validator=SimpleNamespace(folders=()),
        protocols=SimpleNamespace(definitions=(), activities=()),
    )
    maps = {one["id"]: one for one in own(hub, "ConceptMap")}  # type: ignore[arg-type]
    assert [gate.issues(dict(one)) for one in maps.values() if not gate.is_valid(dict(one))] == []
    assert len([one for one in maps if not one.startswith("example-")]) == len(core.tables)
    assert {one for one in maps if one.startswith("example-")} == {
        "example-AdmitSource", "example-HL70004-ActCode",
    }  # fmt: skip
