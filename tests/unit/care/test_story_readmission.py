"""S01: heart failure, from the emergency department to the readmission on day 9."""

import pytest

from tests.unit.care.scenes import (
    ALL,
    View,
    admit,
    at,
    business,
    call,
    change_class,
    discharge,
    evidence,
    inputs,
    output,
    outputs,
    primed,
    receipt,
    requirement,
    state,
    us,
    utc,
)

V1 = "HOSPA|V78421"
V2 = "HOSPB|B5501"
SUMMARY = {
    "status": "current",
    "docStatus": "final",
    "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]},
}
MEDICATIONS = {"coding": [{"system": "http://loinc.org", "code": "10160-0"}]}


class Story:
    """The person after each step; steps build on each other."""

    def __init__(self):
        self.person = primed()

    def to(self, step):
        for n in range(1, step + 1):
            getattr(self, f"step_{n}")()
        return self

    def step_1(self):
        self.visit = admit(self.person, V1, "07-05 08:12", "EMER", diagnoses=())

    def step_2(self):
        change_class(self.visit, "IMP", "07-05 13:40")
        self.visit.diagnoses = [("http://hl7.org/fhir/sid/icd-10-cm", "I50.23", "")]

    def step_3(self):
        receipt(self.person, "Encounter/enc-V78421", "07-05 13:42:50", class_code="IMP")

    def step_4(self):
        """A16 is kept and changes nothing that protocols see."""

    def step_5(self):
        self.visit.diagnoses.append(("http://hl7.org/fhir/sid/icd-10-cm", "E11.9", ""))
        discharge(self.visit, "07-10 14:05", arrived="07-10 14:31")
        receipt(self.person, "CarePlan/plan", "07-10 14:31:20")

    def step_6(self):
        task = View(self.person, "07-10 15:59").task("send-dc-info")
        evidence(
            self.person,
            "DocumentReference/d1",
            "hospa",
            "07-10 16:00",
            date=at("07-10 15:50").text,
            **SUMMARY,
        )
        state(
            self.person,
            task,
            "07-10 16:00",
            "hospa",
            status="completed",
            output=output("DocumentReference/d1"),
        )

    def step_6_receipt(self):
        receipt(self.person, "DocumentReference/d1", "07-10 16:00:40", type_code="18842-5")

    def step_7(self):
        self.step_6_receipt()
        evidence(
            self.person,
            "Appointment/a1",
            "pcpb",
            "07-13 09:02",
            status="booked",
            start=at("07-16 10:30").text,
            end=at("07-16 11:00").text,
        )

    def step_8(self):
        task = View(self.person, "07-13 15:19").task("contact")
        call(self.person, "Communication/k1", "07-13 15:20")
        state(
            self.person,
            task,
            "07-13 15:20",
            "pcpb",
            status="completed",
            output=output("Communication/k1"),
        )

    def step_9(self):
        task = View(self.person, "07-16 11:05").task("med-rec")
        evidence(
            self.person,
            "Encounter/v1",
            "pcpb",
            "07-16 11:06",
            status="finished",
            class_="AMB",
            period={"start": at("07-16 10:32").text, "end": at("07-16 11:05").text},
        )
        evidence(
            self.person,
            "List/l1",
            "pcpb",
            "07-16 11:06",
            status="current",
            mode="working",
            code=MEDICATIONS,
            date=at("07-16 10:50").text,
            source={"reference": "Practitioner/rn"},
        )
        state(
            self.person, task, "07-16 11:06", "pcpb", status="completed", output=output("List/l1")
        )

    def step_10(self):
        self.second = admit(self.person, V2, "07-19 21:50", site="hospb")
        receipt(self.person, "Encounter/enc-B5501", "07-19 21:52", class_code="IMP")

    def step_11(self):
        discharge(self.second, "07-23 13:00")


def test_1_an_emergency_registration_makes_no_plan_and_no_task():
    assert View(Story().to(1).person, "07-05 08:13").resources == []


def test_2_the_admission_opens_a_stay_a_plan_and_one_task():
    view = View(Story().to(2).person, "07-05 13:42")
    assert view.summary() == {"notify-admit": ("07-07", "requested")}
    (episode,) = view.of("EpisodeOfCare")
    assert (episode["status"], episode["type"][0]["coding"][0]["code"]) == ("active", "acute-stay")
    assert episode["period"]["start"].startswith("2026-07-05T08:12")
    coordinating, own = plans(view)
    assert coordinating["status"] == own["status"] == "active"
    assert own["partOf"] == [{"reference": f"CarePlan/{coordinating['id']}"}]
    assert view.task("notify-admit")["owner"]["display"] == "Segue coordination hub"


def test_2_lace_is_undetermined_until_the_length_of_stay_is_known():
    view = View(Story().to(2).person, "07-05 13:42")
    assert lace(view) == (8, 15, "preliminary", None)
    assert "open: L (length of stay)" in view.of("RiskAssessment")[0]["note"][0]["text"]


def test_2_the_practices_record_filing_the_inpatient_encounter_closes_the_notification():
    task = View(Story().to(3).person, "07-06 12:00").task("notify-admit")
    assert task["status"] == "completed"
    assert outputs(task) == [("delivery-receipt", utc("07-05 13:42:50"))]


@pytest.mark.parametrize(
    ("what", "destination"),
    [({"class_code": "EMER"}, "pcpb"), ({"class_code": "IMP"}, "payx"), ({}, "pcpb")],
)
def test_2_other_receipts_close_nothing(what, destination):
    person = Story().to(2).person
    receipt(person, "Encounter/enc-V78421", "07-05 13:42:50", destination, **what)
    assert View(person, "07-05 14:00").task("notify-admit")["status"] == "requested"


def test_5_the_discharge_makes_exactly_eleven_tasks_with_their_dues():
    view = View(Story().to(5).person, "07-10 14:31")
    assert view.summary() == {
        "notify-admit": ("07-07", "completed"),
        "contact": ("07-14", "requested"),
        "visit": ("07-17", "requested"),
        "med-rec": ("07-17", "requested"),
        "tcm-records": ("07-14", "requested"),
        "send-dc-info": ("07-12", "requested"),
        "surveillance-3": ("07-13", "requested"),
        "surveillance-7": ("07-17", "requested"),
        "surveillance-14": ("07-24", "requested"),
        "surveillance-21": ("07-31", "requested"),
        "surveillance-30": ("08-09", "requested"),
        "bill-tcm": ("08-09", "draft"),
    }
    assert lace(view) == (12, 12, "final", "high")
    assert view.of("EpisodeOfCare")[0]["status"] == "finished"


def test_5_one_visit_task_holds_both_requirements_with_their_windows():
    task = View(Story().to(5).person, "07-10 14:31").task("visit")
    tcm, engage = requirement(task, "tcm-visit"), requirement(task, "engage")
    assert (tcm["clock"], tcm["due"][:10], tcm["state"]) == ("C-2", "2026-07-17", "open")
    assert tcm["else"] == [{"clock": "C-3", "due": "2026-07-24T23:59:59-04:00"}]
    assert (engage["clock"], engage["opens"][:10], engage["due"][:10]) == (
        "C-7",
        "2026-07-11",
        "2026-08-09",
    )
    assert [c["coding"][0]["code"] for c in task["performerType"]] == ["primary-care"]


def test_5_owners_are_the_hospital_for_its_document_and_the_practice_for_the_rest():
    view = View(Story().to(5).person, "07-10 14:31")
    owners = {task["code"]["coding"][0]["code"]: task["owner"]["display"] for task in view.tasks}
    assert owners.pop("notify-admit") == "Segue coordination hub"
    assert owners.pop("send-dc-info") == "Hospital A"
    assert set(owners.values()) == {"Practice B"}
    assert (
        view.task("send-dc-info")["performerType"][0]["coding"][0]["code"]
        == "hospital-case-manager"
    )


def test_5_the_task_says_how_much_of_the_window_the_message_lost():
    task = View(Story().to(5).person, "07-10 14:31").task("contact")
    assert inputs(task, "noticed-at") == [utc("07-10 14:31")]
    assert inputs(task, "window-lost") == [
        {"value": 26, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}
    ]
    assert '"due":"2026-07-14T23:59:59-04:00"' in inputs(task, "clock")[0]


def test_6_the_hospitals_document_is_in_progress_until_the_practice_has_filed_it():
    story = Story().to(6)
    view = View(story.person, "07-10 16:00:30")
    assert view.task("send-dc-info")["status"] == "in-progress"
    assert view.task("tcm-records")["status"] == "completed"
    story.step_6_receipt()
    task = View(story.person, "07-10 16:01").task("send-dc-info")
    assert task["status"] == "completed"
    assert set(outputs(task)) == {
        ("delivery-receipt", utc("07-10 16:00:40")),
        ("text", "DocumentReference/d1"),
    }


def test_6_without_the_hospitals_word_a_filed_document_does_not_close_it():
    story = Story().to(5)
    evidence(story.person, "DocumentReference/d1", "hospa", "07-10 16:00", **SUMMARY)
    story.step_6_receipt()
    assert View(story.person, "07-10 17:00").task("send-dc-info")["status"] == "requested"


def test_7_a_booking_is_not_a_visit_but_bounds_the_reconciliation():
    view = View(Story().to(7).person, "07-13 09:03")
    visit = view.task("visit")
    assert (visit["status"], business(visit)) == ("in-progress", "5.1.1")
    assert view.summary()["med-rec"] == ("07-16", "requested")
    assert requirement(view.task("med-rec"), "tcm-med-rec")["by"] == "Appointment/a1"
    assert requirement(view.task("med-rec"), "trc-med-rec")["due"][:10] == "2026-08-09"


@pytest.mark.parametrize(
    ("status", "code"), [("noshow", "5.1.2"), ("cancelled", "5.1.3"), ("fulfilled", "5.1.4")]
)
def test_7_what_becomes_of_the_appointment_shows_in_the_business_status_only(status, code):
    person = Story().to(7).person
    evidence(
        person, "Appointment/a1", "pcpb", "07-16 12:00", status=status, start=at("07-16 10:30").text
    )
    visit = View(person, "07-16 12:00").task("visit")
    assert (visit["status"], business(visit)) == ("in-progress", code)


def test_with_core_coordination_the_hospital_books_the_visit_before_the_patient_leaves():
    view = View(Story().to(5).person, "07-10 14:31", protocols=ALL)
    assert view.summary()["schedule-visit"] == ("07-10", "requested")
    assert view.task("schedule-visit")["owner"]["display"] == "Hospital A"
    view = View(Story().to(7).person, "07-13 09:03", protocols=ALL)
    scheduled = view.task("schedule-visit")
    assert scheduled["status"] == "completed"
    assert outputs(scheduled) == [("evidence", "Appointment/a1")]
    assert scheduled["executionPeriod"]["start"] == utc("07-13 09:02")


@pytest.mark.parametrize(
    ("status", "wanted"),
    [("noshow", "requested"), ("cancelled", "requested"), ("fulfilled", "completed")],
)
def test_with_core_coordination_an_appointment_that_falls_through_asks_again(status, wanted):
    person = Story().to(7).person
    evidence(
        person, "Appointment/a1", "pcpb", "07-16 12:00", status=status, start=at("07-16 10:30").text
    )
    view = View(person, "07-16 12:00", protocols=ALL)
    assert view.task("schedule-visit")["status"] == wanted


def test_8_one_call_closes_the_contact_and_the_first_surveillance():
    view = View(Story().to(8).person, "07-13 15:21")
    for need in ("contact", "surveillance-3"):
        task = view.task(need)
        assert task["status"] == "completed"
        assert ("evidence", "Communication/k1") in outputs(task)
    assert view.task("contact")["executionPeriod"]["start"] == utc("07-13 15:20")
    assert view.task("surveillance-7")["status"] == "requested"


def test_9_the_visit_and_the_list_close_what_they_meet_and_make_nothing_new():
    view = View(Story().to(9).person, "07-16 11:07")
    assert (view.task("visit")["status"], business(view.task("visit"))) == ("completed", "7.0")
    assert view.task("med-rec")["status"] == "completed"
    assert view.task("surveillance-7")["status"] == "completed"
    assert len(view.tasks) == 12
    assert len(view.of("EpisodeOfCare")) == 1


def test_10_a_readmission_elsewhere_opens_a_stay_and_holds_the_surveillance():
    before = View(Story().to(9).person, "07-19 21:00")
    view = View(Story().to(10).person, "07-19 21:53")
    first = view.summary(V1)
    for need, day in (
        ("surveillance-14", "07-24"),
        ("surveillance-21", "07-31"),
        ("surveillance-30", "08-09"),
    ):
        assert first[need] == (day, "on-hold", "admitted")
    assert view.summary(V2) == {"notify-admit": ("07-21", "completed")}
    assert len(view.of("EpisodeOfCare")) == 2
    assert len(plans(view)) == 3
    assert plans(before)[0]["id"] == plans(view)[0]["id"]
    assert plans(before)[0] != plans(view)[0]
    goals = {
        g["lifecycleStatus"]: g["achievementStatus"]["coding"][0]["code"] for g in view.of("Goal")
    }
    assert goals == {"completed": "not-achieved", "active": "in-progress"}


def test_11_the_second_discharge_starts_anew_and_ends_what_was_held():
    view = View(Story().to(11).person, "07-23 13:00")
    assert view.summary(V2) == {
        "notify-admit": ("07-21", "completed"),
        "contact": ("07-27", "requested"),
        "visit": ("07-30", "requested"),
        "med-rec": ("07-30", "requested"),
        "tcm-records": ("07-27", "requested"),
        "send-dc-info": ("07-25", "requested"),
        "surveillance-3": ("07-26", "requested"),
        "surveillance-7": ("07-30", "requested"),
        "surveillance-14": ("08-06", "requested"),
        "surveillance-21": ("08-13", "requested"),
        "surveillance-30": ("08-22", "requested"),
        "bill-tcm": ("08-22", "draft"),
    }
    first = view.summary(V1)
    for need in ("surveillance-14", "surveillance-21", "surveillance-30"):
        assert first[need][1:] == ("cancelled", "readmitted")
    assert lace(view, V2) == (13, 13, "final", "high")
    components = observation(view, V2)["component"]
    assert [part["valueRange"]["low"]["value"] for part in components] == [4, 3, 3, 3]


def test_11_in_the_end_there_are_24_tasks():
    view = View(Story().to(11).person, "07-23 13:00")
    statuses = [task["status"] for task in view.tasks]
    assert len(statuses) == 24
    assert {s: statuses.count(s) for s in set(statuses)} == {
        "completed": 9,
        "cancelled": 3,
        "requested": 10,
        "draft": 2,
    }
    episode = next(
        p for p in plans(view) if p.get("encounter", {}).get("reference") == "Encounter/enc-V78421"
    )
    assert (episode["status"], episode["period"]["end"]) == ("completed", at("07-23 13:00").text)


def test_the_result_is_a_function_of_the_facts_not_of_their_order():
    story = Story().to(11)
    person = story.person
    first = View(person, "07-23 13:00").resources
    for name in ("visits", "evidence", "statements", "receipts"):
        getattr(person, name).reverse()
    again = View(person, "07-23 13:00").resources
    assert sorted(map(repr, again)) == sorted(map(repr, first))


def test_running_it_again_later_changes_nothing_before_the_wake():
    person = Story().to(5).person
    first = View(person, "07-10 14:31")
    assert first.care.wake == us("07-16 00:00")  # C-6 of 07-12, 72 hours later
    later = View(person, "07-15 23:59:59")
    assert later.resources == first.resources
    assert later.care.wake == first.care.wake
    assert View(person, "07-16 00:00").summary()["send-dc-info"] == (
        "07-12",
        "failed",
        "window-closed",
    )


def plans(view):
    """The coordinating plan first."""
    return sorted(view.of("CarePlan"), key=lambda plan: "partOf" in plan)


def observation(view, visit=V1):
    encounter = {"reference": "Encounter/enc-" + visit.rpartition("|")[2]}
    return next(o for o in view.of("Observation") if o["encounter"] == encounter)


def lace(view, visit=V1):
    found = observation(view, visit)
    assessment = next(a for a in view.of("RiskAssessment") if a["encounter"] == found["encounter"])
    tier = assessment["prediction"][0].get("qualitativeRisk", {}).get("coding", [{}])[0].get("code")
    value = found["valueRange"]
    return value["low"]["value"], value["high"]["value"], assessment["status"], tier
