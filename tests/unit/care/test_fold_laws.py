"""Laws of the fold: only the set of facts counts, and steps give what the whole gives."""

from dataclasses import replace
from itertools import permutations
from random import Random
from typing import Any

import msgspec

from segue.care.assemble import person_resources, visit_resources
from segue.care.fold import AWAITS_START, extend_visit, fold_visit
from segue.care.person import extend_person, fold_person, note_visit
from segue.care.states import PersonState, VisitState
from segue.fhir.canonical import canonical_state
from segue.model.events import HAPPENINGS, STARTING
from segue.model.facts import Fact
from tests.support.facts import CANCELS, fact, history, minutes, moment
from tests.support.laws import law

encode = msgspec.msgpack.encode


def in_arrival(facts: list[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda f: f.received)


def step_visit(state: VisitState | None, seen: list[Fact]) -> tuple[VisitState, bool]:
    extended = extend_visit(state, seen[-1]) if state is not None and state.status else None
    return (fold_visit(seen), False) if extended is None else (extended, True)


def patient(facts: list[Fact]) -> list[Fact]:
    """The same, of a site whose updates wait until their visit has started."""
    return [
        replace(f, details={**f.details, "awaits_start": True})
        if f.event in HAPPENINGS and HAPPENINGS[f.event].effect not in STARTING
        else f
        for f in facts
    ]


def shown(facts: list[Fact]) -> bytes:
    """The canonical resources of a person with one visit."""
    visit = fold_visit(facts)
    person = note_visit(fold_person(facts), visit)
    return canonical_state([*person_resources(person), *visit_resources(person, visit)])


@law
def test_every_order_with_duplicates_gives_the_same_state(seed: int) -> None:
    chance = Random(seed)
    facts = history(seed, 8 + seed % 7)
    if seed % 4 == 0:
        facts = patient(facts)
    whole = encode(fold_visit(facts))
    doubled = [*facts, *(replace(f, received=f.received + 60_000_000) for f in facts)]
    for _ in range(8):
        chance.shuffle(doubled)
        assert encode(fold_visit(doubled)) == whole
    assert shown(doubled) == shown(facts)


@law
def test_adding_one_fact_gives_what_folding_all_gives(seed: int) -> None:
    facts = history(seed, 8 + seed % 7)
    if seed % 4 == 1:
        facts = patient(facts)
    state: VisitState | None = None
    seen: list[Fact] = []
    for one in in_arrival(facts) if seed % 2 else facts:
        seen.append(one)
        before = encode(state) if state is not None and seed % 5 == 0 else None
        new, extended = step_visit(state, seen)
        if extended:
            assert encode(new) == encode(fold_visit(seen))
            if before is not None:
                assert encode(state) == before, "the state that is extended must not change"
        state = new


def test_all_120_orders_of_a_small_stay_give_one_state() -> None:
    stay = [
        fact("A04", minutes(0), patient_class="E", at="ED^1", control="1"),
        fact("A06", minutes(300), patient_class="I", at="4W^2", control="2"),
        fact("A02", minutes(900), patient_class="I", at="CCU^3", control="3"),
        fact("A03", minutes(5000), patient_class="I", at="CCU^3", control="4", disposition="01",
             discharged=minutes(5000)),
        fact("A08", minutes(890), patient_class="I", at="4W^2", control="5", sent=minutes(6000)),
    ]  # fmt: skip
    assert len({shown(list(order)) for order in permutations(stay)}) == 1


def test_all_orders_of_a_cancelled_discharge_give_one_state() -> None:
    stay = [
        fact("A01", minutes(0), patient_class="I", at="4W^2", control="1"),
        fact("A03", minutes(400), patient_class="I", at="4W^2", control="999", disposition="01",
             discharged=minutes(400)),
        fact("A03", minutes(400), minutes(430), patient_class="I", control="1000",
             disposition="01", discharged=minutes(400)),
        fact("A13", minutes(618), targets=minutes(400), at="4W^2", control="998",
             disposition="01", discharged=minutes(400)),
        fact("A03", minutes(6000), patient_class="I", control="1002", disposition="01",
             discharged=minutes(6000)),
    ]  # fmt: skip
    assert len({shown(list(order)) for order in permutations(stay)}) == 1


@law
def test_adding_one_fact_to_a_person_gives_what_folding_all_gives(seed: int) -> None:
    facts = history(seed, 8 + seed % 7)
    state: PersonState | None = None
    seen: list[Fact] = []
    for one in in_arrival(facts) if seed % 2 else facts:
        seen.append(one)
        before = encode(state)
        extended = extend_person(state, one) if state is not None else None
        assert encode(state) == before, "the state that is extended must not change"
        whole = fold_person(seen)
        if extended is not None:
            assert encode(extended) == encode(whole)
        state = whole


@law
def test_a_person_is_the_same_in_every_order(seed: int) -> None:
    facts = history(seed, 8 + seed % 7)
    whole = encode(fold_person(facts))
    doubled, chance = [*facts, *facts], Random(seed)
    for _ in range(2):
        chance.shuffle(doubled)
        assert encode(fold_person(doubled)) == whole


def _announced(event: str) -> dict[str, Any]:
    """PV1-42 of an A15, PV2-9 of an A16."""
    url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.plannedEndDate"
    if event == "A16":
        return {"extension#planned-end": [{"url": url, "valueDateTime": "2026-07-09"}]}
    return {"location#pending": [{"location": {"display": "5E"}}]} if event == "A15" else {}


def tidy_history(chance: Random) -> tuple[list[Fact], list[Fact]]:
    """A history in order, and the same with one event and its restating cancel put in."""
    now, place, facts = 0, "ED^1", []
    leaves = False
    facts.append(fact("A04", minutes(0), patient_class="E", at=place, attending="ann", control="0"))
    slots: list[tuple[int, str, str, bool]] = [(0, place, "E", leaves)]
    patient_class = "E"
    for n in range(chance.randint(8, 12)):
        now += 100
        event = chance.choice(("A02", "A08", "A06", "A02", "A21", "A22", "A08"))
        if event == "A06":
            patient_class = "I"
        if event == "A02":
            place = chance.choice(("4W^2", "CCU^3", "5E^4"))
        if event in ("A21", "A22"):
            leaves = event == "A21"
        facts.append(
            fact(
                event,
                minutes(now),
                patient_class=patient_class,
                at=place,
                attending="ann",
                control=str(n + 1),
            )
        )
        slots.append((now, place, patient_class, leaves))
    at, place, patient_class, leaves = chance.choice(slots)
    wrong = chance.choice(("A02", "A03", "A21", "A01", "A54", "A15", "A16", "A10"))
    if wrong == "A21" and leaves:
        wrong = "A02"
    restated = {"patient_class": patient_class, "attending": "ann"}
    erroneous = fact(
        wrong,
        minutes(at + 10),
        control="900",
        patient_class="I" if wrong == "A01" else patient_class,
        at="OR^9" if wrong in ("A02", "A01", "A10") else place,
        attending="cy" if wrong == "A54" else "ann",
        discharged=minutes(at + 10) if wrong == "A03" else None,
        disposition="01" if wrong == "A03" else None,
        encounter=_announced(wrong),
    )
    echo = chance.random() < 0.5
    named = chance.random() < 0.5 or wrong == "A01"
    cancel = fact(
        CANCELS[wrong],
        minutes(at + 10 if named else at + 40),
        minutes(at + 40),
        control="100",
        targets=minutes(at + 10) if named else None,
        at=place,
        # Sites fill PV1-36 and PV1-45 of the cancel as before.
        discharged=minutes(at + 10) if wrong == "A03" and chance.random() < 0.5 else None,
        disposition="01" if wrong == "A03" and chance.random() < 0.5 else None,
        **restated,
    )
    pair = [erroneous, cancel]
    if echo:
        # An update in between repeats what is wrong then.
        wrong_snapshot = {
            "patient_class": "I" if wrong == "A01" else patient_class,
            "at": "OR^9" if wrong in ("A02", "A01", "A10") else place,
            "attending": "cy" if wrong == "A54" else "ann",
        }
        pair.append(fact("A08", minutes(at + 20), control="901", **wrong_snapshot))
    return facts, [*facts, *pair]


@law
def test_an_event_and_its_cancel_leave_nothing_but_history(seed: int) -> None:
    def left(facts: list[Fact]) -> list[dict[str, object]]:
        made = visit_resources(fold_person(facts), fold_visit(facts))
        for resource in made:
            resource.pop("statusHistory", None)
        return made

    without, with_pair = tidy_history(Random(seed))
    assert left(with_pair) == left(without)
    state = fold_visit(with_pair)
    assert state.struck
    assert not [w for w in state.warnings if w[0] == "cancel-without-target"]


def test_a_moment_of_the_support_is_what_it_says() -> None:
    assert moment(minutes(3).us) == minutes(3)


def test_updates_that_wait_make_no_visit_and_count_in_full_once_it_has_started() -> None:
    stay = [
        fact("A01", minutes(0), patient_class="I", at="4W^2", control="1"),
        fact("A02", minutes(300), patient_class="I", at="CCU^3", control="2"),
        fact("A03", minutes(400), patient_class="I", control="3", disposition="01",
             discharged=minutes(400)),
        fact("A13", minutes(500), targets=minutes(400), control="4", patient_class="I"),
    ]  # fmt: skip
    waiting = patient(stay[1:])
    state = fold_visit(waiting)
    assert not state.status
    assert state.warnings == sorted((AWAITS_START, one.id) for one in waiting)
    assert not visit_resources(fold_person(waiting), state)
    assert encode(fold_visit([*waiting, stay[0]])) == encode(fold_visit(stay))


def test_an_update_after_a_cancelled_admission_waits_and_the_visit_stays_cancelled() -> None:
    stay = [
        fact("A01", minutes(0), patient_class="I", at="4W^2", control="1"),
        fact("A11", minutes(60), targets=minutes(0), control="2", patient_class="I"),
        fact("A08", minutes(90), control="3", patient_class="I"),
    ]
    state = fold_visit(patient(stay))
    assert state.status == "cancelled"
    assert state.warnings == [(AWAITS_START, stay[2].id)]
    assert fold_visit(stay).status == "in-progress"


def test_a_visit_that_a_document_names_is_no_reason_to_wait_less() -> None:
    stay = [
        fact("T02", minutes(10), control="1"),
        fact("A08", minutes(90), control="3", patient_class="I"),
    ]
    state = fold_visit(patient(stay))
    assert (state.status, state.inferred) == ("unknown", True)
    assert state.warnings == [(AWAITS_START, stay[1].id)]
