"""From facts in any order to the same care: the fold and the coordination together."""

from itertools import permutations
from typing import Any

import pytest

from segue.care.assemble import resources
from segue.care.fold import fold_visit
from segue.care.person import fold_person
from segue.care.person_view import person_view
from segue.care.view import Person
from segue.fhir.canonical import canonical_state
from segue.model.facts import Fact
from tests.support.facts import again, condition, fact, t
from tests.unit.care.scenes import SETTING, View, due, key, primed, us


def facts_of_s11() -> list[Fact]:
    conditions = [condition("I50.23"), condition("E11.9")]
    return [
        fact("A04", t("07-05 08:12"), patient_class="E", at="ED", admitted=t("07-05 08:12")),
        fact(
            "A06",
            t("07-05 13:40"),
            t("07-05 13:42"),
            patient_class="I",
            at="4W",
            admitted=t("07-05 13:40"),
            control="2",
            details={"admission_type": "E"},
        ),
        fact("A02", t("07-06 09:05"), patient_class="I", at="CCU", control="3"),
        fact(
            "A03",
            t("07-10 14:05"),
            patient_class="I",
            at="CCU",
            admitted=t("07-05 13:40"),
            discharged=t("07-10 14:05"),
            disposition="01",
            control="4",
            details={"admission_type": "E"},
            others=tuple(conditions),
        ),
        fact("A08", t("07-06 09:00"), patient_class="I", at="4W", control="5"),
    ]


def seen(facts: list[Fact]) -> Person:
    visit = fold_visit(facts)
    state = fold_person(facts, SETTING.rank, [visit])
    return person_view(state, {visit.key: visit}, SETTING)


def view(facts: list[Fact], now: str) -> Any:
    history = primed()
    person = seen(facts)
    person.practice = "pcpb"
    person.visits += history.visits
    person.evidence = history.evidence
    return View(person, now)


def test_all_120_orders_of_a_stay_each_twice_give_one_canonical_state() -> None:
    told = facts_of_s11()
    found = set()
    for order in permutations(told):
        for run in (list(order), [one for each in order for one in (each, each)]):
            found.add(canonical_state(view(run, "07-10 15:30").resources))
    assert len(found) == 1


def test_the_folded_stay_has_the_eleven_discharge_tasks_and_its_score() -> None:
    made = view(facts_of_s11(), "07-10 15:30")
    dues = {key(task).split("|")[-2]: due(task) for task in made.tasks}
    assert len(dues) == 12
    assert (dues["contact"], dues["visit"], dues["notify-admit"]) == ("07-14", "07-17", "07-07")
    points = made.of("Observation")[0]["valueRange"]
    assert (points["low"]["value"], points["high"]["value"]) == (12, 12)


def test_a_cancelled_and_repeated_discharge_is_of_the_second_generation() -> None:
    first = facts_of_s11()[:4]
    cancel = fact(
        "A13", t("07-10 17:38"), patient_class="I", at="CCU", control="0", targets=t("07-10 14:05")
    )
    made = view([*first, cancel], "07-10 17:40")
    assert [key(task) for task in made.tasks] == ["HOSPA|V1|notify-admit|1"]
    second = fact(
        "A03",
        t("07-13 11:20"),
        patient_class="I",
        at="CCU",
        discharged=t("07-13 11:20"),
        disposition="01",
        control="7",
    )
    resent = again(first[3], control="8", later=25)
    for told in (
        [*first, cancel, second],
        [second, cancel, *first],
        [*first, resent, cancel, second],
    ):
        made = view(told, "07-13 11:30")
        assert {
            key(task).rpartition("|")[2] for task in made.tasks if "|contact|" in key(task)
        } == {"2"}
        assert len(made.open()) == 11


@pytest.mark.parametrize("event", ["A11", "A23"])
def test_a_cancelled_admission_leaves_nothing(event: str) -> None:
    admitted = fact("A01", t("07-05 10:00"), patient_class="I", at="4W", admitted=t("07-05 10:00"))
    moved = fact("A02", t("07-05 12:00"), patient_class="I", at="CCU", control="2")
    cancel = fact(event, t("07-05 13:00"), control="3", targets=t("07-05 10:00"))
    assert view([admitted, moved, cancel], "07-05 14:00").resources == []
    assert us("07-05 14:00") > 0


def test_protocols_see_what_a_cancelled_discharge_said_and_from_when_to_when_it_held() -> None:
    told = facts_of_s11()[:4]
    resent = again(told[3], control="8", later=25)
    undo = fact("A13", t("07-10 17:38"), patient_class="I", control="9", targets=t("07-10 14:05"))
    for order in permutations([*told, resent, undo]):
        (visit,) = seen(list(order)).visits
        (struck,) = visit.struck
        assert visit.voided == [struck.recorded] == [us("07-10 14:05")]
        assert (struck.end.us, struck.disposition) == (us("07-10 14:05"), "01")
        assert struck.cancelled == us("07-10 17:38")


def test_plans_address_the_conditions_that_the_diagnoses_are_made_of() -> None:
    made = view(facts_of_s11(), "07-10 15:30")
    (visit,) = seen(facts_of_s11()).visits
    assert len(visit.conditions) == len(visit.diagnoses) == 2
    told = {one["reference"] for plan in made.of("CarePlan") for one in plan["addresses"]}
    assert set(visit.conditions) <= told
    assert made.of("Condition") == []


def test_death_is_recorded_when_it_was_first_said() -> None:
    told = facts_of_s11()
    said = fact("A08", t("07-11 09:00"), control="6", details={"deceased": "Y"})
    repeated = fact("A08", t("07-12 09:00"), control="7", details={"deceased": "Y"})
    for order in ([*told, said, repeated], [repeated, *told, said]):
        assert seen(order).deceased_recorded == us("07-11 09:00")
    expired = fact(
        "A03", t("07-10 14:05"), control="4", patient_class="I", disposition="20",
        discharged=t("07-10 14:00"),
    )  # fmt: skip
    person = seen([*told[:3], expired])
    assert (person.deceased.us, person.deceased_recorded) == (us("07-10 14:00"), us("07-10 14:05"))


def test_an_encounter_names_the_episode_of_its_stay() -> None:
    told = facts_of_s11()
    visits = [fold_visit(told)]
    person = fold_person(told, SETTING.rank, visits)
    made = resources(person, {one.key: one for one in visits}, SETTING)
    (encounter,) = [one for one in made if one["resourceType"] == "Encounter"]
    (episode,) = view(told, "07-10 15:30").of("EpisodeOfCare")
    assert encounter["episodeOfCare"] == [{"reference": f"EpisodeOfCare/{episode['id']}"}]
    visits = [fold_visit(told[:1])]
    made = resources(fold_person(told[:1], (), visits), {"HOSPA|V1": visits[0]}, SETTING)
    assert not any("episodeOfCare" in one for one in made)
