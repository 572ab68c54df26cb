"""What the hub makes of an ordinary stay is valid, and obeys US Core where it has a profile.

The check of profiles is not on the hot path: what the hub makes is held by this test.
"""

from collections import Counter
from pathlib import Path

import pytest

from segue.fhir.validation.validator import Validator
from tests.stories.messages import adt
from tests.support.hub import TestClock, gate, hub

INSTANT = "2026-07-06T12:00:00Z"
US = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
PROFILES = {
    "Patient": ["patient"],
    "Encounter": ["encounter"],
    "Organization": ["organization"],
    "Practitioner": ["practitioner"],
    "Location": ["location"],
    "Condition": ["condition-encounter-diagnosis"],
    "RelatedPerson": ["relatedperson"],
    "Coverage": ["coverage"],
    "CarePlan": ["careplan"],
    "CareTeam": ["careteam"],
    "Goal": ["goal"],
    "Provenance": ["provenance"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    stay = [
        adt(event, f"2026-07-05 {hour}:00", f"M{hour}", mrn="700123", visit="V77", place="4W^1^1")
        for event, hour in (("A01", "08"), ("A02", "10"), ("A03", "15"))
    ]
    folder: Path = tmp_path_factory.mktemp("own")
    with hub(folder, TestClock.at(INSTANT)) as bench:
        outcome = bench.process(*stay)
        assert not outcome.states
        rows = bench._rows(
            "SELECT r.type FROM resource r WHERE r.deleted = 0 GROUP BY r.type ORDER BY r.type"
        )
        return bench.resources(*[row[0] for row in rows])


def test_the_stay_makes_resources_of_many_types(made: list[dict]) -> None:
    types = Counter(resource["resourceType"] for resource in made)
    assert {"Patient", "Encounter", "CarePlan", "Task"} <= types.keys()


def test_validate_finds_no_error_in_what_the_hub_makes(made: list[dict]) -> None:
    validator = Validator(gate())
    for resource in made:
        found = [i for i in validator.issues(resource) if i.severity == "error"]
        assert found == [], resource["resourceType"]


@pytest.mark.parametrize("type_", PROFILES)
def test_what_us_core_has_a_profile_for_obeys_it(made: list[dict], type_: str) -> None:
    validator = Validator(gate())
    seen = [r for r in made if r["resourceType"] == type_]
    assert seen or type_ not in ("Patient", "Encounter", "CarePlan")
    for resource in seen:
        found = validator.issues(resource, [US + name for name in PROFILES[type_]])
        assert [issue for issue in found if issue.severity == "error"] == []
