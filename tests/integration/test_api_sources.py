"""What source systems keep here is theirs, and takes part in coordination."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.care.parties import organization_id
from segue.fhir.lifecycle import TASK_OPEN, reachable_from
from segue.model.identity import ResourceKey
from segue.store.store import open_store
from tests.integration.test_api_statements import discharged, tasks, text_of
from tests.support.api import Api, running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path, clock="2026-07-05T08:00:00-04:00") as started:
        yield started


def subject(api: Api) -> dict[str, str]:
    (patient,) = [one for one in api.find("Patient") if one.get("active", True)]
    return {"reference": f"Patient/{patient['id']}"}


def made(api: Api, resource: dict[str, Any], client: str = "pcpb") -> dict[str, Any]:
    answer = api.call("POST", f"/fhir/{resource['resourceType']}", resource, client=client)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def put(api: Api, resource: dict[str, Any], client: str = "pcpb") -> Any:
    path = f"/fhir/{resource['resourceType']}/{resource['id']}"
    return api.call("PUT", path, resource, client=client)


def at(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def plan_of(api: Api) -> dict[str, Any]:
    (plan,) = [one for one in api.find("CarePlan") if one.get("title") == "Coordinating care plan"]
    return plan


def pointed(elements: Any) -> set[str]:
    return {one.get("reference", one)["reference"] if isinstance(one.get("reference"), dict)
            else one["reference"] for one in elements}  # fmt: skip


def goal(api: Api) -> dict[str, Any]:
    return {
        "resourceType": "Goal",
        "lifecycleStatus": "active",
        "description": {"text": "Walks to the mailbox"},
        "subject": subject(api),
    }


def task(api: Api, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "for": subject(api),
        **more,
    }


def site(name: str) -> dict[str, str]:
    return {"reference": f"Organization/{organization_id(name)}"}


# --- whose it is --------------------------------------------------------------------------


def test_what_a_source_stores_names_it(api: Api) -> None:
    discharged(api)
    kept = made(api, goal(api))
    assert kept["meta"]["source"] == "urn:segue:site:pcpb"
    (provenance,) = api.find("Provenance", f"target=Goal/{kept['id']}")
    assert provenance["agent"][0]["who"]["identifier"]["value"] == "pcpb"
    assert put(api, {k: v for k, v in kept.items() if k != "meta"}).headers["ETag"] == 'W/"1"'


def test_a_source_that_a_client_names_itself_is_kept(api: Api) -> None:
    discharged(api)
    kept = made(api, {**goal(api), "meta": {"source": "https://records.example/fhir"}})
    assert kept["meta"]["source"] == "https://records.example/fhir"
    assert made(api, goal(api), "nobody")["meta"]["source"] == "urn:segue:client:nobody"


def test_nobody_changes_or_deletes_what_another_source_stored(api: Api) -> None:
    discharged(api)
    kept = made(api, goal(api))
    refused = put(api, {**kept, "lifecycleStatus": "cancelled"}, "payx")
    assert refused.status_code == 403
    assert "pcpb's own" in text_of(refused)
    deleted = api.call("DELETE", f"/fhir/Goal/{kept['id']}", client="payx")
    assert deleted.status_code == 403
    assert put(api, kept, "payx").status_code == 200, "what changes nothing is no change"
    assert put(api, {**kept, "lifecycleStatus": "completed"}).status_code == 200
    assert api.call("DELETE", f"/fhir/Goal/{kept['id']}").status_code == 204
    back = put(api, {**kept, "lifecycleStatus": "proposed"}, "payx")
    assert back.status_code == 201
    assert put(api, kept).status_code == 403, "who brought it back is its author now"


def test_a_conditional_update_does_not_reach_what_another_source_stored(api: Api) -> None:
    discharged(api)
    number = {"system": "urn:example:goals", "value": "7"}
    made(api, {**goal(api), "identifier": [number]})
    mine = {**goal(api), "identifier": [number], "lifecycleStatus": "cancelled"}
    answer = api.call("PUT", "/fhir/Goal?identifier=urn:example:goals|7", mine, client="payx")
    assert answer.status_code == 403
    bundle = api.post([goal(api), {**mine, "id": api.find("Goal", "identifier=7")[0]["id"]}],
                      client="payx")  # fmt: skip
    assert bundle.status_code == 403
    assert "Bundle.entry[1]" in bundle.text
    assert len(api.find("Goal")) == 2, "a transaction is done as a whole"


def test_two_clients_of_one_site_are_one_source(api: Api) -> None:
    discharged(api)
    kept = made(api, goal(api))
    assert put(api, {**kept, "lifecycleStatus": "completed"}, "pcpb-history").status_code == 200


def test_a_configured_client_may_correct_others(api: Api) -> None:
    discharged(api)
    kept = made(api, goal(api))
    assert put(api, {**kept, "lifecycleStatus": "completed"}, "steward").status_code == 200
    assert put(api, kept, "steward").status_code == 200
    assert put(api, {**kept, "lifecycleStatus": "on-hold"}).status_code == 200


def test_a_second_source_states_an_encounter_without_taking_it_over(api: Api) -> None:
    discharged(api)
    visit = {
        "resourceType": "Encounter",
        "identifier": [{"system": "urn:segue:authority:PCPB", "value": "E77"}],
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": subject(api),
    }
    first = made(api, visit)
    again = api.call("POST", "/fhir/Encounter", {**visit, "status": "cancelled"}, client="payx")
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert again.json()["status"] == "finished"


# --- in the plan --------------------------------------------------------------------------


def test_what_sources_do_stands_in_the_coordinating_plan_while_it_is_under_way(api: Api) -> None:
    discharged(api)
    who = subject(api)
    kept = {
        "supportingInfo": made(api, {
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": who,
        }),
        "goal": made(api, goal(api)),
        "careTeam": made(api, {"resourceType": "CareTeam", "status": "active", "subject": who}),
        "activity": made(api, task(api), "payx"),
        "addresses": made(api, {
            "resourceType": "Condition", "code": {"text": "Lives alone"}, "subject": who,
        }),
    }  # fmt: skip
    order = made(api, {
        "resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": who,
    })  # fmt: skip
    plan = plan_of(api)
    for element, resource in kept.items():
        assert at(resource) in pointed(plan[element]), element
    assert at(order) in pointed(plan["activity"])
    contributors = {one["display"] for one in plan["contributor"]}
    assert contributors >= {"PCPB", "PAYX"}
    assert put(api, {**kept["goal"], "lifecycleStatus": "completed"}).status_code == 200
    assert put(api, {**kept["activity"], "status": "completed"}, "payx").status_code == 200
    plan = plan_of(api)
    assert at(kept["goal"]) not in pointed(plan["goal"])
    assert at(kept["activity"]) not in pointed(plan["activity"])
    assert api.call("DELETE", "/fhir/" + at(kept["supportingInfo"])).status_code == 204
    assert at(kept["supportingInfo"]) not in pointed(plan_of(api)["supportingInfo"])


def test_coverage_and_consent_are_what_the_plan_rests_on(api: Api) -> None:
    discharged(api)
    who = subject(api)
    coverage = made(api, {
        "resourceType": "Coverage", "status": "active", "beneficiary": who, "payor": [site("payx")],
    }, "payx")  # fmt: skip
    scope = "http://terminology.hl7.org/CodeSystem/consentscope"
    consent = made(api, {
        "resourceType": "Consent", "status": "active", "patient": who,
        "scope": {"coding": [{"system": scope, "code": "patient-privacy"}]},
        "category": [{"text": "Sharing"}], "policyRule": {"text": "Opt in"},
    })  # fmt: skip
    assert {at(coverage), at(consent)} <= pointed(plan_of(api)["supportingInfo"])


def test_a_resolved_condition_is_history_and_not_addressed(api: Api) -> None:
    discharged(api)
    system = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    condition = {"resourceType": "Condition", "code": {"text": "Flu"}, "subject": subject(api)}
    kept = made(api, condition)
    assert at(kept) in pointed(plan_of(api)["addresses"])
    over = {**kept, "clinicalStatus": {"coding": [{"system": system, "code": "resolved"}]}}
    assert put(api, over).status_code == 200
    assert at(kept) not in pointed(plan_of(api)["addresses"])


def test_an_appointment_is_the_visit_booked_and_not_the_visit(api: Api) -> None:
    discharged(api)
    booked = made(api, {
        "resourceType": "Appointment", "status": "booked",
        "start": "2026-07-15T09:00:00-04:00", "end": "2026-07-15T09:30:00-04:00",
        "participant": [{"actor": subject(api), "status": "accepted"}],
    })  # fmt: skip
    visit = tasks(api)["visit"]
    assert visit["status"] == "in-progress"
    assert visit["businessStatus"]["coding"][0]["code"] == "5.1.1"
    assert put(api, {**booked, "status": "noshow"}).status_code == 200
    assert tasks(api)["visit"]["businessStatus"]["coding"][0]["code"] == "5.1.2"
    api.at("2026-07-16T10:00:00-04:00")
    made(api, {
        "resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"},
        "subject": subject(api), "appointment": [{"reference": at(booked)}],
        "period": {"start": "2026-07-16T09:00:00-04:00", "end": "2026-07-16T09:30:00-04:00"},
    })  # fmt: skip
    assert tasks(api)["visit"]["status"] == "completed"


def test_answers_count_where_the_owner_points_to_them(api: Api) -> None:
    follow_up = discharged(api)["surveillance-07-13"]
    api.at("2026-07-13T12:00:00-04:00")
    answers = made(api, {
        "resourceType": "QuestionnaireResponse", "status": "completed", "subject": subject(api),
        "authored": "2026-07-13T11:30:00-04:00",
    })  # fmt: skip
    assert tasks(api)["surveillance-07-13"]["status"] == "requested"
    proof = {"type": {"text": "answers"}, "valueReference": {"reference": at(answers)}}
    said = put(api, {**follow_up, "status": "completed", "output": [proof]})
    assert said.status_code == 200, said.text
    assert said.json()["status"] == "completed"


# --- a source's Tasks ---------------------------------------------------------------------


def referral(api: Api) -> dict[str, Any]:
    """The payer asks the practice."""
    return made(api, task(api, owner=site("pcpb"), requester=site("payx")), "payx")


def test_the_owner_leads_anothers_task_through_its_states_and_the_requester_hears(
    api: Api,
) -> None:
    discharged(api)
    asked = referral(api)
    api.deliveries()
    taken = put(api, {**asked, "status": "accepted", "note": [{"text": "on it"}]})
    assert taken.status_code == 200, taken.text
    assert api.deliveries()["payx"] == [at(asked)]
    without = put(api, {**taken.json(), "status": "completed"})
    assert without.status_code == 422
    assert "give an output" in text_of(without)
    output = {"type": {"text": "result"}, "valueString": "spoke to the patient"}
    done = put(api, {**taken.json(), "status": "completed", "output": [output]})
    assert done.status_code == 200
    assert at(asked) not in pointed(plan_of(api).get("activity", []))


def test_a_step_that_the_owner_may_not_take_is_refused_with_those_that_it_may(api: Api) -> None:
    discharged(api)
    refused = put(api, {**referral(api), "status": "in-progress"})
    assert refused.status_code == 422
    assert "accepted, completed, received, rejected" in text_of(refused)


def test_the_rest_of_a_task_is_who_asked_for_it(api: Api) -> None:
    discharged(api)
    asked = referral(api)
    refused = put(api, {**asked, "description": "something else"})
    assert refused.status_code == 422
    assert "Task.description is decided by payx" in text_of(refused)
    assert put(api, {**asked, "status": "accepted"}, "hospa-cm").status_code == 403
    assert put(api, {**asked, "description": "something else"}, "payx").status_code == 200


def test_who_asked_may_take_a_task_back_and_not_do_it(api: Api) -> None:
    discharged(api)
    asked = referral(api)
    refused = put(api, {**asked, "status": "accepted"}, "payx")
    assert refused.status_code == 422
    assert "from here: cancelled, entered-in-error" in text_of(refused)
    assert put(api, {**asked, "status": "cancelled"}, "payx").status_code == 200


@pytest.mark.parametrize("after", ["accepted", "completed", "failed"])
def test_a_source_may_leave_out_steps_of_its_own_work(api: Api, after: str) -> None:
    discharged(api)
    assert put(api, {**made(api, task(api)), "status": after}).status_code == 200


def test_an_end_is_an_end_also_for_a_sources_own_task(api: Api) -> None:
    discharged(api)
    ended = put(api, {**made(api, task(api)), "status": "completed"}).json()
    refused = put(api, {**ended, "status": "in-progress"})
    assert refused.status_code == 422
    assert "from here: entered-in-error" in text_of(refused)
    assert put(api, {**ended, "status": "entered-in-error"}).status_code == 200


def test_every_state_of_a_task_leads_to_an_end() -> None:
    for state in TASK_OPEN:
        assert reachable_from("Task", state) >= {"completed", "cancelled", "failed"}, state


def test_a_create_with_a_search_in_its_url_is_conditional(api: Api) -> None:
    discharged(api)
    number = {"system": "urn:example:goals", "value": "9"}
    path = "/fhir/Goal?identifier=urn:example:goals|9"
    first = api.call("POST", path, {**goal(api), "identifier": [number]})
    again = api.call("POST", path, {**goal(api), "identifier": [number]})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert api.call("POST", "/fhir/Goal?quux=1", goal(api)).status_code == 400


def test_whose_resource_it_is_outlives_a_store_that_is_made_anew(api: Api, tmp_path: Path) -> None:
    discharged(api)
    kept, asked = made(api, goal(api)), referral(api)
    assert put(api, {**asked, "status": "accepted"}).status_code == 200
    assert put(api, {**kept, "lifecycleStatus": "on-hold"}, "steward").status_code == 200
    assert api.bench.rebuilt(tmp_path / "anew").different == []
    anew = open_store(tmp_path / "anew", api.bench.clock)
    keys = [ResourceKey("Goal", kept["id"]), ResourceKey("Task", asked["id"])]
    with anew.read() as reader:
        assert reader.history.authors(keys) == {keys[0]: "pcpb", keys[1]: "payx"}
    anew.close()
