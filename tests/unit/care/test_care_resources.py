"""Every care resource is valid R4, keeps the invariants, and identifies itself."""

import copy
import json

import pytest

from segue.care import consent
from segue.care.invariants import check
from segue.care.parties import organizations
from segue.fhir.canonical import canonical_state, content_hash
from segue.fhir.resources import to_model
from segue.fhir.validate import Gate
from tests.unit.care.scenes import PROFILES, SETTING, View, admit, at, primed
from tests.unit.care.test_story_readmission import Story

GATE = Gate(PROFILES / "definitions")
STEPS = {2: "07-05 13:42", 5: "07-10 14:31", 8: "07-13 15:21", 10: "07-19 22:00", 11: "07-23 13:00"}


def care(step):
    return View(Story().to(step).person, STEPS[step]).resources


@pytest.mark.parametrize("step", STEPS)
def test_every_resource_of_the_story_is_valid(step):
    for resource in care(step):
        assert GATE.issues(resource) == []
        to_model(resource)


def test_labelled_dead_and_unknown_are_valid_too():
    person = primed()
    person.practice = person.birth_date = None
    visit = admit(person, "HOSPA|V1", "07-01 10:00", diagnoses=(), kind=None)
    visit.labels = ["42CFRPart2", "R"]
    person.deceased = at("07-02 10:00")
    resources = View(person, "07-03 10:00").resources
    assert len(resources) >= 8
    for resource in resources:
        assert GATE.issues(resource) == []


def test_shipped_protocols_and_organizations_are_valid():
    definitions = [
        json.loads(path.read_text())
        for name in ("plan_definitions", "activity_definitions")
        for path in (PROFILES / name).glob("*.json")
    ]
    for resource in [*definitions, *organizations(SETTING)]:
        assert GATE.issues(resource) == []
        to_model(resource)


def test_each_resource_carries_its_id_as_identifier_for_conditional_updates():
    for resource in care(11):
        assert {"system": "urn:segue", "value": resource["id"]} in resource["identifier"]


def test_references_between_care_resources_lead_somewhere():
    resources = care(11)
    there = {f"{r['resourceType']}/{r['id']}" for r in resources}
    made_here = {
        "CarePlan",
        "CareTeam",
        "Goal",
        "Task",
        "EpisodeOfCare",
        "RiskAssessment",
        "Observation",
    }
    for reference in references(resources):
        if reference.partition("/")[0] in made_here:
            assert reference in there


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_coordinating_plan_holds_what_dynamic_care_planning_asks_for():
    plan = next(r for r in care(5) if r["resourceType"] == "CarePlan" and "partOf" not in r)
    for name in ("category", "description", "subject", "author", "careTeam"):
        assert plan[name]
    assert plan["period"]["start"]
    assert plan["addresses"]
    assert plan["goal"]
    assert {"reference": "Condition/c1"} in plan["addresses"]
    assert plan["text"]["div"].startswith('<div xmlns="http://www.w3.org/1999/xhtml">')


def test_the_discharge_makes_one_new_version_of_the_plan_and_bed_moves_none():
    story = Story().to(4)
    moved = View(story.person, "07-08 10:01").resources
    story.visit.practitioners.append("Practitioner/new")
    assert hashes(View(story.person, "07-08 10:02").resources) == hashes(moved)
    story.step_5()
    assert coordinating(View(story.person, "07-10 14:31").resources) != coordinating(moved)


def test_progress_of_tasks_does_not_rewrite_the_plans():
    before = hashes(r for r in care(5) if r["resourceType"] == "CarePlan")
    after = hashes(r for r in care(8) if r["resourceType"] == "CarePlan")
    assert before == after


def hashes(resources):
    return {r["id"]: content_hash(r) for r in resources}


def coordinating(resources):
    return next(
        content_hash(r) for r in resources if r["resourceType"] == "CarePlan" and "partOf" not in r
    )


def test_arrival_is_no_part_of_the_canonical_state():
    first, second = Story().to(5), Story().to(5)
    second.visit.noticed["discharge"] += 3_600_000_000
    states = [canonical_state(View(s.person, "07-10 16:00").resources) for s in (first, second)]
    assert states[0] == states[1]


# Invariants


def broken(change):
    resources = copy.deepcopy(care(10))
    change(resources)
    return {issue.code for issue in check(resources)}


def tasks(resources):
    return [r for r in resources if r["resourceType"] == "Task" and r["status"] == "on-hold"]


def test_a_second_open_task_for_a_need_breaks_i_1():
    def double(resources):
        extra = copy.deepcopy(tasks(resources)[0])
        extra["id"] = "other"
        resources.append(extra)

    assert broken(double) == {"I-1", "I-7"}


def test_a_second_active_coordinating_plan_breaks_i_2():
    def double(resources):
        plan = next(r for r in resources if r["resourceType"] == "CarePlan" and "partOf" not in r)
        resources.append({**plan, "id": "other"})

    assert broken(double) == {"I-2"}


@pytest.mark.parametrize("element", ["owner", "restriction", "instantiatesCanonical"])
def test_an_open_task_without_owner_due_or_evidence_rule_breaks_i_6(element):
    assert broken(lambda resources: tasks(resources)[0].pop(element)) == {"I-6"}


def test_a_task_outside_the_plans_or_an_activity_without_task_breaks_i_7():
    def drop(resources):
        resources.remove(tasks(resources)[0])

    def lose(resources):
        for plan in resources:
            plan.pop("activity", None)

    assert broken(drop) == {"I-7"}
    assert broken(lose) == {"I-7"}


def test_an_ended_plan_with_open_tasks_breaks_i_8():
    def end(resources):
        for plan in resources:
            if plan["resourceType"] == "CarePlan" and "partOf" in plan:
                plan["status"] = "completed"

    assert broken(end) == {"I-8"}


# Consent


@pytest.mark.parametrize("code", ["42CFRPart2", "ETH", "SUD", "PSY", "HIV", "SDV", "R", "V"])
def test_each_protecting_label_holds_back(code):
    assert consent.withheld({"meta": {"security": [{"code": code}]}})


def test_ordinary_labels_do_not_hold_back():
    assert not consent.withheld({"meta": {"security": [{"code": "N"}]}})
    assert not consent.withheld({"resourceType": "Task"})
