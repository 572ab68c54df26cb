"""Profiles of a site, as they are published: with a snapshot or only a differential."""

import json
from pathlib import Path
from typing import Any

import pytest

from segue.fhir.profiles import definitions
from segue.fhir.validate import Gate
from segue.fhir.validation.compact import compact
from segue.fhir.validation.library import ProfileError, library
from segue.fhir.validation.validator import Validator

URL = "http://example.org/StructureDefinition/"
US = "http://hl7.org/fhir/us/core/StructureDefinition/"


def sd(name: str, type_: str, *elements: dict[str, Any], base: str = "") -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "url": URL + name,
        "name": name,
        "kind": "resource",
        "abstract": False,
        "type": type_,
        "derivation": "constraint",
        "baseDefinition": base or f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "differential": {"element": list(elements)},
    }


def site(folder: Path, *resources: dict[str, Any]) -> Validator:
    """A validator with a site's files."""
    folder.mkdir(exist_ok=True)
    for index, resource in enumerate(resources):
        (folder / f"{index}.json").write_text(json.dumps(resource))
    return Validator(Gate(definitions()), [folder])


def wrong(validator: Validator, resource: dict[str, Any], name: str) -> set[str]:
    """Where the profile is broken."""
    found = validator.issues(resource, [URL + name])
    return {issue.where for issue in found if issue.severity == "error"}


TASK = {
    "resourceType": "Task",
    "status": "requested",
    "intent": "order",
    "code": {"coding": [{"system": "urn:x", "code": "call"}]},
    "input": [
        {"type": {"text": "phone"}, "valueString": "555"},
        {"type": {"text": "when"}, "valueDateTime": "2026-01-01"},
    ],
}


def test_a_differential_adds_to_the_base(tmp_path: Path) -> None:
    validator = site(
        tmp_path,
        sd(
            "call",
            "Task",
            {"path": "Task", "constraint": [
                {"key": "c-1", "severity": "error", "expression": "note.exists().not()"}]},
            {"path": "Task.for", "min": 1},
            {"path": "Task.intent", "fixedCode": "order"},
            {"path": "Task.code", "patternCodeableConcept": {"coding": [{"code": "call"}]}},
            {"path": "Task.focus", "max": "0"},
            {"path": "Task.description", "maxLength": 5},
        ),
    )  # fmt: skip
    right = {**TASK, "for": {"reference": "Patient/1"}}
    assert wrong(validator, right, "call") == set()
    assert wrong(validator, TASK, "call") == {"Task.for"}
    assert wrong(validator, {**right, "intent": "plan"}, "call") == {"Task.intent"}
    assert wrong(validator, {**right, "code": {"text": "x"}}, "call") == {"Task.code"}
    assert wrong(validator, {**right, "focus": {"reference": "Task/1"}}, "call") == {"Task.focus"}
    assert wrong(validator, {**right, "description": "too long"}, "call") == {"Task.description"}
    assert wrong(validator, {**right, "note": [{"text": "x"}]}, "call") == {"Task"}


@pytest.mark.parametrize(
    ("kind", "path", "slice_"),
    [
        ("value", "type.text", {"path": "Task.input.type.text", "fixedString": "phone"}),
        (
            "pattern",
            "type",
            {"path": "Task.input.type", "patternCodeableConcept": {"text": "phone"}},
        ),
        ("type", "value", {"path": "Task.input.value[x]", "type": [{"code": "string"}]}),
        ("exists", "value.extension", {"path": "Task.input.value[x].extension", "max": "0"}),
    ],
)
def test_slices_are_told_apart(tmp_path: Path, kind: str, path: str, slice_: dict) -> None:
    validator = site(
        tmp_path,
        sd(
            "sliced",
            "Task",
            {
                "path": "Task.input",
                "slicing": {
                    "discriminator": [{"type": kind, "path": path}],
                    "rules": "open" if kind in ("value", "exists") else "closed",
                },
            },
            {"path": "Task.input", "sliceName": "phone", "min": 1, "max": "1"},
            slice_,
        ),
    )
    phone, when = TASK["input"]
    if kind == "exists":
        assert wrong(validator, {**TASK, "input": [phone]}, "sliced") == set()
        assert wrong(validator, {**TASK, "input": [phone, when]}, "sliced") == {"Task.input"}
        return
    closed = kind != "value"
    assert wrong(validator, {**TASK, "input": [phone]}, "sliced") == set()
    assert wrong(validator, {**TASK, "input": [phone, phone]}, "sliced") == {"Task.input"}
    expected = {"Task.input", "Task.input[0]"} if closed else {"Task.input"}
    assert wrong(validator, {**TASK, "input": [when]}, "sliced") == expected


def test_a_profile_of_a_profile_asks_for_both(tmp_path: Path) -> None:
    base = US + "us-core-organization"
    validator = site(
        tmp_path,
        sd("ours", "Organization", {"path": "Organization.partOf", "min": 1}, base=base),
    )
    resource = {"resourceType": "Organization", "name": "A", "active": True}
    assert wrong(validator, resource, "ours") == {"Organization.partOf"}
    assert wrong(validator, {"resourceType": "Organization", "name": "A"}, "ours") == {
        "Organization.partOf",
        "Organization.active",
    }


def test_value_sets_of_a_site_bind(tmp_path: Path) -> None:
    codes = {
        "resourceType": "ValueSet",
        "url": "http://example.org/ValueSet/calls",
        "compose": {"include": [{"system": "urn:x", "concept": [{"code": "call"}]}]},
    }
    binding = {"strength": "required", "valueSet": "http://example.org/ValueSet/calls|1"}
    validator = site(
        tmp_path, codes, sd("bound", "Task", {"path": "Task.code", "binding": binding})
    )
    assert wrong(validator, TASK, "bound") == set()
    other = {"coding": [{"system": "urn:x", "code": "visit"}]}
    found = validator.issues({**TASK, "code": other}, [URL + "bound"])
    [issue] = [i for i in found if i.severity == "error"]
    assert issue.where == "Task.code"
    assert issue.text.endswith("use one of call")


def test_choices_named_by_their_type_are_slices(tmp_path: Path) -> None:
    line = {"path": "Observation.valueQuantity.unit", "min": 1}
    validator = site(tmp_path, sd("unit", "Observation", line))
    resource = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    assert wrong(validator, {**resource, "valueString": "x"}, "unit") == set()
    assert wrong(validator, {**resource, "valueQuantity": {"value": 1}}, "unit") == {
        "Observation.valueQuantity.unit"
    }


def test_a_file_that_is_no_profile_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "p.json").write_text(
        json.dumps({**sd("empty", "Task"), "differential": {"element": []}})
    )
    with pytest.raises(ProfileError, match="StructureDefinition/empty"):
        library(folder)
    (folder / "p.json").write_text("{")
    with pytest.raises(ValueError, match=r"p\.json"):
        library(folder)


def test_a_snapshot_keeps_only_what_goes_beyond_the_base() -> None:
    name = {"min": 1, "max": "*", "base": {"path": "Patient.name", "min": 0, "max": "*"}}
    active = {"min": 0, "max": "1", "base": {"path": "Patient.active", "min": 0, "max": "1"}}
    whole = sd("named", "Patient")
    whole["snapshot"] = {
        "element": [
            {"path": "Patient"},
            {"path": "Patient.active", **active, "type": [{"code": "boolean"}]},
            {"path": "Patient.name", **name, "type": [{"code": "HumanName"}]},
        ]
    }
    found = compact(whole, definitions())
    assert found == {"type": "Patient", "children": {"name": {"min": 1}}}


def test_must_support_is_information_only() -> None:
    validator = Validator(Gate(definitions()))
    patient = {"resourceType": "Patient", "gender": "female"}
    [issue] = validator.advice(patient, US + "us-core-patient")
    assert issue.severity == "information"
    assert "birthDate" in issue.text
    assert "gender" not in issue.text.partition("support")[2]
