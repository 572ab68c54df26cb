"""What must not happen: tasks for the wrong, the dead, the transferred; leaks; false closure."""

import json
from dataclasses import replace

import pytest

from segue.care.coordinate import relevant
from segue.care.retraction import retract
from segue.care.view import Evidence
from segue.model.instants import Moment
from tests.unit.care.scenes import (
    SETTING,
    View,
    admit,
    at,
    business,
    call,
    change_class,
    discharge,
    evidence,
    inputs,
    key,
    output,
    primed,
    reason,
    receipt,
    requirement,
    state,
    us,
    voicemail,
)

V = "HOSPA|V1"


def home(disposition="01", **more):
    person = primed()
    visit = admit(person, V, "06-29 10:00", **more)
    discharge(visit, "07-02 14:00", disposition)
    return person, visit


def needs(view):
    return {key(task).split("|")[-2] for task in view.open()}


# Death


def test_a_death_in_hospital_leaves_no_open_task_and_makes_no_new_one():
    person, visit = home("20")
    person.deceased = visit.end
    view = View(person, "07-02 14:10")
    assert view.open() == []
    assert {key(task).split("|")[-2] for task in view.tasks} == {"notify-admit"}
    assert {plan["status"] for plan in view.of("CarePlan")} == {"revoked"}
    assert view.of("CareTeam")[0]["status"] == "inactive"


def test_a_death_at_home_cancels_all_that_is_open_and_keeps_what_was_done():
    person, _ = home()
    call(person, "Communication/k1", "07-06 10:00")
    person.deceased = at("07-14 08:00")
    view = View(person, "07-14 09:00")
    assert view.open() == []
    assert view.task("contact", V)["status"] == "completed"
    assert reason(view.task("bill-tcm", V)) == "deceased"
    assert reason(view.task("visit", V)) == "deceased"


@pytest.mark.parametrize("known", [True, False])
def test_a_death_of_unknown_date_recorded_with_the_discharge_makes_no_task(known):
    person, visit = home()
    person.deceased = Moment("", 0)
    person.deceased_recorded = visit.end.us if known else None
    view = View(person, "07-02 14:10")
    assert view.open() == []
    assert not any(key(task).startswith(f"{V}|contact") for task in view.tasks)


def test_tasks_made_before_the_death_was_known_are_retracted_as_deceased():
    person, _ = home()
    task = View(person, "07-02 14:10").task("contact", V)
    person.deceased = Moment("", 0)
    assert reason(retract(task, person)) == "deceased"


def test_an_admission_after_the_death_makes_no_task_and_no_plan():
    person = primed(deceased=at("06-01 08:00"))
    admit(person, V, "06-29 10:00")
    view = View(person, "06-29 11:00")
    assert view.tasks == []
    assert view.of("CarePlan") == []


# Who gets tasks


@pytest.mark.parametrize("disposition", ["02", "05", "43", "66", "50", "51", "21", "09", "65"])
def test_transfers_hospice_and_the_like_start_nothing(disposition):
    person, _ = home(disposition)
    assert needs(View(person, "07-02 14:10")) == {"notify-admit"}


@pytest.mark.parametrize("disposition", ["03", "61", "62", "63", "04", "83"])
def test_a_discharge_to_a_facility_only_prepares_surveillance_on_hold(disposition):
    person, _ = home(disposition)
    view = View(person, "07-02 14:10")
    assert needs(view) == {"notify-admit", *(f"surveillance-{n}" for n in (3, 7, 14, 21, 30))}
    held = [task for task in view.open() if "surveillance" in key(task)]
    assert {(task["status"], reason(task)) for task in held} == {("on-hold", "in-facility")}


def test_skilled_nursing_keeps_the_surveillance_on_hold_until_the_way_home():
    person, _ = home("03")
    nursing = admit(person, "SNFD|N1", "07-02 16:00", "NONAC", site="snfd", kind="R")
    view = View(person, "07-05 14:10")
    assert view.task("surveillance-7", V)["status"] == "on-hold"
    assert len(view.of("EpisodeOfCare")) == 2
    discharge(nursing, "07-08 12:00", "01")
    view = View(person, "07-08 12:10")
    assert view.task("surveillance-7", V)["status"] == "requested"
    assert view.task("contact", "SNFD|N1")["restriction"]["period"]["end"][:10] == "2026-07-10"


def test_a_discharge_without_disposition_starts_follow_up_and_asks_for_it():
    person, _ = home(None)
    view = View(person, "07-02 14:10")
    assert len(view.open()) == 13
    fix = view.task("fix-disposition", V)
    assert fix["restriction"]["period"]["end"] == "2026-07-02T18:00:00-04:00"
    assert fix["owner"]["display"] == "Hospital A"
    assert inputs(view.task("bill-tcm", V), "blocked-by") == ["disposition-unknown"]


def test_leaving_against_advice_starts_follow_up_but_not_billing():
    person, _ = home("07")
    view = View(person, "07-02 14:10")
    assert "contact" in needs(view)
    assert inputs(view.task("bill-tcm", V), "blocked-by") == ["against-medical-advice"]


@pytest.mark.parametrize("code", ["EMER", "AMB", "VR"])
def test_emergency_and_clinic_discharges_make_nothing(code):
    person = primed()
    discharge(admit(person, V, "07-02 10:00", code), "07-02 14:00")
    assert View(person, "07-02 14:10").resources == []


def test_history_makes_nothing():
    assert View(primed(), "07-02 14:10").resources == []


def test_cancelled_and_planned_visits_make_nothing():
    for status in ("cancelled", "planned", "entered-in-error"):
        person = primed()
        admit(person, V, "07-02 10:00").status = status
        assert View(person, "07-02 14:10").resources == []


def test_an_observation_stay_has_transitional_care_but_no_inpatient_measures():
    person = primed()
    discharge(admit(person, V, "07-01 10:00", "OBSENC"), "07-02 14:00")
    assert needs(View(person, "07-02 14:10")) == {
        *("contact", "visit", "med-rec", "tcm-records", "bill-tcm"),
        *(f"surveillance-{n}" for n in (3, 7, 14, 21, 30)),
    }


def test_observation_that_turns_inpatient_is_notified_from_the_inpatient_order():
    person = primed()
    visit = admit(person, V, "06-28 10:00", "OBSENC")
    change_class(visit, "IMP", "06-30 09:00")
    assert View(person, "06-30 10:00").summary()["notify-admit"][0] == "07-02"


def test_children_are_not_in_the_adult_measures_and_unknown_age_is():
    person, _ = home()
    person.birth_date = "2010-01-01"
    assert "send-dc-info" not in needs(View(person, "07-02 14:10"))
    person.birth_date = None
    assert "send-dc-info" in needs(View(person, "07-02 14:10"))


def test_without_a_known_provider_the_hospital_owns_and_looks_for_one():
    person = primed()
    person.practice = None
    visit = admit(person, V, "06-29 10:00")
    view = View(person, "06-29 11:00")
    assert view.summary() == {
        "notify-admit": ("07-01", "requested"),
        "find-pcp": ("06-30", "requested"),
    }
    discharge(visit, "07-02 14:00")
    view = View(person, "07-02 14:10")
    assert view.task("contact", V)["owner"]["display"] == "Hospital A"
    assert sum("find-pcp" in key(task) for task in view.tasks) == 1
    person.practice = "pcpb"
    assert reason(retract(view.task("find-pcp", V), person)) == "superseded"


def test_tasks_of_a_visit_that_goes_on_under_another_number_are_retracted_as_merged():
    person = primed()
    visit = admit(person, V, "06-29 10:00")
    task = View(person, "06-29 11:00").task("notify-admit", V)
    person.visits = [replace(visit, key="HOSPA|V9", numbers=[visit.key])]
    assert reason(retract(task, person)) == "merged"
    person.visits = [replace(visit, key="HOSPA|V9")]
    assert reason(retract(task, person)) == "anchor-voided"


# No false closure


@pytest.mark.parametrize(
    "change",
    [
        {"received": None},
        {"recipient": [{"reference": "Practitioner/x"}]},
        {"status": "in-progress"},
        {"status": "preparation"},
    ],
)
def test_what_is_no_two_way_contact_closes_no_contact(change):
    person, _ = home()
    call(person, "Communication/k1", "07-06 10:00", **change)
    assert View(person, "07-06 10:01").task("contact", V)["status"] == "requested"


def test_a_caregivers_call_counts():
    person, _ = home()
    call(
        person,
        "Communication/k1",
        "07-06 10:00",
        recipient=[],
        sender={"reference": "RelatedPerson/r1"},
    )
    assert View(person, "07-06 10:01").task("contact", V)["status"] == "completed"


def test_a_contact_before_the_discharge_never_counts():
    person, _ = home()
    call(person, "Communication/k1", "07-02 13:59")
    assert View(person, "07-02 15:00").task("contact", V)["status"] == "requested"


def test_another_organizations_call_is_no_tcm_contact_but_is_surveillance():
    person, _ = home()
    call(person, "Communication/k1", "07-06 10:00", source="payx")
    view = View(person, "07-06 10:01")
    assert view.task("contact", V)["status"] == "requested"
    assert view.task("surveillance-3", V)["status"] == "completed"


def visit_on(person, when, status="finished", class_="AMB", source="pcpb"):
    period = {"start": at(when).text, "end": at(when).text}
    evidence(person, "Encounter/v1", source, when, status=status, class_=class_, period=period)


def test_a_visit_on_the_day_of_discharge_is_a_contact_but_no_visit():
    person, _ = home()
    visit_on(person, "07-02 16:00")
    view = View(person, "07-02 17:00")
    assert view.task("contact", V)["status"] == "completed"
    assert view.task("visit", V)["status"] == "requested"


@pytest.mark.parametrize(
    "change",
    [{"status": "in-progress"}, {"status": "cancelled"}, {"class_": "EMER"}, {"source": "payx"}],
)
def test_unfinished_emergency_and_strangers_visits_close_no_tcm_visit(change):
    person, _ = home()
    visit_on(person, "07-07 10:00", **change)
    assert View(person, "07-07 11:00").task("visit", V)["status"] == "requested"


def test_a_list_without_a_medication_code_or_by_the_patient_closes_nothing():
    person, _ = home()
    body = {"status": "current", "mode": "working", "date": at("07-06 10:00").text}
    evidence(person, "List/l1", "pcpb", "07-06 10:00", code={"text": "problems"}, **body)
    codes = {"coding": [{"code": "10160-0"}]}
    evidence(
        person,
        "List/l2",
        "pcpb",
        "07-06 10:00",
        code=codes,
        source={"reference": "Patient/p"},
        **body,
    )
    assert View(person, "07-06 11:00").task("med-rec", V)["status"] == "requested"


def test_a_list_dated_on_the_day_of_discharge_without_time_counts():
    person, _ = home()
    codes = {"coding": [{"code": "10160-0"}]}
    evidence(
        person, "List/l1", "pcpb", "07-03 10:00", status="current", code=codes, date="2026-07-02"
    )
    assert View(person, "07-03 11:00").task("med-rec", V)["status"] == "completed"


# Time


def test_a_hard_clock_fails_only_after_the_evidence_lag():
    person, _ = home()
    due = View(person, "07-02 15:00").task("contact", V)["restriction"]["period"]["end"]
    assert due[:10] == "2026-07-07"
    assert View(person, "07-10 23:59:59").task("contact", V)["status"] == "requested"
    task = View(person, "07-11 00:00").task("contact", V)
    assert (task["status"], reason(task)) == ("failed", "window-closed")
    assert requirement(task, "tcm-contact")["state"] == "closed"


def test_a_call_made_in_time_and_reported_within_the_lag_is_met():
    person, _ = home()
    call(person, "Communication/k1", "07-07 16:00")
    person.evidence[-1].recorded = us("07-10 12:00")
    task = View(person, "07-12 00:00").task("contact", V)
    assert (task["status"], requirement(task, "tcm-contact")["state"]) == ("completed", "met")


def test_a_call_reported_after_the_lag_changes_the_compliance_but_not_the_status():
    person, _ = home()
    call(person, "Communication/k1", "07-07 16:00")
    person.evidence[-1].recorded = us("07-12 12:00")
    task = View(person, "07-13 00:00").task("contact", V)
    assert (task["status"], requirement(task, "tcm-contact")["state"]) == ("failed", "met")


def test_a_late_call_within_the_lag_closes_the_task_as_late():
    person, _ = home()
    call(person, "Communication/k1", "07-09 10:00")
    task = View(person, "07-09 11:00").task("contact", V)
    assert (task["status"], requirement(task, "tcm-contact")["state"]) == ("completed", "late")


def test_a_visit_after_seven_but_within_fourteen_days_still_closes_the_task():
    person, _ = home()
    visit_on(person, "07-15 10:00")
    task = View(person, "07-15 11:00").task("visit", V)
    assert task["status"] == "completed"
    assert requirement(task, "tcm-visit")["state"] == "late"
    assert requirement(task, "engage")["state"] == "met"


def test_our_own_dues_escalate_and_never_fail():
    person, _ = home()
    view = View(person, "12-01 00:00")
    assert {view.task(f"surveillance-{n}", V)["status"] for n in (3, 7, 14, 21, 30)} == {
        "requested"
    }
    assert view.task("tcm-records", V)["status"] == "requested"
    assert view.of("CarePlan")[0]["status"] == "active"


def test_an_episode_ends_when_its_window_is_over_and_nothing_is_left():
    person, _ = home()
    for day in ("07-05", "07-09", "07-16", "07-23", "08-01"):
        call(person, f"Communication/{day}", f"{day} 10:00")
    visit_on(person, "07-08 10:00")
    codes = {"coding": [{"code": "10160-0"}]}
    evidence(
        person,
        "List/l",
        "pcpb",
        "07-08 10:00",
        status="current",
        code=codes,
        date=at("07-08 09:00").text,
    )
    summary = {"status": "current", "type": {"coding": [{"code": "18842-5"}]}}
    evidence(person, "DocumentReference/d", "hospa", "07-03 10:00", **summary)
    task = View(person, "07-03 10:00").task("send-dc-info", V)
    state(
        person,
        task,
        "07-03 10:00",
        "hospa",
        status="completed",
        output=output("DocumentReference/d"),
    )
    receipt(person, "DocumentReference/d", "07-03 10:01", type_code="18842-5")
    receipt(person, "Encounter/enc-V1", "06-29 10:01", class_code="IMP")
    view = View(person, "08-01 23:59:59")
    assert episode(view)["status"] == "active"
    assert view.care.wake == us("08-02 00:00")
    view = View(person, "08-02 00:00")
    assert (episode(view)["status"], episode(view)["period"]["end"]) == ("completed", "2026-08-01")
    assert view.of("Goal")[0]["achievementStatus"]["coding"][0]["code"] == "achieved"
    assert view.care.wake is None
    assert view.task("bill-tcm", V)["status"] == "draft"


def episode(view):
    return next(plan for plan in view.of("CarePlan") if "partOf" in plan)


# Readmission before everything is done


def test_a_readmission_holds_what_cannot_be_done_and_its_discharge_ends_it():
    person, _ = home()
    second = admit(person, "HOSPB|V2", "07-04 10:00", site="hospb")
    view = View(person, "07-06 10:00")
    assert view.summary(V)["contact"] == ("07-07", "on-hold", "admitted")
    assert view.summary(V)["send-dc-info"] == ("07-04", "requested")
    assert view.summary(V)["bill-tcm"] == ("08-01", "draft")
    assert View(person, "07-20 10:00").summary(V)["contact"] == ("07-07", "on-hold", "admitted")
    discharge(second, "07-08 10:00", "03")
    assert View(person, "07-08 11:00").summary(V)["contact"] == ("07-07", "cancelled", "readmitted")


def test_a_return_within_a_day_is_one_stay_for_the_measure_and_still_ends_the_first_follow_up():
    person, _ = home()
    second = admit(person, "HOSPA|V2", "07-03 10:00")
    view = View(person, "07-03 11:00")
    assert len(view.of("EpisodeOfCare")) == 1
    assert view.summary(V)["contact"][1:] == ("on-hold", "admitted")
    discharge(second, "07-05 10:00")
    view = View(person, "07-05 11:00")
    assert view.summary(V)["contact"][1:] == ("cancelled", "readmitted")
    assert view.summary("HOSPA|V2")["contact"] == ("07-07", "requested")


def test_a_transfer_is_one_stay_with_the_length_of_both_parts():
    person = primed()
    discharge(admit(person, V, "06-20 10:00"), "07-01 11:30", "02")
    discharge(admit(person, "HOSPB|V2", "07-01 14:20", site="hospb"), "07-04 10:00")
    view = View(person, "07-04 11:00")
    assert len(view.of("EpisodeOfCare")) == 1
    second = next(
        o for o in view.of("Observation") if o["encounter"]["reference"] == "Encounter/enc-V2"
    )
    assert second["component"][0]["valueRange"]["low"]["value"] == 7
    assert {key(t).rsplit("|", 2)[0] for t in view.tasks if "|contact|" in key(t)} == {"HOSPB|V2"}


# Privacy


def labelled():
    person, _ = home()
    hidden = admit(person, "HOSPA|P2", "07-10 10:00")
    hidden.labels = ["42CFRPart2"]
    voicemail(person, "Communication/k1", "07-11 10:00")
    return person


def test_a_protected_stay_changes_nothing_that_others_may_see():
    person, plain = labelled(), home()[0]
    voicemail(plain, "Communication/k1", "07-11 10:00")
    seen = [r for r in View(person, "07-12 10:00").resources if "meta" not in r]
    assert seen == View(plain, "07-12 10:00").resources


def test_what_belongs_to_a_protected_stay_carries_its_label():
    view = View(labelled(), "07-12 10:00")
    hidden = [r for r in view.resources if "meta" in r]
    kinds = {r["resourceType"] for r in hidden}
    assert {"EpisodeOfCare", "CarePlan", "Task", "RiskAssessment", "Observation"} <= kinds
    assert {r["meta"]["security"][0]["code"] for r in hidden} == {"42CFRPart2"}


def test_where_all_is_protected_the_coordinating_plan_is_too():
    person = primed()
    admit(person, V, "07-10 10:00").labels = ["PSY"]
    resources = View(person, "07-12 10:00").resources
    assert resources
    assert all(r["meta"]["security"][0]["code"] == "PSY" for r in resources)


def test_evidence_under_a_label_closes_nothing_that_others_may_see():
    person, _ = home()
    call(person, "Communication/k1", "07-06 10:00", meta={"security": [{"code": "SUD"}]})
    assert View(person, "07-06 10:01").task("contact", V)["status"] == "requested"


# Odds and ends


def test_the_digest_changes_with_what_matters_and_only_with_that():
    person, visit = home()
    before = relevant(person)
    assert hash(before) == hash(relevant(person))
    visit.practitioners.append("Practitioner/x")
    person.evidence = list(person.evidence)
    assert relevant(person) == before
    visit.disposition = "03"
    assert relevant(person) != before


def test_a_newer_version_of_a_piece_of_evidence_replaces_the_older():
    person, _ = home()
    call(person, "Communication/k1", "07-06 10:00")
    call(person, "Communication/k1", "07-06 10:00", status="entered-in-error")
    assert View(person, "07-06 11:00").task("contact", V)["status"] == "requested"


def test_the_reason_for_admission_stands_in_where_no_condition_is_known():
    person = primed()
    visit = admit(person, V, "07-10 10:00", diagnoses=())
    visit.reason = "Shortness of breath"
    view = View(person, "07-10 10:00")
    (condition,) = view.of("Condition")
    assert condition["code"]["text"] == "Shortness of breath"
    assert condition["verificationStatus"]["coding"][0]["code"] == "unconfirmed"
    visit.conditions = ["Condition/dg1"]
    view = View(person, "07-10 10:00")
    assert view.of("Condition") == []
    assert {"reference": "Condition/dg1"} in episode(view)["addresses"]


def test_the_narrative_escapes_what_it_shows():
    from dataclasses import replace

    site = replace(SETTING.sites["hospa"], title="A & <B>")
    setting = replace(SETTING, sites={**SETTING.sites, "hospa": site})
    person, _ = home()
    for plan in View(person, "07-02 15:00", setting).of("CarePlan"):
        assert "A &amp; &lt;B&gt;" in plan["text"]["div"]


def test_everything_is_json():
    person, _ = home()
    assert json.loads(json.dumps(View(person, "07-02 15:00").resources))


def test_business_status_of_a_visit_that_was_never_booked_is_absent():
    person, _ = home()
    assert business(View(person, "07-02 15:00").task("visit", V)) is None


def test_evidence_from_history_closes_nothing():
    person, _ = home()
    body = {
        "resourceType": "Communication",
        "status": "completed",
        "received": at("07-06 10:00").text,
        "recipient": [{"reference": "Patient/p"}],
    }
    person.evidence.append(
        Evidence("Communication/h", 1, body, "pcpb", us("07-06 10:00"), history=True)
    )
    assert View(person, "07-06 11:00").task("contact", V)["status"] == "requested"
