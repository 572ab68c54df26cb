"""The functions that stand for FHIRPath expressions say what the expressions say."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.fhir.fhirpath import compile_path, holds_at
from segue.fhir.profiles import shipped
from segue.fhir.validation.items import Item
from segue.fhir.validation.library import library
from segue.fhir.validation.rules import FUNCTIONS, holds
from segue.fhir.validation.tree import Node
from segue.fhir.validation.validator import Validator
from tests.unit.fhir.validation.samples import SAMPLES

# fhirpathpy cannot follow references, nor ask of which System type an answer is, nor take an
# element for true.
BEYOND = (
    "practitioner or",
    "telecom or",
    "resolve()",
    "answer is Boolean",
    "$this as dateTime",
    "$this is DateTime",
)
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
MB = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB"}]}
VALUES: dict[str, list[Any]] = {
    "family": ["Roe"],
    "given": [["Ada"]],
    "extension": [[{"url": ABSENT, "valueCode": "unknown"}], [{"url": "urn:x", "valueCode": "x"}]],
    "component": [[{"code": {"text": "x"}, "valueString": "x"}]],
    "hasMember": [[{"reference": "Observation/1"}]],
    "dataAbsentReason": [{"text": "x"}],
    "valueQuantity": [{"value": 1, "system": "http://unitsofmeasure.org"}, {"system": "urn:x"}],
    "status": ["final", "registered", "completed", "in-progress", "cancelled"],
    "effectiveDateTime": ["2026"],
    "issued": ["2026-01-01T00:00:00Z"],
    "performedDateTime": ["2026"],
    "whenHandedOver": ["2026-01-01"],
    "intent": ["order", "plan", "original-order"],
    "requester": [{"reference": "Patient/1"}],
    "url": ["http://x.org"],
    "data": ["QQ=="],
    "practitioner": [{"reference": "Practitioner/1"}],
    "organization": [{"reference": "Organization/1"}],
    "telecom": [[{"system": "phone", "value": "1"}]],
    "endpoint": [[{"reference": "Endpoint/1"}]],
    "name": ["Name", "name", "a b", "X_1", "É"],
    "relationship": [[{"text": "x"}]],
    "subscriberId": ["1"],
    "identifier": [[{"type": MB, "value": "1"}], [{"value": "1"}]],
    "value": ["1234567890", "12345", "12D1234567", "x"],
    "comparator": ["<"],
    "subject": [{"reference": "Patient/1"}],
}
_TYPE = {
    "family.exists": "HumanName",
    "name.matches": "ValueSet",
    "value.matches": "Identifier",
    "url.exists": "Attachment",
    "comparator": "Quantity",
    "name.exists": "RelatedPerson",
    "identifier.type": "Coverage",
    "practitioner or": "PractitionerRole",
    "telecom or": "PractitionerRole",
    "performed": "Procedure",
    "whenHandedOver": "MedicationDispense",
    "intent=": "MedicationRequest",
    "issued": "DiagnosticReport",
}
_STEM = re.compile("(Quantity|DateTime)$")
TOLD = [e for e in FUNCTIONS if not any(part in e for part in BEYOND)]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("expression", TOLD)
def test_a_function_says_what_its_expression_says(expression: str, data: st.DataObject) -> None:
    type_ = next((t for part, t in _TYPE.items() if part in expression), "Observation")
    named = [name for name in VALUES if _STEM.sub("", name) in expression]
    likely = [n for n in named if not (n == "name" and type_ == "RelatedPerson")]
    # Elements that the base requires; without them an expression has no answer.
    always = [n for n in likely if n in ("status", "intent", "value", "name")]
    likely = [n for n in likely if n not in always]
    node = {name: data.draw(st.sampled_from(VALUES[name])) for name in always}
    node |= {
        name: data.draw(st.sampled_from(VALUES[name]))
        for name in data.draw(st.lists(st.sampled_from(likely or ["url"]), unique=True))
    }
    ours = holds(expression, Item(node, type_, type_, type_), node)
    assert ours == holds_at(node, type_, expression, node)


def test_every_rule_of_the_profiles_can_be_read() -> None:
    profiles, _ = library()
    expressions: set[str] = set()

    def collect(node: Node) -> None:
        expressions.update(rule.expression for rule in node.rules)
        for child in (*node.children.values(), *node.slices.values()):
            collect(child)

    for profile in profiles.values():
        collect(profile.root)
    rows = json.loads((shipped() / "definitions" / "rules.json").read_text())
    expressions |= {rule[2] for rules in rows.values() for rule in rules}
    assert len(expressions) > 100
    for expression in sorted(expressions):
        if not any(part in expression for part in ("resolve()", "memberOf(", "htmlChecks")):
            assert callable(compile_path(expression))


def test_what_is_very_large_is_not_put_to_fhirpath(validator: Validator) -> None:
    concepts = [{"code": f"c{n}", "display": "x"} for n in range(10_000)]
    concepts[1]["code"] = "c0"
    resource = {**SAMPLES["code system"], "concept": concepts}
    assert validator.refusals(resource) == []
    found = validator.issues(resource)
    assert "too-costly" in {issue.code for issue in found}


def test_only_types_with_rules_of_their_own_pay_for_fhirpath(validator: Validator) -> None:
    ruled = {t for t in validator.gate.definitions.resources if validator.survey.ruled(t)}
    assert {"Questionnaire", "StructureDefinition", "ValueSet", "PlanDefinition"} <= ruled
    usual = "Patient Encounter Condition Observation Task CarePlan Goal Claim Consent Procedure"
    assert not ruled & set(usual.split())
