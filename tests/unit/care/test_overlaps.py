"""Stays at two hospitals at once are questioned, once no transfer or leave explains them."""

from dataclasses import replace

import pytest

from segue.care.coordinate import coordinate
from tests.unit.care.scenes import PROTOCOLS, SETTING, View, admit, at, discharge, primed, us


@pytest.fixture
def two():
    """In Hospital A since 10-05, and in Hospital B since 10-07 14:20."""
    person = primed()
    first = admit(person, "HOSPA|T1", "10-05 10:00")
    second = admit(person, "HOSPB|T2", "10-07 14:20", site="hospb")
    return person, first, second


def questions(person, now):
    return View(person, now).of("DetectedIssue")


def test_after_four_hours_in_two_hospitals_somebody_is_asked(two):
    person, *_ = two
    assert questions(person, "10-07 18:20") == []
    assert View(person, "10-07 18:20").care.wake == us("10-07 18:20") + 1
    (issue,) = questions(person, "10-07 18:21")
    assert (issue["status"], issue["severity"]) == ("preliminary", "high")
    assert issue["code"]["coding"][0]["code"] == "overlapping-encounters"
    assert issue["identifiedDateTime"] == "2026-10-07T22:20:00.000Z"
    assert [one["reference"] for one in issue["implicated"]] == [
        "Encounter/enc-T1",
        "Encounter/enc-T2",
    ]
    assert questions(person, "12-24 10:00") == [issue]


def test_a_transfer_whose_discharge_is_told_late_is_no_question(two):
    person, first, _ = two
    discharge(first, "10-07 11:30", disposition="02", recorded="10-07 19:00")
    assert questions(person, "10-09 18:00") == []


@pytest.mark.parametrize(("end", "asked"), [("10-07 18:20", False), ("10-07 18:21", True)])
def test_papers_of_a_transfer_may_take_four_hours(two, end, asked):
    person, first, _ = two
    discharge(first, end, disposition="02")
    assert bool(questions(person, "10-09 18:00")) is asked


def test_who_is_on_leave_may_lie_elsewhere(two):
    person, first, second = two
    first.leaves = [(at("10-07 09:00"), None)]
    first.status = "onleave"
    assert questions(person, "10-12 18:00") == []
    first.leaves = [(at("10-07 09:00"), at("10-09 12:00"))]
    first.status = "in-progress"
    discharge(second, "10-09 15:00")
    assert questions(person, "10-12 18:00") == []
    # 40 minutes before the leave and 3 hours and 20 minutes after it are four hours together.
    first.leaves = [(at("10-07 15:00"), at("10-09 12:00"))]
    second.end = at("10-09 15:20")
    assert questions(person, "10-12 18:00") == []
    second.end = at("10-09 15:21")
    assert len(questions(person, "10-12 18:00")) == 1


def test_one_hospital_a_nursing_facility_and_a_practice_s_copy_are_no_question(two):
    person, first, second = two
    second.site = "hospa"
    assert questions(person, "10-09 18:00") == []
    second.site = "hospb"
    second.classes = [replace(one, code="NONAC") for one in second.classes]
    assert questions(person, "10-09 18:00") == []
    second.classes = [replace(one, code="IMP") for one in second.classes]
    second.client = True
    assert questions(person, "10-09 18:00") == []
    second.client, first.status = False, "cancelled"
    assert questions(person, "10-09 18:00") == []


def test_a_third_hospital_is_a_question_of_its_own(two):
    person, *_ = two
    admit(person, "HOSPC|T3", "10-07 20:00", site="hospc")
    found = questions(person, "10-09 18:00")
    assert [len(one["implicated"]) for one in found] == [2, 3]
    assert len({one["id"] for one in found}) == 2


def test_what_is_protected_is_questioned_under_its_labels_alone(two):
    person, first, _ = two
    first.labels = ["42CFRPart2"]
    made = coordinate(person, at("10-09 18:00"), SETTING, PROTOCOLS).resources
    (issue,) = [one for one in made if one["resourceType"] == "DetectedIssue"]
    assert [one["code"] for one in issue["meta"]["security"]] == ["42CFRPart2"]
