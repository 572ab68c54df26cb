from pathlib import Path

import pytest

from segue.fhir.canonical import loads
from segue.fhir.validation.validator import Validator
from tests.unit.fhir.examples import EXAMPLES
from tests.unit.fhir.validation.cases import CASES, Case
from tests.unit.fhir.validation.samples import SAMPLES


def test_there_are_cases_enough_and_each_names_its_rule() -> None:
    assert len(CASES) > 150
    assert all(case.rule for case in CASES)
    assert sum(not case.found for case in CASES) >= 25


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.path}")
def test_the_rule_is_judged(validator: Validator, case: Case) -> None:
    found = validator.issues(case.resource)
    if case.found:
        assert case.found in {f"{issue.severity} {issue.where}" for issue in found}, found
    else:
        assert [issue for issue in found if issue.severity == "error"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.path}")
def test_what_the_gate_refuses_is_an_error_for_the_validator(
    validator: Validator, case: Case
) -> None:
    refused = {(i.where, i.code) for i in validator.refusals(case.resource)}
    errors = {(i.where, i.code) for i in validator.issues(case.resource) if i.severity == "error"}
    assert refused <= errors


@pytest.mark.parametrize("name", [*SAMPLES, *EXAMPLES])
def test_every_sample_is_right(validator: Validator, name: str) -> None:
    resource = SAMPLES.get(name) or EXAMPLES[name]
    assert [i for i in validator.issues(resource) if i.severity == "error"] == []


@pytest.mark.parametrize("folder", ["synthea", "us_core_610_package_examples"])
def test_resources_of_others_pass_with_their_profiles(
    validator: Validator, shared_data: Path, folder: str
) -> None:
    seen = 0
    for path in sorted((shared_data / "fhir" / folder).rglob("*.json")):
        resource = loads(path.read_bytes())
        if "resourceType" in resource:
            assert validator.refusals(resource) == [], path.name
            seen += 1
    assert seen
