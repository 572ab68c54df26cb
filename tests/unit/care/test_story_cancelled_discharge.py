"""S05 and S11: discharges that are cancelled, resent, corrected, or arrive first."""

from dataclasses import replace

from segue.care.retraction import retract
from segue.care.view import ClassPeriod, VoidedDischarge
from tests.unit.care.scenes import (
    View,
    admit,
    at,
    business,
    call,
    cancel_discharge,
    discharge,
    key,
    outputs,
    primed,
    reason,
    requirement,
    us,
    voicemail,
)

V = "HOSPA|V79001"
GENERATION_1 = {
    "contact": ("07-07", "requested"),
    "visit": ("07-09", "requested"),
    "med-rec": ("07-09", "requested"),
    "tcm-records": ("07-07", "requested"),
    "send-dc-info": ("07-04", "requested"),
    "surveillance-3": ("07-05", "requested"),
    "surveillance-7": ("07-09", "requested"),
    "surveillance-14": ("07-16", "requested"),
    "surveillance-21": ("07-23", "requested"),
    "surveillance-30": ("08-01", "requested"),
    "bill-tcm": ("08-01", "draft"),
}
GENERATION_2 = {
    "contact": ("07-08", "requested"),
    "visit": ("07-13", "requested"),
    "med-rec": ("07-13", "requested"),
    "tcm-records": ("07-08", "requested"),
    "send-dc-info": ("07-08", "requested"),
    "surveillance-3": ("07-09", "requested"),
    "surveillance-7": ("07-13", "requested"),
    "surveillance-14": ("07-20", "requested"),
    "surveillance-21": ("07-27", "requested"),
    "surveillance-30": ("08-05", "requested"),
    "bill-tcm": ("08-05", "draft"),
}


def admitted():
    person = primed()
    return person, admit(person, V, "06-29 10:00")


def discharged(**more):
    person, visit = admitted()
    discharge(visit, "07-02 14:00", **more)
    return person, visit


def voided():
    """Discharged at 14:00, voicemail at 15:10, taken back at 17:38."""
    person, visit = discharged()
    voicemail(person, "Communication/k1", "07-02 15:10")
    cancel_discharge(visit)
    struck = VoidedDischarge(us("07-02 14:00"), at("07-02 14:00"), "01", us("07-02 17:38"))
    return person, visit, struck


def without_notice(view):
    found = view.summary(V)
    found.pop("notify-admit")
    return found


def test_the_dues_of_a_discharge_before_a_holiday_weekend():
    person, _ = discharged()
    assert without_notice(View(person, "07-02 14:10")) == GENERATION_1


def test_a_voicemail_is_an_attempt_and_leaves_the_contact_open():
    person, _ = discharged()
    voicemail(person, "Communication/k1", "07-02 15:10")
    task = View(person, "07-02 15:11").task("contact", V)
    assert (task["status"], business(task)) == ("requested", "attempted-1")
    assert outputs(task) == [("attempt", "Communication/k1")]
    voicemail(person, "Communication/k2", "07-03 10:00")
    task = View(person, "07-03 10:01").task("contact", V)
    assert (task["status"], business(task)) == ("requested", "attempted-x2")


def test_a_cancelled_discharge_yields_no_open_task():
    person, visit = discharged()
    cancel_discharge(visit)
    view = View(person, "07-02 17:39")
    assert {key(task).split("|")[-2] for task in view.tasks} == {"notify-admit"}
    assert view.of("EpisodeOfCare")[0]["status"] == "active"
    assert view.of("RiskAssessment")[0]["status"] == "preliminary"


def test_what_the_hub_had_made_is_then_cancelled_as_voided_and_keeps_its_attempt():
    person, visit = discharged()
    voicemail(person, "Communication/k1", "07-02 15:10")
    before = View(person, "07-02 15:11").tasks
    cancel_discharge(visit)
    kept = {key(task) for task in View(person, "07-02 17:39").tasks}
    withdrawn = [retract(task, person) for task in before if key(task) not in kept]
    assert len(withdrawn) == 11
    assert {(task["status"], reason(task)) for task in withdrawn} == {
        ("cancelled", "anchor-voided")
    }
    contact = next(task for task in withdrawn if "|contact|" in key(task))
    assert business(contact) == "attempted-1"
    assert outputs(contact) == [("attempt", "Communication/k1")]


def test_the_second_discharge_makes_the_second_generation_and_inherits_no_attempt():
    person, visit, struck = voided()
    visit.struck = [struck]
    discharge(visit, "07-06 11:20")
    view = View(person, "07-06 11:21")
    second = {
        key(task).split("|")[-2]: (task["restriction"]["period"]["end"][5:10], task["status"])
        for task in view.tasks
        if key(task).endswith("|2")
    }
    assert second == GENERATION_2
    assert business(view.task("contact", V, 2)) is None
    visit_task = requirement(view.task("visit", V, 2), "tcm-visit")
    assert visit_task["else"] == [{"clock": "C-3", "due": "2026-07-20T23:59:59-04:00"}]
    first = [task for task in view.tasks if key(task) == f"{V}|contact|1"]
    assert [(task["status"], reason(task)) for task in first] == [("cancelled", "anchor-voided")]
    assert outputs(first[0]) == [("attempt", "Communication/k1")]


def test_the_open_set_equals_that_of_a_run_without_the_cancelled_discharge():
    person, visit, _ = voided()
    discharge(visit, "07-06 11:20")
    other, plain = admitted()
    discharge(plain, "07-06 11:20")
    assert open_set(View(person, "07-06 11:21")) == open_set(View(other, "07-06 11:21"))


def open_set(view):
    return sorted(
        (
            key(task).split("|")[-2],
            task["owner"]["display"],
            task["restriction"]["period"]["end"],
            repr([i for i in task["input"] if "requirement" in repr(i)]),
        )
        for task in view.open()
    )


def test_a_contact_made_before_the_cancel_stays_made_but_does_not_count_again():
    person, visit, struck = voided()
    call(person, "Communication/k2", "07-02 16:00")
    visit.struck = [struck]
    discharge(visit, "07-06 11:20")
    view = View(person, "07-06 11:21")
    assert view.task("contact", V, 1)["status"] == "completed"
    assert view.task("contact", V, 2)["status"] == "requested"


def test_a_cancel_that_comes_before_its_discharge_leaves_no_trace():
    person, visit = admitted()
    visit.voided = [us("07-02 14:00")]
    visit.struck = [VoidedDischarge(us("07-02 14:00"), at("07-02 14:00"), "01", us("07-02 17:38"))]
    assert {key(task) for task in View(person, "07-02 18:00").tasks} == {f"{V}|notify-admit|1"}


def test_a_retracted_task_that_has_ended_stays_as_it_is():
    person, visit = discharged()
    call(person, "Communication/k1", "07-02 16:00")
    task = View(person, "07-02 16:01").task("contact", V)
    cancel_discharge(visit)
    assert retract(task, person) == task


def test_a_task_whose_anchor_stands_is_superseded():
    person, visit = discharged()
    task = View(person, "07-02 15:00").task("contact", V)
    visit.disposition = "03"
    assert reason(retract(task, person)) == "superseded"


# S11


def arrived_first():
    """A03 alone: admission and discharge times and diagnoses of its own PV1 and DG1."""
    person = primed()
    visit = admit(person, "HOSPA|V78421", "07-05 13:40", diagnoses=("I50.23", "E11.9"))
    discharge(visit, "07-10 14:05")
    return person, visit


ELEVEN = {
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


def test_a_discharge_that_arrives_first_makes_its_eleven_tasks_at_once():
    person, _ = arrived_first()
    view = View(person, "07-10 15:30")
    found = view.summary()
    assert found.pop("notify-admit") == ("07-07", "requested")  # overdue, still sent
    assert found == ELEVEN
    low = view.of("Observation")[0]["valueRange"]
    assert (low["low"]["value"], low["high"]["value"]) == (12, 12)


def test_the_registration_that_arrives_later_adds_no_task():
    person, visit = arrived_first()
    before = View(person, "07-10 15:30")
    visit.start = at("07-05 08:12")
    visit.classes = [
        ClassPeriod("EMER", at("07-05 08:12"), at("07-05 13:40")),
        ClassPeriod("IMP", at("07-05 13:40"), at("07-10 14:05")),
    ]
    after = View(person, "07-10 15:30")
    assert [key(task) for task in after.tasks] == [key(task) for task in before.tasks]
    assert after.tasks == before.tasks


def test_a_corrected_discharge_time_moves_the_dues_and_keeps_the_ids():
    person, visit = arrived_first()
    before = View(person, "07-10 15:30")
    visit.end = at("07-09 23:50")
    visit.classes[-1] = replace(visit.classes[-1], end=visit.end)
    view = View(person, "07-10 16:05")
    found = view.summary()
    found.pop("notify-admit")
    assert found == {
        "contact": ("07-13", "requested"),
        "visit": ("07-16", "requested"),
        "med-rec": ("07-16", "requested"),
        "tcm-records": ("07-13", "requested"),
        "send-dc-info": ("07-11", "requested"),
        "surveillance-3": ("07-12", "requested"),
        "surveillance-7": ("07-16", "requested"),
        "surveillance-14": ("07-23", "requested"),
        "surveillance-21": ("07-30", "requested"),
        "surveillance-30": ("08-08", "requested"),
        "bill-tcm": ("08-08", "draft"),
    }
    assert [t["id"] for t in view.tasks] == [t["id"] for t in before.tasks]
    assert view.of("Observation")[0]["valueRange"]["low"]["value"] == 12
