import itertools
from typing import get_args

import pytest

from segue.hl7v2.events import identify, structure_of, version_number
from segue.hl7v2.normalise import WARNINGS
from segue.hl7v2.parse import parse
from segue.model.events import EVENTS, Effect


def test_all_adt_events_are_there():
    expected = {f"A{n:02d}" for n in range(1, 63)} - {"A19", "A56", "A57", "A58", "A59"}
    assert set(EVENTS) == expected
    assert len(EVENTS) == 57


def test_every_effect_is_one_of_the_vocabulary_and_each_is_used():
    used = {known.effect for known in EVENTS.values()}
    assert used == set(get_args(Effect))


def test_the_cancels_are_those_that_name_their_targets_time_in_evn_6():
    cancels = {code for code, known in EVENTS.items() if known.effect == "cancel"}
    assert " ".join(sorted(cancels)) == "A11 A12 A13 A25 A26 A27 A32 A33 A38 A52 A53 A55 A62"
    for code, known in EVENTS.items():
        assert bool(known.cancels) == (code in cancels), code
        assert all(EVENTS[target].effect != "cancel" for target in known.cancels)
        assert code not in cancels or (known.about_visit and known.rank == 6)


@pytest.mark.parametrize(
    ("cancel", "targets"),
    [
        ("A11", {"A01", "A04"}), ("A12", {"A02"}), ("A13", {"A03"}), ("A25", {"A16"}),
        ("A26", {"A15"}), ("A27", {"A14"}), ("A32", {"A10"}), ("A33", {"A09"}),
        ("A38", {"A05"}), ("A52", {"A21"}), ("A53", {"A22"}), ("A55", {"A54"}),
        ("A62", {"A61"}),
    ],
)  # fmt: skip
def test_a_cancel_cancels_its_own_kind(cancel: str, targets: set[str]):
    assert set(EVENTS[cancel].cancels) == targets


def test_a23_strikes_out_a_visit_whatever_it_holds():
    assert EVENTS["A23"].effect == "delete-visit"
    assert EVENTS["A23"].about_visit


def test_events_of_one_instant_are_ranked_by_the_course_of_a_visit():
    course = ["A05", "A01", "A06", "A02", "A08", "A03", "A13"]
    assert all(EVENTS[a].rank < EVENTS[b].rank for a, b in itertools.pairwise(course))
    assert EVENTS["A04"].rank == EVENTS["A01"].rank


@pytest.mark.parametrize("code", ["A28", "A31", "A60", "A24", "A37", "A40", "A20", "A29", "A43"])
def test_person_level_events_are_about_no_visit(code: str):
    assert not EVENTS[code].about_visit


@pytest.mark.parametrize(
    ("code", "declared", "version", "structure"),
    [
        ("A08", "", "2.5.1", "ADT_A01"),
        ("A08", "ADT_A08", "2.5.1", "ADT_A01"),
        ("A40", "", "", "ADT_A39"),
        ("A44", "", "2.5.1", "ADT_A43"),
        ("A44", "", "2.9.1", "ADT_A44"),
        ("A47", "", "2.3", "ADT_A30"),
        ("A47", "", "2.7", "ADT_A44"),
        ("A49", "", "2.6", "ADT_A30"),
        ("A49", "", "2.8", "ADT_A43"),
        ("A34", "", "2.8", "ADT_A30"),
        ("Z01", "ADT_Z01", "", "ADT_Z01"),
        ("Z01", "", "", "ADT_Z01"),
        ("", "", "", ""),
    ],
)
def test_the_structure_comes_from_the_table(code: str, declared: str, version: str, structure: str):
    assert structure_of(code, declared, version) == structure


@pytest.mark.parametrize(
    ("msh_9", "evn_1", "expected"),
    [
        ("ADT^A01^ADT_A01", "A01", ("ADT", "A01", "ADT_A01", ())),
        ("ADT^A01", "", ("ADT", "A01", "ADT_A01", ())),
        ("ADT", "A03", ("ADT", "A03", "ADT_A03", ("event-from-evn",))),
        ("adt^a01", "a01", ("ADT", "A01", "ADT_A01", ("event-lower-case",))),
        ("ADT_A01", "", ("ADT", "A01", "ADT_A01", ("event-joined",))),
        ("ADT^ADT_A04", "A04", ("ADT", "A04", "ADT_A01", ("event-joined",))),
        ("A04", "", ("ADT", "A04", "ADT_A01", ("event-joined",))),
        ("ADT^^ADT_A03", "", ("ADT", "A03", "ADT_A03", ("event-from-structure",))),
        ("ADT^A08", "A01", ("ADT", "A08", "ADT_A01", ("event-disagrees",))),
        ("", "A01", ("ADT", "A01", "ADT_A01", ("event-from-evn",))),
        ("", "", ("", "", "", ("event-missing",))),
        ("ADT^Z77", "", ("ADT", "Z77", "ADT_Z77", ("event-unknown",))),
        ("ORU^R01^ORU_R01", "", ("ORU", "R01", "ORU_R01", ())),
        ("SIU^S13", "", ("SIU", "S13", "SIU_S13", ())),
        ("ACK", "", ("ACK", "", "ACK", ())),
    ],
)
def test_the_event_is_understood_however_msh_9_is_spelt(
    msh_9: str, evn_1: str, expected: tuple[str, str, str, tuple[str, ...]]
):
    found = identify(msh_9, evn_1, "2.5.1")
    assert tuple(found) == expected
    assert set(found.codes) <= set(WARNINGS)


def test_a_repaired_event_is_an_issue_of_the_message():
    message = parse("MSH|^~\\&|||||||adt|1|P|2.3\rEVN|A11|2026\r")
    assert (message.event, message.structure) == ("A11", "ADT_A09")
    assert [i.code for i in message.issues] == ["event-lower-case", "event-from-evn"]


def test_versions_compare_as_numbers():
    assert version_number("2.10") > version_number("2.9.1") > version_number("2.5")
    assert version_number("") == version_number("two") == ()


def test_a_line_that_was_joined_to_evn_1_is_no_part_of_the_event():
    text = "MSH|^~\\&|ADT|HOSPA|||2026||ADT||P|2.5.1\rEVN|A18\rno segment\r"
    assert parse(text).event == "A18"
