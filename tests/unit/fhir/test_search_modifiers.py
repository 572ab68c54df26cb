"""Modifiers, prefixes and special values, each on a resource that has them and one that has not.

Source: https://hl7.org/fhir/R4/search.html
"""

from typing import Any

import pytest

from segue.fhir.expansion import Expander
from segue.fhir.outcomes import FhirError
from segue.fhir.profiles import definitions
from segue.fhir.search.query import parse
from segue.fhir.vocabulary import ICD10CM, LOINC, UCUM, V2, concept
from tests.unit.fhir.test_search import found as plainly

MR = {"coding": [{"system": V2 + "0203", "code": "MR"}], "text": "Medical record"}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "identifier": [{"type": MR, "system": "urn:hosp", "value": "12"}, {"value": "900"}],
    "name": [{"family": "O'Neil-Núñez", "given": ["Ada", "May"]}],
    "telecom": [{"system": "phone", "value": "555-1"}, {"system": "email", "value": "a@x.org"}],
    "address": [{"city": "Boston", "postalCode": "02114", "line": ["1 Oak"]}],
    "generalPractitioner": [
        {"identifier": {"system": "urn:npi", "value": "77"}, "display": "Dr X"}
    ],
    "deceasedDateTime": "2026-07-09",
    "text": {"status": "generated", "div": "<div>Lives <b>alone</b>, has a dog</div>"},
    "meta": {"source": "urn:feed:a#7", "profile": ["http://x/profiles/person"]},
}  # fmt: skip
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": LOINC, "code": "85354-9"}], "text": "Blood pressure panel"},
    "effectivePeriod": {"start": "2026-07-05T08:00:00Z", "end": "2026-07-05T09:00:00Z"},
    "valueQuantity": {"value": 5.4, "unit": "mg", "system": UCUM, "code": "mg"},
    "component": [
        {"code": concept(LOINC, "8480-6"), "valueQuantity": {"value": 140}},
        {"code": concept(LOINC, "8462-4"), "valueQuantity": {"value": 90}},
    ],
}  # fmt: skip
CONDITION: dict[str, Any] = {
    "resourceType": "Condition",
    "id": "c",
    "code": {"coding": [{"system": ICD10CM, "code": "I50.22"}, {"system": "urn:own", "code": "b"}]},
    "onsetAge": {"value": 61, "unit": "a"},
}
RISK = {
    "resourceType": "RiskAssessment",
    "id": "r",
    "prediction": [{"probabilityDecimal": 0.125}],
}
LIBRARY = {"resourceType": "PlanDefinition", "id": "l", "url": "http://x.org/plans/heart/failure"}
LOCATION = {
    "resourceType": "Location",
    "id": "w",
    "position": {"latitude": 42.36, "longitude": -71.06},
}

STORED: dict[tuple[str, str], dict[str, Any]] = {
    ("ValueSet", "urn:vs:heart"): {
        "compose": {
            "include": [
                {"system": "urn:own", "filter": [{"op": "is-a", "value": "a"}]},
                {"system": LOINC, "concept": [{"code": "85354-9"}]},
            ],
            "exclude": [{"system": "urn:own", "concept": [{"code": "a"}]}],
        }
    },
    ("CodeSystem", "urn:own"): {
        "concept": [{"code": "a", "concept": [{"code": "b"}]}, {"code": "z"}]
    },
    ("ValueSet", "urn:vs:all"): {"compose": {"include": [{"valueSet": ["urn:vs:heart"]}]}},
    ("ValueSet", "urn:vs:listed"): {"expansion": {"contains": [{"contains": [{"code": "x"}]}]}},
    ("ValueSet", "urn:vs:turning"): {"compose": {"include": [{"valueSet": ["urn:vs:turning"]}]}},
}  # fmt: skip
TERMS = Expander(definitions(), lambda type_, url: STORED.get((type_, url)))

CASES: list[tuple[dict[str, Any], str, str, bool]] = [
    (PATIENT, "name:exact", "Ada", True),
    (PATIENT, "name:exact", "ada", False),
    (PATIENT, "name:exact", "Ad", False),
    (PATIENT, "family:contains", "NEIL", True),
    (PATIENT, "family:contains", "nunez", True),
    (PATIENT, "family:contains", "x", False),
    (PATIENT, "family", "nunez", False),
    (PATIENT, "given", "x,ma", True),
    (PATIENT, "address-city", "bos", True),
    (PATIENT, "address-postalcode", "02114", True),
    (PATIENT, "phone", "555-1", True),
    (PATIENT, "phone", "a@x.org", False),
    (PATIENT, "email", "a@x.org", True),
    (PATIENT, "telecom", "phone|555-1", True),
    (PATIENT, "active", "true", True),
    (PATIENT, "deceased", "true", True),
    (PATIENT, "deceased", "false", False),
    (PATIENT, "death-date", "ge2026-07", True),
    (PATIENT, "identifier:of-type", f"{V2}0203|MR|12", True),
    (PATIENT, "identifier:of-type", f"{V2}0203|PI|12", False),
    (PATIENT, "identifier:of-type", f"{V2}0203|MR|900", False),
    (PATIENT, "identifier", "urn:hosp|", True),
    (PATIENT, "identifier", "urn:other|", False),
    (PATIENT, "identifier", "|900", True),
    (PATIENT, "identifier", "|12", False),
    (PATIENT, "identifier:not", "12", False),
    (PATIENT, "identifier:text", "medical", True),
    (PATIENT, "general-practitioner:identifier", "urn:npi|77", True),
    (PATIENT, "general-practitioner:identifier", "77", True),
    (PATIENT, "general-practitioner:identifier", "urn:x|77", False),
    (PATIENT, "general-practitioner:text", "dr", True),
    (PATIENT, "general-practitioner:missing", "false", True),
    (PATIENT, "organization:missing", "true", True),
    (PATIENT, "_text", "alone", True),
    (PATIENT, "_text", "b>", False),
    (PATIENT, "_content", "oak", True),
    (PATIENT, "_source", "urn:feed:a#7", True),
    (PATIENT, "_source:below", "urn:feed:a", False),
    (PATIENT, "_profile", "http://x/profiles/person", True),
    (PATIENT, "_profile:below", "http://x/profiles", True),
    (PATIENT, "_profile:below", "http://x/prof", False),
    (OBSERVATION, "code:text", "pressure", True),
    (OBSERVATION, "code:text", "ressure", False),
    (OBSERVATION, "code:not", "85354-9", False),
    (OBSERVATION, "code:not", "1,2", True),
    (OBSERVATION, "code:in", "urn:vs:heart", True),
    (OBSERVATION, "code:in", "urn:vs:all", True),
    (OBSERVATION, "code:in", "urn:vs:listed", False),
    (OBSERVATION, "code:not-in", "urn:vs:heart", False),
    (OBSERVATION, "status:in", "http://hl7.org/fhir/ValueSet/observation-status", True),
    (OBSERVATION, "status:not-in", "http://hl7.org/fhir/ValueSet/observation-status", False),
    (OBSERVATION, "value-quantity", "5.4", True),
    (OBSERVATION, "value-quantity", "5", True),
    (OBSERVATION, "value-quantity", "5.45", False),
    (OBSERVATION, "value-quantity", "gt5.3|http://unitsofmeasure.org|mg", True),
    (OBSERVATION, "value-quantity", "gt5.3||mg", True),
    (OBSERVATION, "value-quantity", "gt5.3||g", False),
    (OBSERVATION, "value-quantity", "ne5.4", False),
    (OBSERVATION, "value-quantity", "ge5.4", True),
    (OBSERVATION, "value-quantity", "lt5.4,gt100", False),
    (OBSERVATION, "value-quantity", "ap5.8", True),
    (OBSERVATION, "value-quantity", "sa5.4", False),
    (OBSERVATION, "value-quantity", "eb6", True),
    (OBSERVATION, "component-code-value-quantity", f"{LOINC}|8480-6$gt120", True),
    (OBSERVATION, "component-code-value-quantity", f"{LOINC}|8462-4$gt120", False),
    (OBSERVATION, "combo-code-value-quantity", "8462-4$lt95", True),
    (OBSERVATION, "code-value-quantity", "8462-4$lt95", False),
    (OBSERVATION, "date", "2026-07-05", True),
    (OBSERVATION, "date", "sa2026-07-05T07:59:00Z", True),
    (OBSERVATION, "date", "eb2026-07-05T09:30:00Z", True),
    (OBSERVATION, "date", "ne2026-07-05", False),
    (CONDITION, "code:below", f"{ICD10CM}|I50", True),
    (CONDITION, "code:below", f"{ICD10CM}|I51", False),
    (CONDITION, "code:above", f"{ICD10CM}|I50.220", True),
    (CONDITION, "code:above", f"{ICD10CM}|I50", False),
    (CONDITION, "code:below", "urn:own|a", True),
    (CONDITION, "code:below", "urn:own|z", False),
    (CONDITION, "code:above", "urn:own|b", True),
    (CONDITION, "code:in", "urn:vs:heart", True),
    (CONDITION, "onset-age", "gt60", True),
    (CONDITION, "onset-age", "61||a", True),
    (CONDITION, "stage:missing", "true", True),
    (RISK, "probability", "gt0.1", True),
    (RISK, "probability", "0.125", True),
    (RISK, "probability", "0.12", False),
    (RISK, "probability", "1e-1", True),
    (LIBRARY, "url:below", "http://x.org/plans/", True),
    (LIBRARY, "url:below", "http://x.org/plan", False),
    (LIBRARY, "url:above", "http://x.org/plans/heart/failure/early", True),
    (LOCATION, "near", "42.4|-71.1|10|km", True),
    (LOCATION, "near", "42.4|-71.1|1|km", False),
    (LOCATION, "near", "42.4|-71.1|5|[mi_us],0|0", True),
]


@pytest.mark.parametrize(("resource", "name", "value", "expected"), CASES)
def test_a_modifier_means_what_it_says(
    resource: dict[str, Any], name: str, value: str, expected: bool
) -> None:
    query = parse(resource["resourceType"], [(name, value)], strict=True, expander=TERMS)
    assert plainly(resource, query) is expected


@pytest.mark.parametrize(
    ("type_", "name", "value"),
    [
        ("Observation", "code:in", "urn:vs:unknown"), ("Observation", "code:in", "urn:vs:turning"),
        ("Observation", "code:below", "urn:unknown|a"), ("Observation", "value-quantity", "five"),
        ("Observation", "value-quantity", "1e999999"), ("Observation", "value-quantity", "nan"),
        ("Observation", "value-quantity", "1|2|3|4"), ("RiskAssessment", "probability", "1|2"),
        ("Observation", "code-value-quantity", "8480-6"), ("Location", "near", "here"),
        ("Observation", "code-value-quantity", "a$b$c"), ("Location", "near", "99|0"),
        ("Location", "near", "1|2|nan"), ("Location", "near", "1|2|3|parsec"),
        ("Observation", "code-value-quantity", "a$many"), ("Patient", "birthdate", "99999"),
        ("Patient", "gender:missing", "perhaps"), ("Patient", "general-practitioner:Dog", "x"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_refused(type_: str, name: str, value: str) -> None:
    with pytest.raises(FhirError) as caught:
        parse(type_, [(name, value)], expander=TERMS)
    assert caught.value.status in (400, 422)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (r"identifier", r"urn:x|a\,b"),
        ("identifier", r"urn:x|a\|b"),
        ("identifier", r"urn:x|a\$b"),
        ("identifier", r"urn:x|a\\b"),
    ],
)
def test_a_mark_with_a_backslash_is_part_of_the_value(name: str, value: str) -> None:
    plain = value.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    resource = {
        "resourceType": "Task",
        "id": "t",
        "identifier": [{"system": "urn:x", "value": plain.partition("|")[2]}],
    }
    assert plainly(resource, parse("Task", [(name, value)]))
