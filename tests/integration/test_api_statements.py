"""What clients' writes mean: identities, evidence, statements about Tasks and plans."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.care.parties import organization_id
from tests.stories import s01
from tests.stories.messages import adt
from tests.support.api import Api, running

LINK = "urn:uuid:00000000-0000-4000-9000-000000000001"
PROOF = "urn:uuid:00000000-0000-4000-9000-000000000019"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path, clock="2026-07-05T08:00:00-04:00") as started:
        yield started
        # Whatever was said: the journal and the records beside it say it all.
        assert started.bench.rebuilt(tmp_path / "anew").different == []


def priming() -> list[dict[str, Any]]:
    condition = {
        "resourceType": "Condition",
        "code": {"coding": [{"system": s01.ICD, "code": "E11.9"}]},
        "subject": {"reference": LINK},
    }
    start, end = "2026-02-11T10:00:00-05:00", "2026-02-11T15:00:00-05:00"
    stay = ("2025-11-03T09:00:00-05:00", "2025-11-06T12:00:00-05:00")
    return [
        s01.patient(),
        s01.encounter("EMER", start, end, "E1"),
        s01.encounter("IMP", *stay, "I1"),
        condition,
    ]


def discharged(api: Api) -> dict[str, dict[str, Any]]:
    """A stay of five days that ends at home; its Tasks by code (and due date)."""
    api.at("2026-07-05T13:42:50-04:00")
    api.hl7(
        adt("A01", "2026-07-05 13:42", "1", place="4W^412^1", diagnoses=[s01.HF],
            admitted="2026-07-05 13:40")
    )  # fmt: skip
    api.at("2026-07-10T14:31:00-04:00")
    api.hl7(
        adt("A03", "2026-07-10 14:05", "2", place="4W^412^1", diagnoses=[s01.HF],
            disposition="01", discharged="2026-07-10 14:05")
    )  # fmt: skip
    return tasks(api)


def tasks(api: Api) -> dict[str, dict[str, Any]]:
    found = {}
    for task in api.find("Task"):
        code = task["code"]["coding"][0]["code"]
        if code == "surveillance":
            code += task["restriction"]["period"]["end"][4:10]
        found[code] = task
    return found


def contact(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Communication",
        "_fullUrl": PROOF,
        "status": "completed",
        "subject": task["for"],
        "recipient": [task["for"]],
        "received": "2026-07-13T15:10:00-04:00",
        "about": [{"reference": f"Task/{task['id']}"}],
        **more,
    }


def done(task: dict[str, Any], reference: str = PROOF) -> dict[str, Any]:
    output = {"type": {"text": "proof"}, "valueReference": {"reference": reference}}
    return {**task, "status": "completed", "output": [output]}


def text_of(answer: Any) -> str:
    return " ".join(issue["diagnostics"] for issue in answer.json()["issue"])


# --- history ------------------------------------------------------------------------------


def test_priming_fills_the_index_and_starts_nothing(api: Api) -> None:
    answer = api.post(priming(), client="pcpb-history")
    assert answer.status_code == 200, answer.text
    assert {e["response"]["status"] for e in answer.json()["entry"]} == {"201 Created"}
    assert api.deliveries() == {}
    assert api.find("Task") == api.find("CarePlan") == api.find("EpisodeOfCare") == []
    (patient,) = api.find("Patient")
    assert patient["identifier"][0]["value"] == "77" or patient["identifier"][1]["value"] == "77"
    encounters = api.find("Encounter", f"patient={patient['id']}")
    assert {e["class"]["code"] for e in encounters} == {"EMER", "IMP"}
    assert {e["status"] for e in encounters} == {"finished"}
    assert api.get(f"Condition?patient={patient['id']}")["total"] == 1


def test_priming_again_changes_nothing(api: Api) -> None:
    api.post(priming(), client="pcpb-history")
    before = api.get("_history")["total"]
    answer = api.post(priming()[:3], client="pcpb-history")
    assert [e["response"]["status"] for e in answer.json()["entry"]] == ["200 OK"] * 3
    assert [e["response"]["etag"] for e in answer.json()["entry"]] == ['W/"1"'] * 3
    assert api.get("_history")["total"] == before


def test_what_was_primed_counts_in_the_score_of_the_next_stay(api: Api) -> None:
    emergency = s01.encounter(
        "EMER", "2026-04-20T10:00:00-04:00", "2026-04-20T15:00:00-04:00", "E2"
    )
    api.post([*priming(), emergency], client="pcpb-history")
    discharged(api)
    (risk,) = api.find("RiskAssessment")
    score = api.get(risk["basis"][0]["reference"])
    assert "L" in str(score["component"])
    primed_e = next(c for c in score["component"] if c["code"]["coding"][0]["code"].endswith("E"))
    assert 2 in [v for v in primed_e.values() if isinstance(v, int)] or "2" in str(primed_e)


# --- identities ---------------------------------------------------------------------------


def test_a_clients_patient_and_the_hospitals_are_one_person_with_one_active_patient(
    api: Api,
) -> None:
    api.post(priming(), client="pcpb-history")
    (first,) = api.find("Patient")
    discharged(api)
    patients = api.find("Patient")
    active = [p for p in patients if p.get("active", True)]
    assert len(patients) == 2
    assert len(active) == 1
    (gone,) = [p for p in patients if p not in active]
    assert gone["link"][0]["type"] == "replaced-by"
    assert first["id"] in {p["id"] for p in patients}
    values = {i["value"] for i in active[0]["identifier"]}
    assert {"77", "900017", "100234"} <= values
    (contact_task,) = api.find("Task", "code=contact")
    assert contact_task["for"]["reference"] == f"Patient/{active[0]['id']}"
    assert api.get(f"Condition?patient={active[0]['id']}")["total"] >= 2


def test_a_client_patient_for_a_known_person_joins_that_person(api: Api) -> None:
    discharged(api)
    (known,) = api.find("Patient")
    answer = api.post([s01.patient()])
    assert answer.json()["entry"][0]["response"]["status"] == "201 Created"
    patients = api.find("Patient")
    assert len([p for p in patients if p.get("active", True)]) == 1
    assert len(patients) == 2
    assert known["id"] in {p["id"] for p in patients}


def test_a_second_create_of_an_identity_answers_with_the_first(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"}
    first = api.call("POST", "/fhir/Patient", patient)
    assert first.status_code == 201
    again = api.call("POST", "/fhir/Patient", {**patient, "gender": "other"})
    assert again.status_code == 200
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["gender"] == "other"
    assert again.headers["etag"] == 'W/"2"'


def test_a_patient_keeps_the_id_that_its_client_gave_it(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"} | {"id": "p-77"}
    made = api.call("PUT", "/fhir/Patient/p-77", patient)
    assert made.status_code == 201
    assert made.json() == {**patient, "meta": made.json()["meta"]}
    api.hl7(adt("A31", "2026-07-05 08:00", "9", patient_class="N"))
    assert api.call("GET", "/fhir/Patient/p-77").status_code == 200


def test_another_id_for_a_known_identity_is_a_conflict_that_names_the_first(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"}
    first = api.call("POST", "/fhir/Patient", patient).json()["id"]
    answer = api.call("PUT", "/fhir/Patient/other", {**patient, "id": "other"})
    assert answer.status_code == 409
    assert f"Patient/{first}" in text_of(answer)
    assert api.call("GET", "/fhir/Patient/other").status_code == 404


def test_in_a_feeds_bundle_its_own_ids_are_rewritten(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"}
    first = api.call("POST", "/fhir/Patient", patient).json()["id"]
    answer = api.post(
        [
            {**patient, "id": "other"},
            {
                "resourceType": "Communication",
                "status": "completed",
                "subject": {"reference": "Patient/other"},
            },
        ]
    )
    assert answer.status_code == 200, answer.text
    assert f"/Patient/{first}/" in answer.json()["entry"][0]["response"]["location"]
    (made,) = api.find("Communication")
    assert made["subject"]["reference"] == f"Patient/{first}"


def test_demographics_are_their_authoritys(api: Api) -> None:
    api.hl7(adt("A31", "2026-07-05 08:00", "9", patient_class="N"))
    (patient,) = api.find("Patient")
    path = f"/fhir/Patient/{patient['id']}"
    same = api.call("PUT", path, patient)
    assert (same.status_code, same.headers["etag"]) == (200, 'W/"1"')
    refused = api.call("PUT", path, {**patient, "gender": "other"})
    assert refused.status_code == 422
    assert "HOSPA" in text_of(refused)
    own = api.call("PUT", path, {**patient, "gender": "other"}, client="hospa-cm")
    assert own.status_code == 200
    assert own.json()["gender"] == "other"


def test_an_update_of_ones_own_patient_replaces_what_one_said(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"}
    made = api.call("POST", "/fhir/Patient", patient).json()
    path = f"/fhir/Patient/{made['id']}"
    changed = {k: v for k, v in made.items() if k != "birthDate"}
    changed["name"] = [{"family": "ROE", "given": ["JANE"]}]
    answer = api.call("PUT", path, changed, headers={"If-Match": 'W/"1"'})
    assert answer.status_code == 200
    assert answer.json()["name"] == changed["name"]
    assert "birthDate" not in answer.json()
    again = api.call("PUT", path, answer.json())
    assert again.headers["etag"] == 'W/"2"'
    stale = api.call("PUT", path, made, headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412


def test_death_that_a_client_states_can_be_taken_back_by_it(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"}
    made = api.call("POST", "/fhir/Patient", {**patient, "deceasedBoolean": True}).json()
    assert made["deceasedBoolean"] is True
    alive = {k: v for k, v in made.items() if k != "deceasedBoolean"}
    answer = api.call("PUT", f"/fhir/Patient/{made['id']}", alive)
    assert answer.json().get("deceasedBoolean", False) is False


def test_a_patient_without_a_known_identifier_stands_for_itself(api: Api) -> None:
    unnamed = {"resourceType": "Patient", "name": [{"family": "DOE"}]}
    made = api.call("POST", "/fhir/Patient", unnamed)
    other = api.call("POST", "/fhir/Patient", unnamed)
    assert (made.status_code, other.status_code) == (201, 201)
    assert made.json()["id"] != other.json()["id"]
    body = made.json()
    del body["meta"], body["id"]
    assert body["name"] == unnamed["name"]
    changed = api.call(
        "PUT", f"/fhir/Patient/{made.json()['id']}", {**made.json(), "gender": "male"}
    )
    assert changed.status_code == 200
    assert changed.json()["gender"] == "male"


def test_a_number_that_joins_strangers_joins_nobody(api: Api) -> None:
    def patient(mrn: str) -> dict[str, Any]:
        types = "http://terminology.hl7.org/CodeSystem/v2-0203"
        ssn = {"type": {"coding": [{"system": types, "code": "SS"}]},
               "system": "urn:segue:authority:USSSA", "value": "999-99-9999"}  # fmt: skip
        own = {"system": "urn:segue:authority:PCPB", "value": mrn}
        return {"resourceType": "Patient", "identifier": [ssn, own]}

    ids = [api.call("POST", "/fhir/Patient", patient(mrn)).json()["id"] for mrn in "12"]
    assert len(set(ids)) == 2
    assert all(api.get(f"Patient/{id_}").get("active", True) for id_ in ids)


def test_a_patient_whom_only_clients_know_can_be_deleted_and_come_back(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"}
    made = api.call("POST", "/fhir/Patient", patient).json()
    path = f"/fhir/Patient/{made['id']}"
    assert api.call("DELETE", path).status_code == 204
    assert api.call("GET", path).status_code == 410
    assert api.get("Patient")["total"] == 0
    back = api.call("POST", "/fhir/Patient", patient)
    assert back.status_code == 201
    assert api.get("Patient")["total"] == 1


def test_a_patient_that_others_need_is_not_deleted(api: Api) -> None:
    api.post(priming(), client="pcpb-history")
    (patient,) = api.find("Patient")
    assert api.call("DELETE", f"/fhir/Patient/{patient['id']}").status_code == 409
    api.hl7(adt("A31", "2026-07-05 08:00", "9", mrn="5", patient_class="N", shared=False))
    (feeds,) = api.find("Patient", "identifier=urn:segue:authority:HOSPA|5")
    assert api.call("DELETE", f"/fhir/Patient/{feeds['id']}").status_code == 409


def test_there_is_one_encounter_for_a_visit_number(api: Api) -> None:
    api.post(priming(), client="pcpb-history")
    (patient,) = [p["id"] for p in api.find("Patient")]
    visit = {
        "resourceType": "Encounter",
        "identifier": [{"system": "urn:segue:authority:PCPB", "value": "E1"}],
        "status": "finished",
        "class": {"system": s01.ACT, "code": "EMER"},
        "subject": {"reference": f"Patient/{patient}"},
    }
    (known,) = api.find("Encounter", "identifier=E1")
    restated = api.call("POST", "/fhir/Encounter", visit, client="pcpb-history")
    assert restated.status_code == 200
    assert restated.json()["id"] == known["id"]
    other = api.call("PUT", "/fhir/Encounter/mine", {**visit, "id": "mine"})
    assert other.status_code == 409
    assert len(api.find("Encounter", "identifier=E1")) == 1


def test_a_feed_finds_the_encounter_that_a_client_began_under_its_own_id(api: Api) -> None:
    patient = {k: v for k, v in s01.patient().items() if k != "_fullUrl"}
    subject = api.call("POST", "/fhir/Patient", patient).json()["id"]
    planned = {
        "resourceType": "Encounter",
        "id": "planned-1",
        "identifier": [{"system": "urn:segue:authority:HOSPA", "value": "V78421"}],
        "status": "planned",
        "class": {"system": s01.ACT, "code": "IMP"},
        "subject": {"reference": f"Patient/{subject}"},
    }
    assert (
        api.call("PUT", "/fhir/Encounter/planned-1", planned, client="hospa-cm").status_code == 201
    )
    discharged(api)
    (encounter,) = api.find("Encounter", "identifier=V78421")
    assert (encounter["id"], encounter["status"]) == ("planned-1", "finished")
    (task,) = api.find("Task", "code=contact")
    assert task["encounter"]["reference"] == "Encounter/planned-1"
    late = api.call("PUT", "/fhir/Encounter/planned-1", planned, client="hospa-cm")
    assert late.status_code == 422


def test_a_feeds_encounter_is_found_by_a_client_and_not_changed(api: Api) -> None:
    discharged(api)
    (encounter,) = api.find("Encounter")
    own = {
        "resourceType": "Encounter",
        "identifier": [{"system": "urn:segue:authority:HOSPA", "value": "V78421"}],
        "status": "in-progress",
        "class": {"system": s01.ACT, "code": "AMB"},
        "subject": encounter["subject"],
    }
    answer = api.call("POST", "/fhir/Encounter", own)
    assert answer.status_code == 200
    assert answer.json()["id"] == encounter["id"]
    assert answer.json()["status"] == "finished"
    refused = api.call("PUT", f"/fhir/Encounter/{encounter['id']}", {**own, "id": encounter["id"]})
    assert refused.status_code == 422
    assert "HOSPA" in text_of(refused)
    assert api.call("DELETE", f"/fhir/Encounter/{encounter['id']}").status_code == 422


# --- statements about Tasks ---------------------------------------------------------------


def test_evidence_and_statement_in_one_bundle_complete_a_task(api: Api) -> None:
    task = discharged(api)["contact"]
    api.deliveries()
    api.at("2026-07-13T15:20:00-04:00")
    answer = api.post([contact(task), done(task)])
    assert answer.status_code == 200, answer.text
    after = tasks(api)
    assert after["contact"]["status"] == "completed"
    (made,) = api.find("Communication")
    outputs = [o["valueReference"]["reference"] for o in after["contact"]["output"]]
    assert f"Communication/{made['id']}" in outputs
    assert after["surveillance-07-13"]["status"] == "completed"
    assert after["surveillance-07-17"]["status"] == "requested"
    response = answer.json()["entry"][1]["response"]
    assert response["etag"] == f'W/"{after["contact"]["meta"]["versionId"]}"'
    heard = api.deliveries()
    assert f"Task/{task['id']}" in heard["payx"]


def test_the_order_of_the_bundle_does_not_matter(api: Api) -> None:
    task = discharged(api)["contact"]
    api.at("2026-07-13T15:20:00-04:00")
    assert api.post([done(task), contact(task)]).status_code == 200
    assert tasks(api)["contact"]["status"] == "completed"


def test_the_evidence_alone_completes_it_too(api: Api) -> None:
    task = discharged(api)["contact"]
    api.at("2026-07-13T15:20:00-04:00")
    evidence = {k: v for k, v in contact(task).items() if k != "_fullUrl"}
    assert api.call("POST", "/fhir/Communication", evidence).status_code == 201
    assert tasks(api)["contact"]["status"] == "completed"


def test_a_correction_of_the_evidence_opens_the_task_again(api: Api) -> None:
    task = discharged(api)["contact"]
    api.at("2026-07-13T15:20:00-04:00")
    evidence = {k: v for k, v in contact(task).items() if k != "_fullUrl"}
    made = api.call("POST", "/fhir/Communication", evidence).json()
    path = f"/fhir/Communication/{made['id']}"
    assert api.call("PUT", path, {**made, "status": "entered-in-error"}).status_code == 200
    assert tasks(api)["contact"]["status"] == "requested"
    assert api.call("PUT", path, {**made}).status_code == 200
    assert tasks(api)["contact"]["status"] == "completed"
    assert api.call("DELETE", path).status_code == 204
    assert tasks(api)["contact"]["status"] == "requested"


def test_completed_without_output_is_refused_and_nothing_changes(api: Api) -> None:
    task = discharged(api)["contact"]
    answer = api.call("PUT", f"/fhir/Task/{task['id']}", {**task, "status": "completed"})
    assert answer.status_code == 422
    assert "output" in text_of(answer)
    assert tasks(api)["contact"] == task


def test_a_patch_of_a_task_is_its_owners_statement(api: Api) -> None:
    task = discharged(api)["contact"]
    path = f"/fhir/Task/{task['id']}"
    merge = {"Content-Type": "application/merge-patch+json"}
    answer = api.call("PATCH", path, '{"status": "accepted"}', headers=merge)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "accepted"
    assert tasks(api)["contact"]["status"] == "accepted"
    refused = api.call("PATCH", path, '{"description": "mine"}', headers=merge)
    assert refused.status_code == 422
    assert "Task.description is decided by the hub" in text_of(refused)
    other = api.call("PATCH", path, '{"status": "in-progress"}', headers=merge, client="payx")
    assert other.status_code == 422
    assert tasks(api)["contact"]["meta"]["versionId"] == answer.json()["meta"]["versionId"]


def test_a_voicemail_is_no_output_of_a_contact(api: Api) -> None:
    task = discharged(api)["contact"]
    reason = {"text": "voicemail"}
    voicemail = contact(task, status="not-done", statusReason=reason)
    del voicemail["received"]
    answer = api.post([voicemail, done(task)])
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[1]")
    assert api.get("Communication")["total"] == 0, "all or nothing"


def test_the_owner_leads_a_task_through_its_states(api: Api) -> None:
    task = discharged(api)["visit"]
    path = f"/fhir/Task/{task['id']}"
    for n, status in enumerate(("received", "accepted", "in-progress"), 2):
        current = api.get(f"Task/{task['id']}")
        match = {"If-Match": f'W/"{current["meta"]["versionId"]}"'}
        answer = api.call("PUT", path, {**current, "status": status}, headers=match)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == status
        assert answer.headers["etag"] == f'W/"{n}"'


def test_a_step_that_is_not_allowed_is_refused_with_those_that_are(api: Api) -> None:
    task = discharged(api)["visit"]
    answer = api.call("PUT", f"/fhir/Task/{task['id']}", {**task, "status": "on-hold"})
    assert answer.status_code == 422
    assert "accepted" in text_of(answer)
    assert "received" in text_of(answer)


def test_a_task_is_its_owners_and_nobody_elses(api: Api) -> None:
    task = discharged(api)["visit"]
    path = f"/fhir/Task/{task['id']}"
    for stranger in ("payx", "hospa-cm", "nobody"):
        answer = api.call("PUT", path, {**task, "status": "accepted"}, client=stranger)
        assert answer.status_code == 422, stranger
        assert "owner" in text_of(answer)
    assert tasks(api)["visit"]["status"] == "requested"


@pytest.mark.parametrize(
    "change",
    [
        {"description": "something else"},
        {"restriction": {"period": {"end": "2027-01-01"}}},
        {"priority": "stat"},
        {"code": {"text": "x"}},
    ],
)
def test_the_hubs_part_of_a_task_is_refused_by_name(api: Api, change: dict[str, Any]) -> None:
    task = discharged(api)["visit"]
    answer = api.call("PUT", f"/fhir/Task/{task['id']}", {**task, **change})
    assert answer.status_code == 422
    assert f"Task.{next(iter(change))} is decided by the hub" in text_of(answer)


def test_a_task_written_back_unchanged_is_no_statement(api: Api) -> None:
    task = discharged(api)["visit"]
    total = api.get("_history")["total"]
    touched = {**task, "lastModified": "2026-07-12T10:00:00-04:00"}
    answer = api.call("PUT", f"/fhir/Task/{task['id']}", touched)
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')
    assert api.get("_history")["total"] == total


def test_a_stale_version_is_judged_when_the_statement_is_made(api: Api) -> None:
    task = discharged(api)["visit"]
    path = f"/fhir/Task/{task['id']}"
    first = api.call("PUT", path, {**task, "status": "received"}, headers={"If-Match": 'W/"1"'})
    assert first.status_code == 200
    stale = api.call("PUT", path, {**task, "status": "accepted"}, headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412
    in_bundle = api.call(
        "POST",
        "/fhir",
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "resource": {**first.json(), "status": "accepted"},
                    "request": {
                        "method": "PUT",
                        "url": f"Task/{task['id']}",
                        "ifMatch": 'W/"2"',
                    },
                }
            ],
        },
    )
    assert in_bundle.status_code == 200
    assert tasks(api)["visit"]["status"] == "accepted"


def test_a_person_takes_a_task_over_and_adds_a_note(api: Api) -> None:
    task = discharged(api)["visit"]
    nurse = {"reference": "Practitioner/nurse-1", "display": "A. Nurse"}
    said = {**task, "status": "accepted", "owner": nurse, "note": [{"text": "calling today"}]}
    answer = api.call("PUT", f"/fhir/Task/{task['id']}", said)
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert (after["owner"], after["note"]) == (nurse, said["note"])
    started = api.call("PUT", f"/fhir/Task/{task['id']}", {**after, "status": "in-progress"})
    assert started.json()["status"] == "in-progress"


def test_the_hubs_own_task_is_the_hubs(api: Api) -> None:
    task = discharged(api)["notify-admit"]
    assert task["owner"]["reference"] == f"Organization/{organization_id('segue')}"
    answer = api.call(
        "PUT", f"/fhir/Task/{task['id']}", {**task, "status": "accepted"}, client="hospa-cm"
    )
    assert answer.status_code == 422


def test_the_practice_confirms_what_was_sent_to_it(api: Api) -> None:
    task = discharged(api)["notify-admit"]
    filed = {"type": {"text": "filed"}, "valueDateTime": "2026-07-06T08:00:00-04:00"}
    answer = api.call(
        "PUT", f"/fhir/Task/{task['id']}", {**task, "status": "completed", "output": [filed]}
    )
    assert answer.status_code == 200, answer.text
    assert tasks(api)["notify-admit"]["status"] == "completed"


def test_an_ended_task_stays_ended(api: Api) -> None:
    task = discharged(api)["contact"]
    api.at("2026-07-13T15:20:00-04:00")
    api.post([contact(task), done(task)])
    ended = api.get(f"Task/{task['id']}")
    answer = api.call("PUT", f"/fhir/Task/{task['id']}", {**ended, "status": "in-progress"})
    assert answer.status_code == 422


def test_a_task_cannot_be_deleted_by_a_client(api: Api) -> None:
    task = discharged(api)["contact"]
    answer = api.call("DELETE", f"/fhir/Task/{task['id']}")
    assert answer.status_code == 422
    assert "the hub" in text_of(answer)


def test_without_tokens_everybody_stands_for_the_owners_but_not_for_the_hub(
    tmp_path: Path,
) -> None:
    with running(
        tmp_path / "data", tmp_path, clock="2026-07-05T08:00:00-04:00", open_to_all=True
    ) as api:
        found = discharged(api)
        visit, notice = found["visit"], found["notify-admit"]
        accepted = {**visit, "status": "accepted"}
        answer = api.call("PUT", f"/fhir/Task/{visit['id']}", accepted, client="")
        assert answer.json()["status"] == "accepted", answer.text
        path = f"/fhir/Task/{notice['id']}"
        assert api.call("PUT", path, {**notice, "status": "accepted"}, client="").status_code == 422


def test_statements_outlive_a_later_message(api: Api) -> None:
    task = discharged(api)["visit"]
    api.call("PUT", f"/fhir/Task/{task['id']}", {**task, "status": "accepted"})
    api.at("2026-07-11T10:00:00-04:00")
    api.hl7(
        adt("A08", "2026-07-10 16:00", "3", place="4W^412^1", diagnoses=[s01.HF],
            disposition="01", discharged="2026-07-10 13:00")
    )  # fmt: skip
    assert tasks(api)["visit"]["status"] == "accepted"


# --- plans, deliveries --------------------------------------------------------------------


def test_a_note_on_the_plan_is_kept_and_everything_else_is_the_hubs(api: Api) -> None:
    discharged(api)
    (plan,) = [p for p in api.find("CarePlan") if not p.get("partOf")]
    path = f"/fhir/CarePlan/{plan['id']}"
    note = {"text": "prefers calls after 5 pm"}
    answer = api.call("PUT", path, {**plan, "note": [note]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["note"] == [note]
    second = {"text": "has a ramp"}
    answer = api.call("PUT", path, {**answer.json(), "note": [note, second]}, client="payx")
    assert answer.json()["note"] == [note, second]
    refused = api.call("PUT", path, {**answer.json(), "status": "completed"})
    assert refused.status_code == 422
    assert "CarePlan.status is decided by the hub" in text_of(refused)
    task = tasks(api)["visit"]
    api.call("PUT", f"/fhir/Task/{task['id']}", {**task, "status": "accepted"})
    assert api.get(f"CarePlan/{plan['id']}")["note"] == [note, second]


def test_a_source_never_gets_its_own_statement_back(api: Api) -> None:
    discharged(api)
    (patient,) = [p for p in api.find("Patient") if p.get("active", True)]
    api.deliveries()
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{patient['id']}"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "SG9tZQ=="}}],
    }
    own = api.call("POST", "/fhir/DocumentReference", document).json()["id"]
    assert api.deliveries() == {}
    theirs = api.call("POST", "/fhir/DocumentReference", document, client="hospa-cm").json()["id"]
    assert own != theirs
    assert api.deliveries() == {"pcpb": [f"DocumentReference/{theirs}"]}


def test_a_protected_document_leaves_to_nobody(api: Api) -> None:
    discharged(api)
    (patient,) = [p for p in api.find("Patient") if p.get("active", True)]
    api.deliveries()
    secret = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "42CFRPart2"}
    document = {
        "resourceType": "DocumentReference",
        "meta": {"security": [secret]},
        "status": "current",
        "subject": {"reference": f"Patient/{patient['id']}"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "SG9tZQ=="}}],
    }
    made = api.call("POST", "/fhir/DocumentReference", document, client="hospa-cm")
    assert made.status_code == 201
    path = f"/fhir/DocumentReference/{made.json()['id']}"
    assert api.call("DELETE", path, client="hospa-cm").status_code == 204
    assert api.deliveries() == {}


def test_what_changes_its_subject_is_evidence_for_the_other_person_only(api: Api) -> None:
    task = discharged(api)["contact"]
    api.at("2026-07-13T15:20:00-04:00")
    other = api.call(
        "POST",
        "/fhir/Patient",
        {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:segue:authority:PCPB", "value": "other"}],
        },
    ).json()
    evidence = {k: v for k, v in contact(task).items() if k not in ("_fullUrl", "about")}
    made = api.call("POST", "/fhir/Communication", evidence).json()
    assert tasks(api)["contact"]["status"] == "completed"
    subject = {"reference": f"Patient/{other['id']}"}
    moved = {**made, "subject": subject, "recipient": [subject]}
    assert api.call("PUT", f"/fhir/Communication/{made['id']}", moved).status_code == 200
    assert tasks(api)["contact"]["status"] == "requested"
    assert api.get(f"Communication?patient={other['id']}")["total"] == 1


def test_a_resource_that_names_only_the_visit_belongs_to_its_person(api: Api) -> None:
    discharged(api)
    (encounter,) = api.find("Encounter")
    made = api.call(
        "POST",
        "/fhir/Observation",
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "weight"},
            "encounter": {"reference": f"Encounter/{encounter['id']}"},
        },
    ).json()
    with api.bench.hub.store.read() as reader:
        (row,) = reader.people.by_identity(["HOSPA|100234"]).values()
        owned = {key.reference for key in reader.heads_of([row.pk])[row.pk]}
    assert f"Observation/{made['id']}" in owned


def test_a_directory_resource_of_a_client_is_its_own(api: Api) -> None:
    made = api.call("POST", "/fhir/Practitioner", {"resourceType": "Practitioner", "active": True})
    assert made.status_code == 201
    path = f"/fhir/Practitioner/{made.json()['id']}"
    assert api.call("PUT", path, {**made.json(), "active": False}).status_code == 200
    discharged(api)
    feeds = next(p for p in api.find("Practitioner") if p["id"] != made.json()["id"])
    answer = api.call("PUT", f"/fhir/Practitioner/{feeds['id']}", {**feeds, "active": False})
    assert answer.status_code == 422


def test_what_the_hub_makes_is_not_overwritten(api: Api) -> None:
    discharged(api)
    (risk,) = api.find("RiskAssessment")
    answer = api.call("PUT", f"/fhir/RiskAssessment/{risk['id']}", {**risk, "status": "cancelled"})
    assert answer.status_code == 422
    assert "the hub" in text_of(answer)
    same = api.call("PUT", f"/fhir/RiskAssessment/{risk['id']}", risk)
    assert same.status_code == 200
