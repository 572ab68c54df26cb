"""$apply, as clients ask it.

Sources: https://hl7.org/fhir/R4/plandefinition-operation-apply.html and
https://hl7.org/fhir/R4/activitydefinition-operation-apply.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_api_statements import discharged, tasks, text_of
from tests.support.api import Api, running

ACTIVITY = {
    "resourceType": "ActivityDefinition",
    "url": "urn:example:weigh",
    "version": "1",
    "status": "active",
    "kind": "Task",
    "code": {"text": "weigh"},
    "description": "Weigh the patient at home",
    "participant": [{"type": "practitioner", "role": {"text": "nurse"}}],
    "timingPeriod": {"end": "2026-08-01"},
}
ORDER = {
    "resourceType": "ActivityDefinition",
    "url": "urn:example:labs",
    "status": "active",
    "kind": "ServiceRequest",
    "code": {"text": "potassium"},
    "timingDateTime": "2026-07-20",
}


def fhirpath(expression: str) -> dict[str, Any]:
    return {
        "kind": "applicability",
        "expression": {"language": "text/fhirpath", "expression": expression},
    }


PLAN = {
    "resourceType": "PlanDefinition",
    "url": "urn:example:plan",
    "version": "2",
    "status": "active",
    "title": "Heart failure at home",
    "goal": [{"description": {"text": "No readmission"}}],
    "action": [
        {
            "title": "Watch",
            "condition": [fhirpath("%patient.gender = 'female'")],
            "groupingBehavior": "logical-group",
            "action": [
                {"id": "weigh", "definitionCanonical": "urn:example:weigh|1"},
                {"title": "Labs", "definitionCanonical": "urn:example:labs"},
                {"title": "Ring the family", "description": "Call the daughter"},
            ],
        },
        {"title": "Men", "condition": [fhirpath("Patient.gender = 'male'")],
         "definitionCanonical": "urn:example:weigh"},
    ],
}  # fmt: skip


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path, clock="2026-07-05T08:00:00-04:00") as started:
        yield started


def post(api: Api, resource: dict[str, Any]) -> str:
    answer = api.call("POST", f"/fhir/{resource['resourceType']}", resource)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def patient(api: Api, gender: str = "female") -> str:
    return "Patient/" + post(api, {"resourceType": "Patient", "gender": gender})


def proposed(api: Api, path: str) -> dict[str, Any]:
    before = api.get("_history")["total"]
    plan = api.get(path)
    assert api.get("_history")["total"] == before, "nothing is stored"
    assert api.bench.hub.gate.issues(plan) == []
    return dict(plan)


def made(plan: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    return [one for one in plan.get("contained", []) if one["resourceType"] == type_]


def test_a_protocol_is_applied_as_the_engine_applies_it(api: Api) -> None:
    stored = discharged(api)
    who = stored["visit"]["for"]["reference"]
    plan = proposed(api, f"PlanDefinition/pd-01-tcm/$apply?subject={who}")
    assert plan["resourceType"] == "CarePlan"
    assert plan["subject"] == {"reference": who}
    assert plan["instantiatesCanonical"] == ["urn:segue:PlanDefinition:tcm|2026.1"]
    (group,) = made(plan, "RequestGroup")
    proposals = {one["code"]["coding"][0]["code"]: one for one in made(plan, "Task")}
    assert len(group["action"]) == len(proposals)
    assert {"contact", "visit", "med-rec", "bill-tcm"} <= set(proposals)
    assert "notify-admit" not in proposals, "that is another protocol's"
    for code in ("contact", "visit"):
        assert proposals[code]["restriction"] == stored[code]["restriction"]
        assert proposals[code]["owner"] == stored[code]["owner"]
        assert (proposals[code]["status"], proposals[code]["intent"]) == ("draft", "proposal")
    (encounter,) = api.find("Encounter")
    here = f"Encounter/{encounter['id']}"
    url = "url=urn:segue:PlanDefinition:tcm"
    same = api.get(f"PlanDefinition/$apply?{url}&subject={who}&encounter={here}")
    assert len(made(same, "Task")) == len(proposals)


def test_a_protocol_proposes_nothing_to_whom_it_does_not_apply(api: Api) -> None:
    plan = proposed(api, f"PlanDefinition/pd-01-tcm/$apply?subject={patient(api)}")
    assert "activity" not in plan
    assert plan["status"] == "draft"


def test_a_posted_plan_is_applied_by_its_conditions_and_activities(api: Api) -> None:
    for one in (ACTIVITY, ORDER):
        post(api, one)
    id_ = post(api, PLAN)
    who = patient(api)
    plan = proposed(api, f"PlanDefinition/{id_}/$apply?subject={who}")
    (task, by_hand), (order,) = made(plan, "Task"), made(plan, "ServiceRequest")
    (group,), (goal,) = made(plan, "RequestGroup"), made(plan, "Goal")
    (watch,) = group["action"]
    assert [one["resource"]["reference"] for one in watch["action"]] == [
        f"#{one['id']}" for one in (task, order, by_hand)
    ]
    assert task["description"] == "Weigh the patient at home"
    assert task["instantiatesCanonical"] == "urn:example:weigh|1"
    assert task["restriction"] == {"period": {"end": "2026-08-01"}}
    assert task["performerType"] == [{"text": "nurse"}]
    assert order["occurrenceDateTime"] == "2026-07-20"
    assert by_hand["description"] == "Call the daughter"
    assert plan["goal"] == [{"reference": f"#{goal['id']}"}]
    men = proposed(api, f"PlanDefinition/{id_}/$apply?subject={patient(api, 'male')}")
    assert [one["code"] for one in made(men, "Task")] == [{"text": "weigh"}]


def test_a_plan_is_sent_along_and_plans_hold_plans(api: Api) -> None:
    post(api, ACTIVITY)
    inner = {"resourceType": "PlanDefinition", "url": "urn:example:inner", "status": "active",
             "action": [{"definitionCanonical": "urn:example:weigh"}]}  # fmt: skip
    post(api, inner)
    outer = {"resourceType": "PlanDefinition", "status": "active",
             "action": [{"title": "In", "definitionCanonical": "urn:example:inner"}]}  # fmt: skip
    who = patient(api)
    doctor = "Practitioner/" + post(api, {"resourceType": "Practitioner"})
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "planDefinition", "resource": outer},
            {"name": "subject", "valueReference": {"reference": who}},
            {"name": "practitioner", "valueString": doctor},
        ],
    }
    plan = api.call("POST", "/fhir/PlanDefinition/$apply", body).json()
    (task,) = made(plan, "Task")
    assert task["requester"] == {"reference": doctor}
    assert plan["author"] == {"reference": doctor}


def test_an_activity_alone_is_applied(api: Api) -> None:
    dynamic = {
        "path": "Task.description",
        "expression": {"language": "text/fhirpath", "expression": "'Weigh ' & Patient.gender"},
    }
    id_ = post(api, {**ACTIVITY, "dynamicValue": [dynamic]})
    task = proposed(api, f"ActivityDefinition/{id_}/$apply?subject={patient(api)}")
    assert task["description"] == "Weigh female"
    shipped = proposed(api, f"ActivityDefinition/tcm-visit/$apply?subject={patient(api)}")
    assert shipped["code"]["coding"][0]["code"] == "visit"


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("PlanDefinition/pd-01-tcm/$apply", 400, "subject"),
        ("PlanDefinition/pd-01-tcm/$apply?subject=Task/1", 400, "Patient"),
        ("PlanDefinition/pd-01-tcm/$apply?subject=Patient/nobody", 404, "nobody"),
        ("PlanDefinition/nothing/$apply?subject={}", 404, "nothing"),
        ("PlanDefinition/$apply?subject={}", 400, "url"),
        ("PlanDefinition/$apply?url=urn:no&subject={}", 404, "urn:no"),
    ],
)
def test_what_cannot_be_applied_says_why(api: Api, path: str, status: int, word: str) -> None:
    answer = api.call("GET", "/fhir/" + path.format(patient(api)))
    assert (answer.status_code, word in text_of(answer)) == (status, True), answer.text


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ({"definitionCanonical": "urn:example:nowhere"}, "urn:example:nowhere"),
        ({"condition": [fhirpath("Patient.(")]}, "FHIRPath"),
        ({"condition": [{"kind": "applicability",
                         "expression": {"language": "text/cql", "expression": "x"}}]}, "cql"),
    ],
)  # fmt: skip
def test_a_plan_with_an_unknown_part_is_refused_with_its_place(
    api: Api, action: dict[str, Any], word: str
) -> None:
    plan = {"resourceType": "PlanDefinition", "status": "active", "action": [action]}
    id_ = post(api, plan)
    answer = api.call("GET", f"/fhir/PlanDefinition/{id_}/$apply?subject={patient(api)}")
    assert answer.status_code == 422
    assert word in text_of(answer)
    assert answer.json()["issue"][0]["expression"][0].startswith("PlanDefinition.action[0]")


def test_plans_that_hold_one_another_are_refused(api: Api) -> None:
    action = [{"definitionCanonical": "urn:example:self"}]
    id_ = post(api, {"resourceType": "PlanDefinition", "url": "urn:example:self",
                     "status": "active", "action": action})  # fmt: skip
    answer = api.call("GET", f"/fhir/PlanDefinition/{id_}/$apply?subject={patient(api)}")
    assert answer.status_code == 422
    assert tasks(api) == {}
