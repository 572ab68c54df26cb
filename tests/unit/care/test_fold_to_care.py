"""From facts in any order to the same care: the fold and the coordination together."""

from itertools import permutations
from typing import Any

import pytest

from segue.care.fold import fold_visit
from segue.care.person import fold_person
from segue.care.person_view import person_view
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


def view(facts: list[Fact], now: str) -> Any:
    history = primed()
    visit = fold_visit(facts)
    state = fold_person(facts, SETTING.rank, [visit])
    person = person_view(state, {visit.key: visit}, SETTING)
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
