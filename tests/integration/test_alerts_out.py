"""What a destination of kind `message_bundle` is told of visits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.fhir.canonical import loads
from segue.pipeline.contents import Contents, codes_of
from segue.pipeline.routes import Route
from segue.store.outbox import Outbox
from tests.integration.test_api_messages import PATH
from tests.integration.test_api_statements import discharged
from tests.stories import s01
from tests.stories.messages import adt
from tests.support.api import Api, running

HIE = Route("hie", "hie", frozenset({"alerts"}))
BEDS = Route("beds", "beds", frozenset({"alerts"}), bed_moves=True)
CLOCK = "2026-07-05T08:00:00-04:00"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path, clock=CLOCK, routes=[HIE, BEDS]) as started:
        yield started


def told(api: Api, destination: str = "hie") -> list[dict[str, Any]]:
    """The messages for a destination, in order; {} where there was nothing to tell."""
    hub = api.bench.hub
    outbox = Outbox(hub.store.database, "test")
    contents = Contents(hub.store, hub.journal)
    found = [
        queued
        for lease in outbox.lease(destination)
        for queued in outbox.read(lease, lease.cursor, 1000)
    ]
    found.sort(key=lambda one: one.id)
    return [loads(body) if body else {} for body in contents.bodies(found)]


def events(messages: list[dict[str, Any]]) -> list[str]:
    return [one["entry"][0]["resource"]["eventCoding"]["code"] for one in messages if one]


def test_a_stay_is_an_admission_and_a_discharge(api: Api) -> None:
    discharged(api)
    messages = [one for one in told(api) if one]
    assert events(messages) == ["notification-admit", "notification-discharge"]
    for message in messages:
        assert api.bench.hub.gate.issues(message) == []
        types = [entry["resource"]["resourceType"] for entry in message["entry"]]
        assert types[:2] == ["MessageHeader", "Encounter"]
        assert {"Patient", "Location", "Condition", "Practitioner", "Organization"} <= set(types)
        header = message["entry"][0]["resource"]
        urls = {entry["fullUrl"] for entry in message["entry"]}
        assert header["focus"][0]["reference"] in urls
        assert header["sender"]["reference"] in urls
        text = str(message)
        assert text.count("'reference': '") == text.count("'reference': 'urn:uuid:")
    assert [one["entry"][1]["resource"]["status"] for one in messages] == [
        "in-progress", "finished",
    ]  # fmt: skip
    ids = [one["entry"][0]["resource"]["id"] for one in messages]
    assert ids == [one["entry"][0]["resource"]["id"] for one in told(api) if one]
    assert len(set(ids)) == 2


def test_what_we_tell_another_hub_understands(api: Api, tmp_path: Path) -> None:
    discharged(api)
    with running(tmp_path / "other", tmp_path, clock="2026-07-10T15:00:00-04:00") as other:
        for message in told(api):
            if message:
                answer = other.call("POST", PATH, message, client="payx")
                assert answer.status_code == 200, answer.text
        (theirs,), (ours,) = other.find("Encounter"), api.find("Encounter")
        assert (theirs["id"], theirs["status"]) == (ours["id"], "finished")
        assert theirs["period"] == ours["period"]
        needs = {task["code"]["coding"][0]["code"] for task in other.find("Task")}
        assert {"contact", "visit", "med-rec"} <= needs


def test_a_transfer_is_told_where_beds_are_news_and_a_class_change_always(api: Api) -> None:
    api.hl7(adt("A04", "2026-07-05 08:12", "1", place="ED^1^1", patient_class="E"))
    api.hl7(adt("A06", "2026-07-05 13:42", "2", place="4W^412^1", admitted="2026-07-05 13:40"))
    api.hl7(adt("A02", "2026-07-06 09:00", "3", place="5E^1^1"))
    assert events(told(api)) == ["notification-admit", "notification-transfer"]
    assert events(told(api, "beds")) == ["notification-admit", *["notification-transfer"] * 2]


def test_what_is_taken_back_is_told_too(api: Api) -> None:
    discharged(api)
    api.at("2026-07-10T18:00:00-04:00")
    api.hl7(adt("A13", "2026-07-10 17:38", "3", place="4W^412^1", occurred="2026-07-10 14:05"))
    api.hl7(adt("A11", "2026-07-10 17:50", "4", place="4W^412^1", occurred="2026-07-05 13:40"))
    assert events(told(api))[2:] == ["discharge-cancelled", "admit-cancelled"]
    own = [one for one in told(api) if one][2]["entry"][0]["resource"]["eventCoding"]["system"]
    assert own == "urn:segue:notice"


def test_clinic_visits_and_plain_updates_are_no_events(api: Api) -> None:
    api.hl7(adt("A04", "2026-07-05 08:12", "1", place="CL^1", patient_class="O"))
    assert events(told(api)) == []
    api.hl7(adt("A01", "2026-07-05 13:42", "2", place="4W^412^1", visit="V2"))
    api.hl7(adt("A08", "2026-07-05 14:00", "3", place="4W^412^1", visit="V2",
                diagnoses=[s01.HF]))  # fmt: skip
    assert events(told(api)) == ["notification-admit"]


def test_a_receiver_that_files_the_message_has_filed_the_encounter() -> None:
    encounter = '{"resourceType":"Encounter","class":{"code":"IMP"}}'
    body = '{"resourceType":"Bundle","entry":[{"resource":{}},{"resource":' + encounter + "}]}"
    assert codes_of(body) == ("IMP", None)
