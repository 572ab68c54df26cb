"""What owners may say of Tasks, and what the hub makes of it."""

import pytest

from segue.care.statements import actor_of, check_statement
from segue.fhir.lifecycle import TASK_ENDED
from tests.unit.care.scenes import (
    View,
    admit,
    at,
    call,
    discharge,
    evidence,
    key,
    output,
    outputs,
    primed,
    reason,
    requirement,
    state,
    us,
)

V = "HOSPA|V1"


def home():
    person = primed()
    discharge(admit(person, V, "06-29 10:00"), "07-02 14:00")
    return person


def task_of(person, need, now):
    return View(person, now).task(need, V)


def contact(person, now="07-03 10:00"):
    return task_of(person, "contact", now)


# What the API is told


def codes(issues):
    return [issue.code for issue in issues]


def test_completed_without_output_is_refused():
    task = contact(home())
    assert codes(check_statement(task, {"status": "completed"}, "owner")) == ["output-required"]
    empty = [{"type": {"text": "evidence"}}]
    assert codes(check_statement(task, {"status": "completed", "output": empty}, "owner")) == [
        "output-required"
    ]
    done = {"status": "completed", "output": output("Communication/k1")}
    assert check_statement(task, done, "owner") == []


def test_an_attempt_is_no_output_to_complete_with():
    task = contact(home())
    attempt = [
        {
            "type": {"coding": [{"system": "urn:segue:task-output", "code": "attempt"}]},
            "valueReference": {"reference": "Communication/k1"},
        }
    ]
    assert codes(
        check_statement({**task, "output": attempt}, {"status": "completed"}, "owner")
    ) == ["output-required"]


def test_a_voicemail_is_refused_as_evidence_of_a_contact():
    task = contact(home())
    said = {"status": "completed", "output": output("Communication/k1")}
    voicemail = {
        "resourceType": "Communication",
        "status": "not-done",
        "statusReason": {"text": "x"},
    }
    known = {"Communication/k1": voicemail}
    assert codes(check_statement(task, said, "owner", known)) == ["output-unfit"]
    known = {
        "Communication/k1": {
            "resourceType": "Communication",
            "status": "completed",
            "received": "2026-07-03T10:00:00-04:00",
            "recipient": [{"reference": "Patient/p"}],
        }
    }
    assert check_statement(task, said, "owner", known) == []
    assert check_statement(task, said, "owner", {}) == []


def test_what_the_hub_decides_may_not_be_stated():
    task = contact(home())
    issues = check_statement(task, {"restriction": {}, "code": {}}, "owner")
    assert codes(issues) == ["not-owned", "not-owned"]
    assert issues[0].text == "Task.restriction is decided by the hub"


def test_a_transition_that_is_not_allowed_names_those_that_are():
    (issue,) = check_statement(contact(home()), {"status": "draft"}, "owner")
    assert issue.code == "transition"
    assert issue.text.endswith("from here: accepted, completed, received, rejected")


def test_an_ended_task_says_nothing_follows():
    task = {**contact(home()), "status": "failed"}
    said = {"status": "completed", "output": output("Communication/k1")}
    (issue,) = check_statement(task, said, "owner")
    assert (issue.code, issue.text.rpartition(" ")[2]) == ("transition", "nothing")


def test_only_the_owner_may_speak():
    task = contact(home())
    assert actor_of(task, "pcpb") == "owner"
    assert actor_of(task, "segue") == "hub"
    assert actor_of(task, "hospa") is None
    assert codes(check_statement(task, {"status": "accepted"}, None)) == ["not-owner"]


# What the fold makes of it


def test_an_owner_takes_a_task_through_its_states():
    person = home()
    for n, status in enumerate(("received", "accepted", "in-progress", "on-hold", "in-progress")):
        state(person, contact(person), f"07-03 10:0{n}", "pcpb", status=status)
        assert contact(person, "07-03 11:00")["status"] == status


def test_words_that_skip_states_or_come_from_others_change_nothing():
    person = home()
    state(person, contact(person), "07-03 10:00", "pcpb", status="in-progress")
    state(person, contact(person), "07-03 10:01", "hospa", status="accepted")
    state(person, contact(person), "07-03 10:02", "pcpb", status="cancelled")
    assert contact(person, "07-03 11:00")["status"] == "requested"


def test_completed_alone_does_not_close_what_evidence_must_close():
    person = home()
    state(
        person,
        contact(person),
        "07-03 10:00",
        "pcpb",
        status="completed",
        output=output("Communication/none"),
    )
    task = contact(person, "07-03 11:00")
    assert task["status"] == "requested"
    assert outputs(task) == [("text", "Communication/none")]


def test_a_rejection_ends_the_task_and_later_evidence_does_not_reopen_it():
    person = home()
    state(
        person,
        contact(person),
        "07-03 10:00",
        "pcpb",
        status="rejected",
        statusReason={"text": "no capacity"},
    )
    call(person, "Communication/k1", "07-03 12:00")
    task = contact(person, "07-03 13:00")
    assert (task["status"], task["statusReason"]) == ("rejected", {"text": "no capacity"})


def test_words_after_the_end_change_nothing_but_notes():
    person = home()
    call(person, "Communication/k1", "07-03 12:00")
    state(
        person,
        contact(person),
        "07-03 13:00",
        "pcpb",
        status="rejected",
        note=[{"text": "spoke to daughter"}],
    )
    task = contact(person, "07-03 14:00")
    assert task["status"] == "completed"
    assert task["note"] == [{"text": "spoke to daughter"}]


def test_a_named_person_becomes_the_owner_and_the_practice_stays_answerable():
    person = home()
    nurse = {"reference": "PractitionerRole/nurse"}
    state(person, contact(person), "07-03 10:00", "pcpb", status="accepted", owner=nurse)
    task = contact(person, "07-03 11:00")
    assert task["owner"] == nurse
    assert actor_of(task, "pcpb") == "owner"
    assert actor_of(task, "hospa") is None


def test_an_owner_may_point_to_a_contact_between_the_days_of_surveillance():
    person = home()
    call(person, "Communication/k1", "07-07 10:00")  # day 5: neither day 3 nor day 7
    assert task_of(person, "surveillance-7", "07-07 11:00")["status"] == "requested"
    task = task_of(person, "surveillance-3", "07-07 11:00")
    assert task["status"] == "requested"
    state(
        person, task, "07-07 11:00", "pcpb", status="completed", output=output("Communication/k1")
    )
    task = task_of(person, "surveillance-3", "07-07 12:00")
    assert (task["status"], requirement(task, "surveillance-3")["state"]) == ("completed", "late")


def test_a_measurement_counts_as_surveillance_where_the_owner_says_so():
    person = home()
    evidence(
        person,
        "Observation/w",
        "pcpb",
        "07-09 08:00",
        status="final",
        effectiveDateTime=at("07-09 07:30").text,
    )
    task = task_of(person, "surveillance-7", "07-09 09:00")
    assert task["status"] == "requested"
    state(person, task, "07-09 09:00", "pcpb", status="completed", output=output("Observation/w"))
    assert task_of(person, "surveillance-7", "07-09 10:00")["status"] == "completed"


def test_pointing_to_what_happened_before_the_discharge_closes_nothing():
    person = home()
    call(person, "Communication/k1", "07-01 10:00")
    state(
        person,
        contact(person),
        "07-03 10:00",
        "pcpb",
        status="completed",
        output=output("Communication/k1"),
    )
    assert contact(person, "07-03 11:00")["status"] == "requested"


def test_a_task_without_evidence_rule_is_closed_by_its_owners_word():
    person = home()
    person.visits[-1].disposition = None
    task = task_of(person, "fix-disposition", "07-02 15:00")
    said = [{"type": {"text": "corrected"}, "valueString": "01"}]
    state(person, task, "07-02 15:30", "hospa", status="completed", output=said)
    assert task_of(person, "fix-disposition", "07-02 16:00")["status"] == "completed"


def test_a_practice_behind_a_gateway_may_say_itself_that_it_was_notified():
    person = primed()
    admit(person, V, "06-29 10:00")
    task = task_of(person, "notify-admit", "06-29 10:10")
    filed = [{"type": {"text": "filed"}, "valueInstant": at("06-29 11:00").text}]
    state(person, task, "06-29 11:00", "pcpb", status="completed", output=filed)
    task = task_of(person, "notify-admit", "06-29 12:00")
    assert task["status"] == "completed"


def test_a_draft_stays_a_draft_whatever_is_said():
    person = home()
    task = task_of(person, "bill-tcm", "07-02 15:00")
    state(person, task, "07-03 10:00", "pcpb", status="accepted")
    state(person, task, "07-03 10:01", "pcpb", status="completed", output=output("Claim/x"))
    task = task_of(person, "bill-tcm", "07-03 11:00")
    assert (task["status"], task["intent"]) == ("draft", "plan")


def test_last_modified_follows_what_happened_and_never_precedes_the_authoring():
    person = home()
    first = contact(person)
    call(person, "Communication/k1", "07-03 12:00")
    second = contact(person, "07-03 13:00")
    assert first["lastModified"] == first["authoredOn"]
    assert second["authoredOn"] == first["authoredOn"] < second["lastModified"]
    assert second["lastModified"] == "2026-07-03T16:00:00.000Z"


@pytest.mark.parametrize("need", ["contact", "visit", "med-rec", "send-dc-info"])
def test_every_missed_measure_says_that_its_window_closed(need):
    person = home()
    task = task_of(person, need, "12-01 00:00")
    assert task["status"] in TASK_ENDED
    assert reason(task) == "window-closed"


def test_ids_and_keys_hold_visit_need_and_generation_only():
    person = home()
    before = {key(task): task["id"] for task in View(person, "07-02 15:00").tasks}
    person.key, person.patient = "HOSPA|other", "patient-2"
    after = {key(task): task["id"] for task in View(person, "07-02 15:00").tasks}
    assert before == after
    assert f"{V}|contact|1" in before
    assert us("07-02 15:00") > 0
