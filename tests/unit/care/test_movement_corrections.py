"""Movements with an identity (IHE PAM ITI-31, ZBE): inserted, corrected, cancelled."""

from itertools import permutations
from random import Random
from typing import Any

import msgspec
import pytest

from segue.care.assemble import visit_resources
from segue.care.fold import extend_visit, fold_visit
from segue.care.person import fold_person, note_visit
from segue.care.states import VisitState
from segue.care.timeline import timeline
from segue.model.facts import Fact
from tests.support.facts import fact, minutes, t
from tests.support.laws import law
from tests.unit.care.test_fold_visits import encounter, places

encode = msgspec.msgpack.encode


def movement(event: str, number: str, occurred: str, recorded: str, **more: Any) -> Fact:
    """A message with ZBE-1 `number`; `action` is its ZBE-4."""
    action = more.pop("action", "INSERT")
    details = {"movement": f"HOSPA|{number}"} | ({"corrects": True} if action == "UPDATE" else {})
    details |= more.pop("details", {})
    return fact(event, t(occurred), t(recorded), details=details, **more)


ADMIT = movement("A01", "M1", "07-05 08:00", "07-05 08:05", patient_class="I", at="4W",
                 control="1")  # fmt: skip
WRONG = movement("A02", "M2", "07-06 09:00", "07-06 09:05", at="CCU", control="2")
LATER = movement("A02", "M3", "07-08 09:00", "07-08 09:05", at="5E", control="3")


def corrected(number: str = "M2", **more: Any) -> Fact:
    given = {"occurred": "07-06 07:30", "recorded": "07-07 10:00", "at": "ICU", "control": "9"}
    given |= more
    occurred, recorded = given.pop("occurred"), given.pop("recorded")
    event = given.pop("event", "A02")
    return movement(event, number, occurred, recorded, action="UPDATE", **given)


def cancelled(number: str = "M2", event: str = "A12", **more: Any) -> Fact:
    return movement(event, number, "07-07 12:00", "07-07 12:00", control="10",
                    targets=t(more.pop("targets", "07-06 09:00")), **more)  # fmt: skip


FOUR_W, FIVE_E = ("4W", "07-05 08:00", None), ("5E", "07-08 09:00", None)
STORIES = {
    "inserted": (
        [ADMIT, WRONG],
        [("4W", "07-05 08:00", "07-06 09:00"), ("CCU", "07-06 09:00", None)],
    ),
    "another place": (
        [ADMIT, WRONG, corrected(occurred="07-06 09:00")],
        [("4W", "07-05 08:00", "07-06 09:00"), ("ICU", "07-06 09:00", None)],
    ),
    "an earlier time": (
        [ADMIT, WRONG, corrected(at="CCU")],
        [("4W", "07-05 08:00", "07-06 07:30"), ("CCU", "07-06 07:30", None)],
    ),
    "a later time": (
        [ADMIT, WRONG, corrected(at="CCU", occurred="07-06 23:00")],
        [("4W", "07-05 08:00", "07-06 23:00"), ("CCU", "07-06 23:00", None)],
    ),
    "before another movement": (
        [ADMIT, WRONG, LATER, corrected()],
        [("4W", "07-05 08:00", "07-06 07:30"), ("ICU", "07-06 07:30", "07-08 09:00"), FIVE_E],
    ),
    "moved behind another movement": (
        [ADMIT, WRONG, LATER, corrected(occurred="07-09 06:00", recorded="07-09 07:00")],
        [("4W", "07-05 08:00", "07-08 09:00"), ("5E", "07-08 09:00", "07-09 06:00"),
         ("ICU", "07-09 06:00", None)],
    ),
    "twice": (
        [ADMIT, WRONG, corrected(), corrected(at="OR", recorded="07-07 11:00", control="11")],
        [("4W", "07-05 08:00", "07-06 07:30"), ("OR", "07-06 07:30", None)],
    ),
    "never inserted": (
        [ADMIT, corrected()],
        [("4W", "07-05 08:00", "07-06 07:30"), ("ICU", "07-06 07:30", None)],
    ),
    "an echo of what was wrong": (
        [ADMIT, WRONG, corrected(), fact("A08", t("07-06 15:00"), at="CCU", control="4")],
        [("4W", "07-05 08:00", "07-06 07:30"), ("ICU", "07-06 07:30", None)],
    ),
    "cancelled after the correction": ([ADMIT, WRONG, corrected(), cancelled()], [FOUR_W]),
    "cancelled by its identity, not its time": (
        [ADMIT, WRONG, LATER, cancelled(targets="07-08 09:00")],
        [("4W", "07-05 08:00", "07-08 09:00"), FIVE_E],
    ),
    "cancelled twice": (
        [ADMIT, WRONG, LATER, cancelled(), cancelled(at="4W")],
        [("4W", "07-05 08:00", "07-08 09:00"), FIVE_E],
    ),
    "a cancel of one that has not been heard of": (
        [ADMIT, WRONG, cancelled("M7")],
        [("4W", "07-05 08:00", "07-06 09:00"), ("CCU", "07-06 09:00", None)],
    ),
    "a cancel of one that has no identity": (
        [ADMIT, fact("A02", t("07-06 09:00"), at="CCU", control="2"), cancelled("M7")],
        [FOUR_W],
    ),
    "said again after its cancel": (
        [ADMIT, WRONG, cancelled(), corrected(recorded="07-07 13:00")],
        [("4W", "07-05 08:00", "07-06 07:30"), ("ICU", "07-06 07:30", None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "expected"), STORIES.values(), ids=STORIES.keys())
def test_a_movement_is_where_and_when_its_last_word_says_in_any_order(
    facts: list[Fact], expected: list[tuple[str, str, str | None]]
) -> None:
    states = [fold_visit(list(order)) for order in permutations(facts)]
    assert places(states[0]) == expected
    assert len({encode(state) for state in states}) == 1


def test_a_corrected_admission_moves_the_beginning() -> None:
    early = corrected("M1", event="A01", occurred="07-05 06:00", patient_class="I", at="4W")
    late = corrected("M1", event="A01", occurred="07-05 11:00", patient_class="I", at="4W")
    for update, start in ((early, "06:00"), (late, "11:00")):
        made = encounter([ADMIT, update])
        assert made["period"] == {"start": f"2026-07-05T{start}:00-04:00"}
        assert "statusHistory" not in made
        # Clocks run from when the admission was first heard of.
        assert fold_visit([ADMIT, update]).noticed["admission"] == ADMIT.received


def test_a_corrected_discharge_moves_the_end_and_is_no_cancelled_one() -> None:
    home = movement("A03", "M4", "07-09 10:00", "07-09 10:05", at="4W", control="5",
                    disposition="01")  # fmt: skip
    update = corrected("M4", event="A03", occurred="07-09 08:00", recorded="07-09 12:00", at="4W",
                       disposition="03")  # fmt: skip
    made = encounter([ADMIT, home, update])
    assert made["period"]["end"] == "2026-07-09T08:00:00-04:00"
    assert made["hospitalization"]["dischargeDisposition"]["text"] == "03"
    state = fold_visit([ADMIT, home, update])
    assert (state.undone, state.noticed["discharge"]) == ([], home.received)
    gone = cancelled("M4", "A13", targets="07-09 10:00")
    gone.recorded = gone.sent = t("07-09 13:00")
    assert fold_visit([ADMIT, home, update, gone]).status == "in-progress"


def test_a_change_of_class_is_cancelled_too() -> None:
    """No event of HL7 v2 cancels an A06; IHE PAM's Z99 does."""
    emergency = movement("A04", "M1", "07-05 08:00", "07-05 08:05", patient_class="E", control="1")
    inpatient = movement("A06", "M2", "07-05 10:00", "07-05 10:05", patient_class="I", control="2")
    assert encounter([emergency, inpatient])["class"]["code"] == "IMP"
    made = encounter([emergency, inpatient, cancelled(event="Z99", targets="07-05 10:00")])
    assert made["class"]["code"] == "EMER"
    assert "classHistory" not in made


def test_what_is_said_of_the_past_corrects_nothing_of_the_present() -> None:
    now = fact("A08", t("07-07 08:00"), encounter={"serviceType": {"text": "CAR"}}, control="4",
               details={"service": "CAR"})  # fmt: skip
    said = {"serviceType": {"text": "MED"}, "priority": {"text": "E"}}
    past = corrected(recorded="07-08 10:00", encounter=said, details={"historic": True,
                     "service": "MED"})  # fmt: skip
    made = encounter([ADMIT, WRONG, now, past])
    assert made["serviceType"] == {"text": "CAR"}
    assert made["priority"] == {"text": "E"}
    assert fold_visit([ADMIT, WRONG, now, past]).service == "CAR"


def test_the_history_shows_what_was_corrected_and_when() -> None:
    told = timeline([ADMIT, WRONG, corrected()], "HOSPA|V1").told
    assert [(one.event, one.undone and one.undone.text[5:16]) for one in told] == [
        ("A01", None), ("A02", "07-07T10:00"), ("A02", None),
    ]  # fmt: skip
    assert "place CCU → ICU" in told[-1].changed


def test_what_repeats_a_place_that_was_corrected_meanwhile_is_an_echo_of_it() -> None:
    told = [ADMIT, WRONG, corrected()]
    echo = fact("A08", t("07-06 23:00"), t("07-07 11:00"), at="CCU", control="11")
    assert extend_visit(fold_visit(told), echo) is None, "it must be folded with the others"
    assert places(fold_visit([*told, echo])) == places(fold_visit(told))


@law
def test_a_corrected_movement_leaves_what_a_right_one_would_have(seed: int) -> None:
    """Whatever else happened, and whatever repeated the wrong place meanwhile."""
    chance = Random(seed)
    now, facts = 0, [fact("A01", minutes(0), patient_class="I", at="4W", control="0")]
    for n in range(chance.randint(0, 5)):
        now += 100
        event = chance.choice(("A02", "A21", "A22", "A54", "A08"))
        at = chance.choice(("4W", "5E", "ICU")) if event == "A02" else None
        facts.append(fact(event, minutes(now), at=at, control=str(n + 1)))
    slot = chance.randint(0, now // 100) * 100
    before, after = (chance.randint(1, 98) for _ in range(2))
    said = {"movement": "HOSPA|M9"}
    wrong = fact("A02", minutes(slot + before), minutes(now + 200), at="OR", details=said,
                 control="90")  # fmt: skip
    right = fact("A02", minutes(slot + after), minutes(now + 400), at="CCU", control="91",
                 details=said | {"corrects": True})  # fmt: skip
    pair = [wrong, right]
    if chance.random() < 0.5:
        echo = chance.randint(max(before, after) + 1, 99)
        pair.append(fact("A08", minutes(slot + echo), at="OR", control="92"))

    def left(known: list[Fact]) -> list[dict[str, object]]:
        return visit_resources(fold_person(known), fold_visit(known))

    assert left([*facts, *pair]) == left([*facts, right])


def test_the_newest_inserted_movement_is_added_without_folding_all() -> None:
    state: VisitState | None = fold_visit([ADMIT, WRONG])
    assert state is not None
    added = extend_visit(state, LATER)
    assert added is not None
    assert encode(added) == encode(fold_visit([ADMIT, WRONG, LATER]))
    assert extend_visit(state, corrected(occurred="07-09 06:00", recorded="07-09 07:00")) is None
    assert note_visit(fold_person([ADMIT]), added)
