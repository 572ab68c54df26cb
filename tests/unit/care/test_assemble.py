"""The resources of a person are valid, complete and say the same whatever the order."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from segue.care.assemble import person_resources, resources, visit_resources
from segue.care.fold import extend_visit, fold_visit
from segue.care.person import fold_person, note_visit, placements
from segue.care.person_view import person_view, visit_from_encounter
from segue.care.view import CareSetting, Evidence, SiteProfile
from segue.fhir.validate import Gate
from segue.model.facts import Fact, Fragment
from segue.model.instants import Moment
from tests.support.facts import condition, fact, histories, t
from tests.unit.care.picture import fold_all, misplaced

SETTING = CareSetting(
    {"hospa": SiteProfile("hospa", "Hospital A", "HOSPA", None, practices={"PCPB": "pcpb"})}
)


GATE = Gate(Path(__file__).resolve().parents[3] / "fhir_profiles" / "definitions")


def check(resource: dict[str, Any]) -> None:
    """Fails where the gate or fhir.resources does not take the resource."""
    assert GATE.issues(resource) == []
    kind = resource["resourceType"]
    module = importlib.import_module(f"fhir.resources.R4B.{kind.lower()}")
    getattr(module, kind).model_validate(resource)
    for key, value in resource.items():
        assert value not in (None, [], {}, ""), f"{kind}.{key} is empty"


@settings(max_examples=60)
@given(histories())
def test_all_resources_of_random_histories_load_as_r4(facts: list[Fact]) -> None:
    picture = fold_all(facts)
    for resource in resources(picture.person, picture.visits, SETTING):
        check(resource)
    person_view(picture.person, picture.visits, SETTING)


def test_references_to_patient_and_encounter_are_added() -> None:
    mine = (
        Fragment("Coverage", "c", "person", {"status": "active", "payor": [{"display": "P"}]}),
        Fragment("RelatedPerson", "r", "person", {"name#1": [{"family": "Doe"}]}),
        Fragment("Account", "a", "person", {"status": "active"}),
    )
    stay = (
        condition("I50.23"),
        Fragment("Observation", "o", "visit", {"status": "final", "code": {"text": "x"}}),
        Fragment(
            "DocumentReference",
            "d",
            "visit",
            {"status": "current", "content": [{"attachment": {"title": "x"}}]},
        ),
    )
    one = fact("A01", t("07-01 08:00"), patient_class="I", mine=mine, others=stay)
    picture = fold_all([one])
    made = {r["resourceType"]: r for r in resources(picture.person, picture.visits, SETTING)}
    for resource in made.values():
        check(resource)
    patient = {"reference": f"Patient/{picture.person.patient}"}
    encounter = {"reference": f"Encounter/{made['Encounter']['id']}"}
    assert made["Encounter"]["subject"] == patient
    assert made["Coverage"]["beneficiary"] == patient
    assert made["RelatedPerson"]["patient"] == patient
    assert made["Account"]["subject"] == [patient]
    assert made["Condition"]["subject"] == patient
    assert made["Condition"]["encounter"] == encounter
    assert made["Observation"]["encounter"] == encounter
    assert made["DocumentReference"]["context"]["encounter"] == [encounter]


def test_parts_of_an_element_come_together_and_lists_follow_their_labels() -> None:
    one = fact(
        "A01",
        t("07-01 08:00"),
        patient_class="I",
        encounter={
            "hospitalization.admitSource": {"text": "ED"},
            "hospitalization.dietPreference#2": [{"text": "b"}],
            "hospitalization.dietPreference#1": [{"text": "a"}, {"text": "b"}],
            "identifier#b": [{"value": "2"}],
            "identifier#visit": [{"value": "3"}, {"value": "1"}],
        },
    )
    made = visit_resources(fold_person([one]), fold_visit([one]))[0]
    assert made["hospitalization"] == {
        "admitSource": {"text": "ED"},
        "dietPreference": [{"text": "a"}, {"text": "b"}],
    }
    assert [i["value"] for i in made["identifier"]] == ["1", "2", "3"]


def test_labels_of_the_source_are_on_all_that_comes_of_a_visit() -> None:
    one = fact(
        "A01",
        t("07-01 08:00"),
        patient_class="I",
        labels=("42CFRPart2", "R"),
        others=(condition("F11.20"),),
    )
    picture = fold_all([one])
    for resource in visit_resources(picture.person, picture.visits["HOSPA|V1"]):
        assert [
            (s["system"].rpartition("/")[2], s["code"]) for s in resource["meta"]["security"]
        ] == [
            ("v3-ActCode", "42CFRPart2"),
            ("v3-Confidentiality", "R"),
        ]


def test_assembling_changes_no_state() -> None:
    one = fact("A01", t("07-01 08:00"), patient_class="I", encounter={"a": {"b": 1}, "a.c": 2})
    state, person = fold_visit([one]), fold_person([one])
    first = visit_resources(person, state)
    assert first[0]["a"] == {"b": 1, "c": 2}
    assert visit_resources(person, state) == first
    assert state.elements["a"] == {"b": 1}
    assert person_resources(person) == person_resources(person)


class TestVisitsWithoutANumber:
    admit = fact("A01", t("07-01 08:00"), patient_class="I", at="4W")
    loose = fact("A02", t("07-02 08:00"), visit=None, patient_class="I", at="CCU", control="2")

    def test_they_belong_to_the_only_visit_that_is_open_then(self) -> None:
        picture = fold_all([self.loose, self.admit])
        assert picture.unplaced == []
        track = picture.visits["HOSPA|V1"].tracks["location#assigned"]
        assert [run[0][0]["location"]["display"] for run in track] == ["4W", "CCU"]
        assert picture.visits["HOSPA|V1"].encounter == fold_visit([self.admit]).encounter

    @pytest.mark.parametrize(
        "others",
        [
            [],
            [fact("A01", t("07-03 08:00"), patient_class="I")],
            [
                fact("A01", t("07-01 08:00"), patient_class="I"),
                fact("A01", t("07-01 09:00"), patient_class="I", visit="HOSPA|V2", control="9"),
            ],
            [
                fact("A01", t("07-01 08:00"), patient_class="I"),
                fact("A03", t("07-01 20:00"), patient_class="I", control="9"),
            ],
            [fact("A05", t("07-01 08:00"), patient_class="P")],
            [fact("A01", t("07-01 08:00"), patient_class="I", visit="HOSPB|V1", site="hospb")],
        ],
        ids=["none", "later", "two", "closed", "planned", "elsewhere"],
    )
    def test_they_wait_where_that_is_not_sure(self, others: list[Fact]) -> None:
        assert fold_all([self.loose, *others]).unplaced == [self.loose.id]

    def test_a_later_message_settles_them(self) -> None:
        person = fold_person([self.loose])
        assert placements(person) == {self.loose.id: None}
        visit = fold_visit([self.admit])
        person = note_visit(fold_person([self.loose, self.admit]), visit)
        assert misplaced(person) == {"HOSPA|V1": [self.loose.id]}
        person = note_visit(person, fold_visit([self.admit, self.loose]))
        assert misplaced(person) == {}
        out = fact("A03", t("07-01 20:00"), patient_class="I", control="9")
        person = note_visit(person, fold_visit([self.admit, self.loose, out]))
        assert misplaced(person) == {"HOSPA|V1": []}

    def test_a_discharge_without_a_number_ends_the_visit_and_stays_in_it(self) -> None:
        out = fact("A03", t("07-03 08:00"), visit=None, control="3", disposition="01")
        after = fact("A08", t("07-03 09:00"), visit=None, control="4")
        picture = fold_all([after, out, self.admit])
        assert picture.visits["HOSPA|V1"].status == "finished"
        assert picture.unplaced == []

    def test_a_visit_with_such_facts_is_folded_anew(self) -> None:
        state = fold_visit([self.admit, self.loose])
        assert extend_visit(state, fact("A08", t("07-05 08:00"), control="7")) is None


class TestThePersonThatProtocolsSee:
    def test_a_clients_encounter_is_a_visit(self) -> None:
        body = {
            "resourceType": "Encounter",
            "id": "old",
            "status": "finished",
            "class": {"code": "IMP"},
            "period": {"start": "2025-11-03T10:00:00-05:00", "end": "2025-11-06T10:00:00-05:00"},
            "diagnosis": [
                {"condition": {"reference": "Condition/c"}},
                {"condition": {"display": "Heart failure"}},
            ],
            "hospitalization": {"dischargeDisposition": {"coding": [{"code": "home"}]}},
        }
        c = {"resourceType": "Condition", "id": "c", "code": {"coding": [{"code": "E11.9"}]}}
        person = fold_person([fact("A28", t("07-01 08:00"), details={"practice": "PCPB"})])
        person.evidence = [
            Evidence("Condition/c", 1, c, "pcpb", 6, history=True),
            Evidence("Encounter/old", 1, body, "pcpb", 7, history=True),
        ]
        seen = person_view(person, {}, SETTING)
        (visit,) = seen.visits
        assert (visit.key, visit.client, visit.history, visit.site) == (
            "Encounter/old",
            True,
            True,
            "pcpb",
        )
        assert [(c.code, c.start.text[:10]) for c in visit.classes] == [("IMP", "2025-11-03")]
        assert visit.discharged
        assert visit.disposition == "01"
        assert visit.diagnoses == [("", "E11.9", ""), ("", "", "Heart failure")]
        assert visit.noticed == {"admission": 7, "discharge": 7}
        assert (seen.practice, seen.practice_id) == ("pcpb", "PCPB")

    def test_the_class_history_of_a_clients_encounter(self) -> None:
        visit = visit_from_encounter(
            {
                "id": "e",
                "status": "in-progress",
                "class": {"code": "IMP"},
                "classHistory": [
                    {
                        "class": {"code": "EMER"},
                        "period": {"start": "2026-07-01T08:00:00Z", "end": "2026-07-01T12:00:00Z"},
                    }
                ],
                "period": {"start": "2026-07-01T08:00:00Z"},
            }
        )
        assert [(c.code, c.start.text[11:16]) for c in visit.classes] == [
            ("EMER", "08:00"),
            ("IMP", "12:00"),
        ]
        assert (visit.end, visit.discharged) == (None, False)

    def test_a_clients_patient_fills_what_no_feed_said(self) -> None:
        person = fold_person([fact("A28", t("07-01 08:00"))])
        body = {
            "resourceType": "Patient",
            "id": "p",
            "birthDate": "1955-02-14",
            "deceasedBoolean": True,
        }
        person.evidence = [Evidence("Patient/p", 1, body, "pcpb", 7)]
        seen = person_view(person, {}, SETTING)
        assert seen.birth_date == "1955-02-14"
        assert seen.deceased == Moment("", 0)


def test_labels_without_number_are_no_burden_and_no_fault() -> None:
    from segue.care import elements

    known = len(elements._steps)
    for number in range(12_000):
        made = elements.expand("Encounter", "e", {f"diagnosis#{number}": [{"rank": number}]})
        assert made["diagnosis"] == [{"rank": number}]
    assert len(elements._steps) <= known + 1
