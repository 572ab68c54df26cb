"""$process-message: notifications of Da Vinci Alerts do what the same ADT does.

Source: http://hl7.org/fhir/us/davinci-alerts (the examples of the guide are read from
../shared/data)
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_api_statements import discharged, tasks, text_of
from tests.stories import s01
from tests.stories.messages import adt
from tests.support.api import Api, running

EVENTS = "http://hl7.org/fhir/us/davinci-alerts/CodeSystem/notification-event"
OWN = "urn:segue:notice"
PATH = "/fhir/$process-message"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path, clock="2026-07-05T13:42:50-04:00") as started:
        yield started


def message(
    event: str, at: str, number: str = "1", system: str = EVENTS, **encounter: Any
) -> dict[str, Any]:
    """A notification of the stories' patient and visit."""
    resources = [
        {
            "resourceType": "Encounter",
            "id": "e",
            "identifier": [{"system": "urn:segue:authority:HOSPA", "value": "V78421"}],
            "status": "in-progress",
            "class": {"system": s01.ACT, "code": "IMP"},
            "subject": {"reference": "urn:uuid:p"},
            "period": {"start": "2026-07-05T13:40:00-04:00"},
            "location": [{"location": {"reference": "urn:uuid:l"}}],
            "diagnosis": [{"condition": {"reference": "urn:uuid:c"}}],
            **encounter,
        },
        {
            "resourceType": "Patient",
            "id": "p",
            "identifier": [
                {
                    "system": "urn:segue:authority:HOSPA",
                    "value": "100234",
                    "type": {"coding": [{"code": "MR"}]},
                }
            ],
            "name": [{"family": "Doe", "given": ["Jane"]}],
            "gender": "female",
            "birthDate": "1950-01-01",
            "generalPractitioner": [{"identifier": {"value": "PCPB"}}],
        },
        {"resourceType": "Location", "id": "l", "name": "4W 412"},
        {
            "resourceType": "Condition",
            "id": "c",
            "code": {"coding": [{"system": s01.ICD, "code": "I50.23"}]},
            "subject": {"reference": "urn:uuid:p"},
        },
    ]
    header = {
        "resourceType": "MessageHeader",
        "id": f"m{number}",
        "eventCoding": {"system": system, "code": event},
        "source": {"endpoint": "https://hospa.example/fhir"},
        "focus": [{"reference": "urn:uuid:e"}],
    }
    return {
        "resourceType": "Bundle",
        "type": "message",
        "timestamp": at,
        "entry": [
            {"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in (header, *resources)
        ],
    }


def told(api: Api, bundle: dict[str, Any], client: str = "hospa-cm") -> dict[str, Any]:
    answer = api.call("POST", PATH, bundle, client=client)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


LEFT = {
    "status": "finished",
    "period": {"start": "2026-07-05T13:40:00-04:00", "end": "2026-07-10T14:05:00-04:00"},
    "hospitalization": {
        "dischargeDisposition": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/discharge-disposition",
                    "code": "home",
                }
            ]
        }
    },
}


def stay(api: Api) -> dict[str, dict[str, Any]]:
    told(api, message("notification-admit", "2026-07-05T13:42:00-04:00"))
    api.at("2026-07-10T14:31:00-04:00")
    told(api, message("notification-discharge", "2026-07-10T14:05:00-04:00", "2", **LEFT))
    return tasks(api)


def need(task: dict[str, Any]) -> tuple[str, str, str, str]:
    key = next(i["value"] for i in task["identifier"] if i["system"] == "urn:segue:need")
    end = task["restriction"]["period"]["end"]
    return key, end, task["owner"]["reference"], task["status"]


def test_notifications_start_the_work_that_the_same_adts_start(api: Api, tmp_path: Path) -> None:
    theirs = stay(api)
    with running(tmp_path / "other", tmp_path, clock="2026-07-05T08:00:00-04:00") as other:
        ours = discharged(other)
        (encounter,) = other.find("Encounter")
    assert {need(task) for task in theirs.values()} == {need(task) for task in ours.values()}
    (found,) = api.find("Encounter")
    for name in ("id", "status", "period", "subject"):
        assert found[name] == encounter[name], name
    assert found["class"]["code"] == "IMP"
    assert found["location"][0]["location"]["reference"].startswith("Location/")
    assert found["diagnosis"]


def test_the_answer_is_a_message_that_names_the_one_it_answers(api: Api) -> None:
    answer = told(api, message("notification-admit", "2026-07-05T13:42:00-04:00"))
    header = answer["entry"][0]["resource"]
    assert header["response"] == {"identifier": "m1", "code": "ok"}
    assert header["destination"] == [{"endpoint": "https://hospa.example/fhir"}]
    (provenance,) = api.find("Provenance")
    assert provenance["agent"][0]["who"]["identifier"]["value"] == "hospa"


def test_the_same_message_again_changes_nothing(api: Api) -> None:
    admitted = message("notification-admit", "2026-07-05T13:42:00-04:00")
    told(api, admitted)
    before = api.get("_history")["total"]
    assert told(api, admitted)["entry"][0]["resource"]["response"]["code"] == "ok"
    assert api.get("_history")["total"] == before


def test_the_order_of_notifications_and_adts_does_not_matter(api: Api) -> None:
    api.at("2026-07-10T14:31:00-04:00")
    told(api, message("notification-discharge", "2026-07-10T14:05:00-04:00", "2", **LEFT))
    (encounter,) = api.find("Encounter")
    assert encounter["status"] == "finished"
    api.hl7(
        adt("A01", "2026-07-05 13:42", "1", place="4W^412^1", diagnoses=[s01.HF],
            admitted="2026-07-05 13:40")
    )  # fmt: skip
    (encounter,) = api.find("Encounter")
    assert encounter["status"] == "finished"
    assert encounter["period"]["start"] == "2026-07-05T13:40:00-04:00"
    assert {task["status"] for task in tasks(api).values()} >= {"requested"}


def test_a_transfer_moves_the_patient_and_a_class(api: Api) -> None:
    told(api, message("notification-admit", "2026-07-05T13:42:00-04:00",
                      **{"class": {"system": s01.ACT, "code": "EMER"}}))  # fmt: skip
    assert tasks(api) == {}
    moved = message("notification-transfer", "2026-07-05T17:40:00-04:00", "2")
    moved["entry"][3]["resource"]["name"] = "5E 1"
    told(api, moved)
    (encounter,) = api.find("Encounter")
    assert encounter["class"]["code"] == "IMP"
    assert [one["status"] for one in encounter["location"]] == ["completed", "active"]
    assert "notify-admit" in tasks(api)


def test_a_discharge_can_be_cancelled_by_a_notification_too(api: Api) -> None:
    stay(api)
    api.at("2026-07-10T18:00:00-04:00")
    told(api, message("discharge-cancelled", "2026-07-10T17:38:00-04:00", "3", OWN))
    (encounter,) = api.find("Encounter")
    assert encounter["status"] == "in-progress"
    assert "end" not in encounter["period"]
    assert tasks(api)["contact"]["status"] == "cancelled"


def test_deliveries_follow_and_the_source_hears_what_the_hub_decides(api: Api) -> None:
    stay(api)
    heard = api.deliveries()
    assert any(one.startswith("Encounter/") for one in heard["pcpb"])
    assert any(one.startswith("Task/") for one in heard["pcpb"])


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"type": "collection"}, 400, "MessageHeader"),
        ({"entry": []}, 422, "MessageHeader"),
        ("event", 422, "notification-admit"),
        ("focus", 422, "focus"),
        ("patient", 422, "Patient"),
        ("number", 422, "identifies the patient"),
        ("end", 422, "a discharge has an end"),
        ("invalid", 422, "status"),
    ],
)
def test_a_message_that_cannot_be_used_is_refused_and_says_why(
    api: Api, change: Any, status: int, word: str
) -> None:
    event = "notification-discharge" if change == "end" else "notification-admit"
    sent = message(event, "2026-07-05T13:42:00-04:00")
    header, encounter, patient = (sent["entry"][n]["resource"] for n in range(3))
    match change:
        case dict():
            sent |= change
        case "event":
            header["eventCoding"]["code"] = "notification-vitals"
        case "focus":
            header["focus"] = [{"reference": "urn:uuid:p"}]
        case "patient":
            encounter["subject"] = {"reference": "Patient/elsewhere"}
        case "number":
            patient["identifier"] = [{"value": "7"}]
        case "invalid":
            encounter["status"] = "gone"
    answer = api.call("POST", PATH, sent, client="hospa-cm")
    assert (answer.status_code, word in text_of(answer)) == (status, True), answer.text
    assert api.get("_history")["total"] == 0


def test_a_message_needs_the_right_to_write_and_a_bundle(api: Api) -> None:
    sent = message("notification-admit", "2026-07-05T13:42:00-04:00")
    assert api.call("POST", PATH, sent, client="demo").status_code == 403
    assert api.call("POST", PATH, sent, client="").status_code == 401
    assert api.call("POST", PATH, {"resourceType": "Patient"}).status_code == 400


def test_the_guides_own_examples_are_taken(api: Api, shared_data: Path) -> None:
    api.at("2018-10-24T08:00:00-07:00")
    folder = shared_data / "fhir" / "HL7_davinci-alerts" / "input" / "examples"
    for name in ("admit-notification-message-bundle-01", "transfer-notification-message-bundle-01",
                 "discharge-notification-message-bundle-01"):  # fmt: skip
        told(api, json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
    (encounter,) = api.find("Encounter")
    assert (encounter["status"], encounter["class"]["code"]) == ("finished", "IMP")
    assert encounter["classHistory"]
    assert {"contact", "visit", "med-rec"} <= set(tasks(api))
    assert len(api.find("Coverage")) == len(api.find("Condition")) == 1


def test_notifications_are_in_the_record_from_which_the_store_can_be_made_anew(
    api: Api, tmp_path: Path
) -> None:
    stay(api)
    result = api.bench.rebuilt(tmp_path / "anew")
    assert result.different == []
