"""Flags: who is often in emergency rooms, and who is back within the window."""

import pytest

from tests.unit.care.scenes import View, admit, at, change_class, discharge, primed

OFTEN, FAST = "ed-high-utilizer-4-12mo", "ed-high-utilizer-3-60d"
BACK = "readmission-30d"


def flags(person, now):
    return {one["code"]["coding"][0]["code"]: one for one in View(person, now).of("Flag")}


def emergency(person, number, start, end=None):
    visit = admit(person, f"HOSPA|E{number}", start, "EMER", diagnoses=())
    if end is not None:
        discharge(visit, end)
    return visit


def test_the_fourth_emergency_visit_within_a_year_flags_on_arrival():
    person = primed()  # two in February and April
    emergency(person, 1, "07-01 10:00", "07-01 15:00")
    assert flags(person, "07-20 09:59") == {}
    emergency(person, 2, "07-20 10:00")
    flag = flags(person, "07-20 10:00")[OFTEN]
    assert (flag["status"], flag["period"]) == ("active", {"start": at("07-20 10:00").text})
    care = View(person, "07-20 10:00").care
    assert care.wake == at("02-11 10:00", 2027).us + 1
    assert flags(person, "12-31 10:00").keys() == {OFTEN}


def test_the_third_within_sixty_days_flags_for_as_long_as_that_is_so():
    person = primed()
    for n, day in enumerate(("06-20", "07-01", "07-15")):
        emergency(person, n, f"{day} 10:00", f"{day} 15:00")
    assert flags(person, "07-15 10:00").keys() == {OFTEN, FAST}
    assert flags(person, "08-19 10:00").keys() == {OFTEN, FAST}
    assert flags(person, "08-19 10:01").keys() == {OFTEN}


def test_cancelled_visits_those_of_the_index_alone_and_the_dead_are_not_flagged():
    person = primed()
    for n in range(3):
        emergency(person, n, f"07-0{n + 1} 10:00", f"07-0{n + 1} 15:00")
    person.visits[-1].status = "cancelled"
    assert OFTEN in flags(person, "07-10 10:00")
    assert FAST not in flags(person, "07-10 10:00")
    for visit in person.visits:
        visit.history = True
    assert flags(person, "07-10 10:00") == {}
    for visit in person.visits:
        visit.history = False
    person.deceased, person.deceased_recorded = at("07-09 10:00"), at("07-09 10:00").us
    assert flags(person, "07-10 10:00") == {}


@pytest.mark.parametrize(("kind", "day", "flagged"), [
    ("E", "07-30", True), ("U", "08-09", True), ("E", "08-10", False), ("C", "07-30", False),
    ("E", "07-11", False),
])  # fmt: skip
def test_who_comes_back_unplanned_within_the_window_is_flagged(kind, day, flagged):
    person = primed()
    discharge(admit(person, "HOSPA|V1", "07-05 10:00"), "07-10 14:05")
    back = admit(person, "HOSPB|V2", f"{day} 10:00", site="hospb", kind=kind)
    found = flags(person, f"{day} 11:00")
    assert (BACK in found) is flagged
    if flagged:
        flag = found[BACK]
        assert (flag["status"], flag["encounter"]["reference"]) == ("active", "Encounter/enc-V2")
        discharge(back, f"{day} 20:00")
        flag = flags(person, f"{day} 21:00")[BACK]
        assert (flag["status"], flag["period"]["end"][:10]) == ("inactive", f"2026-{day}")


def test_a_stay_at_a_nursing_facility_is_not_what_one_is_readmitted_after():
    person = primed()
    discharge(admit(person, "HOSPA|V1", "07-05 10:00"), "07-10 14:05", disposition="03")
    facility = admit(person, "PCPB|S1", "07-10 16:00", "NONAC", site="pcpb")
    discharge(facility, "07-28 13:00")
    back = admit(person, "HOSPA|V2", "08-05 10:00", "EMER")
    change_class(back, "IMP", "08-05 12:00")
    assert [one["encounter"]["reference"] for one in View(person, "08-05 13:00").of("Flag")
            if one["code"]["coding"][0]["code"] == BACK] == ["Encounter/enc-V2"]  # fmt: skip
