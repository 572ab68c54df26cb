"""HL7's own patch cases, and what they leave out.

Source: https://hl7.org/fhir/R4/fhirpatch.html, https://www.rfc-editor.org/rfc/rfc6902
"""

import json
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from segue.fhir.outcomes import FhirError
from segue.fhir.patch import JSON_PATCH, MERGE_PATCH, patch_of
from segue.fhir.profiles import definitions
from segue.fhir.xml import from_xml

ROOT = Path(__file__).resolve().parents[3]
CASES = ROOT.parent / "shared" / "data" / "fhir" / "FHIR_fhir-test-cases_r4" / "patch"
KNOWN = definitions()


def json_cases() -> list[Any]:
    file = CASES / "json-patch-tests.json"
    return json.loads(file.read_text()) if file.is_file() else []


def fhirpath_cases() -> list[Any]:
    file = CASES / "fhir-patch-tests.xml"
    return list(etree.parse(str(file)).getroot().iter("case")) if file.is_file() else []


@pytest.mark.skipif(not CASES.is_dir(), reason="HL7's test cases are not beside the checkout")
def test_the_cases_are_all_there() -> None:
    assert len(json_cases()) == 16
    assert len(fhirpath_cases()) >= 33


@pytest.mark.parametrize("case", json_cases(), ids=lambda case: case["comment"])
def test_json_patch_does_what_rfc_6902_says(case: dict[str, Any]) -> None:
    patch = patch_of(JSON_PATCH, case["patch"])
    if "error" in case:
        with pytest.raises(FhirError):
            patch.change(case["doc"], patch.document, KNOWN)
    else:
        found = patch.change(case["doc"], patch.document, KNOWN)
        assert found == case.get("expected", case["doc"])


@pytest.mark.parametrize("case", fhirpath_cases(), ids=lambda case: case.get("name"))
def test_fhirpath_patch_does_what_hl7_says(case: Any) -> None:
    def part(name: str) -> dict[str, Any]:
        return from_xml(etree.tostring(case.find(name)[0]), KNOWN)

    patch = patch_of("application/fhir+json", part("diff"))
    if case.find("error") is not None:
        with pytest.raises(FhirError):
            patch.apply(part("input"), KNOWN)
    else:
        assert patch.apply(part("input"), KNOWN) == part("output")


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "active": True,
    "birthDate": "1990-01-02",
    "deceasedBoolean": False,
    "name": [
        {"use": "official", "given": ["Ann", "Bea"]},
        {"use": "usual", "given": ["Annie"]},
    ],
    "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}],
}


def operation(type_: str, path: str, value: Any = None, **parts: Any) -> dict[str, Any]:
    listed: list[dict[str, Any]] = [
        {"name": "type", "valueCode": type_},
        {"name": "path", "valueString": path},
        *({"name": name, **given} for name, given in parts.items()),
    ]
    if value is not None:
        listed.append({"name": "value", **value})
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "operation", "part": listed}],
    }


def changed(*args: Any, **kwargs: Any) -> dict[str, Any]:
    patch = patch_of("application/fhir+json", operation(*args, **kwargs))
    found = patch.apply(PATIENT, KNOWN)
    # A patch may be done again on newer content: it must not wear out.
    assert patch.apply(PATIENT, KNOWN) == found
    return found


def test_a_path_may_select_by_condition() -> None:
    found = changed("delete", "Patient.telecom.where(system = 'phone')")
    assert found["telecom"] == PATIENT["telecom"][1:]
    found = changed("replace", "Patient.name.where(use='official').given.first()",
                    {"valueString": "Eve"})  # fmt: skip
    assert found["name"][0]["given"] == ["Eve", "Bea"]
    found = changed("delete", "Patient.name.given.where($this = 'Bea')")
    assert found["name"][0]["given"] == ["Ann"]
    found = changed("add", "Patient.name.where(use='usual')", {"valueString": "DOE"},
                    name={"valueString": "family"})  # fmt: skip
    assert found["name"][1]["family"] == "DOE"


def test_a_choice_is_named_without_its_type() -> None:
    found = changed("replace", "Patient.deceased", {"valueDateTime": "2026-01-01"})
    assert found["deceasedDateTime"] == "2026-01-01"
    assert "deceasedBoolean" not in found
    found = changed("add", "Patient", {"valueInteger": 2}, name={"valueString": "multipleBirth"})
    assert found["multipleBirthInteger"] == 2
    with pytest.raises(FhirError, match="not of type"):
        changed("replace", "Patient.deceased", {"valueString": "yes"})


def test_what_stands_beside_a_primitive_can_be_added() -> None:
    value = {"valueExtension": {"url": "urn:x", "valueCode": "a"}}
    for path, name, expected in (
        ("Patient.birthDate", "_birthDate", {"extension": [value["valueExtension"]]}),
        ("Patient.active", "_active", {"extension": [value["valueExtension"]]}),
    ):
        found = changed("add", path, value, name={"valueString": "extension"})
        assert found[name] == expected
    found = changed("add", "Patient.name[0].given[1]", value, name={"valueString": "extension"})
    assert found["name"][0]["_given"] == [None, {"extension": [value["valueExtension"]]}]


def test_a_delete_of_what_is_absent_is_done() -> None:
    assert changed("delete", "Patient.gender") == PATIENT
    assert changed("delete", "Patient.name.where(use = 'old')") == PATIENT


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        (("replace", "Patient.name", {"valueString": "x"}), {}, "several"),
        (("replace", "Patient.gender", {"valueCode": "male"}), {}, "selects nothing"),
        (("add", "Patient", {"valueBoolean": True}), {"name": {"valueString": "active"}},
         "already"),
        (("add", "Patient", {"valueCode": "x"}), {"name": {"valueString": "mood"}}, "no element"),
        (("move", "Patient.name"), {"source": {"valueInteger": 0},
                                    "destination": {"valueInteger": 9}}, "beyond"),
        (("insert", "Patient.name", {"valueHumanName": {}}), {"index": {"valueInteger": 9}},
         "beyond"),
        (("delete", "Patient.descendants()"), {}, "not taken"),
        (("delete", "Patient.name.where(given.matches('(a+)+$'))"), {}, "not taken"),
        (("delete", "x" * 501), {}, "limited"),
    ],
)  # fmt: skip
def test_a_path_that_does_not_fit_is_refused(args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(FhirError, match=text):
        changed(*args, **kwargs)


def test_paths_with_functions_are_few() -> None:
    one = operation("delete", "Patient.name.where(use = 'old')")["parameter"][0]
    patch = patch_of(
        "application/fhir+json", {"resourceType": "Parameters", "parameter": [one] * 21}
    )
    with pytest.raises(FhirError, match="functions"):
        patch.apply(PATIENT, KNOWN)


def test_a_merge_patch_replaces_lists_and_takes_away_what_is_null() -> None:
    change = {"active": None, "name": [{"family": "DOE"}], "maritalStatus": {"text": "x"}}
    found = patch_of(MERGE_PATCH, change).apply(PATIENT, KNOWN)
    assert "active" not in found
    assert found["name"] == [{"family": "DOE"}]
    assert found["maritalStatus"] == {"text": "x"}
    assert PATIENT["active"] is True


def test_a_json_patch_does_not_wear_out() -> None:
    operations = [
        {"op": "add", "path": "/contact", "value": []},
        {"op": "add", "path": "/contact/-", "value": {"gender": "male"}},
    ]
    patch = patch_of(JSON_PATCH, operations)
    assert patch.apply(PATIENT, KNOWN) == patch.apply(PATIENT, KNOWN)
