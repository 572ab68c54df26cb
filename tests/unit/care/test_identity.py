"""Who is who, and which Patient stands for the person."""

from itertools import permutations
from random import Random
from typing import Any

import msgspec

from segue.care.assemble import person_resources
from segue.care.fold import fold_visit
from segue.care.identity import joined_by, persons, survivors
from segue.care.person import (
    deceased,
    extend_person,
    fold_person,
    note_visit,
    practice,
)
from segue.care.states import PersonState
from segue.model.facts import Fact
from segue.model.identity import stable_id
from tests.support.facts import fact, minutes, t
from tests.support.laws import law

A, B, C = "HOSPA|100234", "HOSPA|100999", "HOSPB|555"
PI = "HIE|900017"


def said(identity: str, at: str, event: str = "A31", **more: Any) -> Fact:
    site = {"HOSPA": "hospa", "HOSPB": "hospb"}[identity.partition("|")[0]]
    return fact(event, t(at), identity=identity, site=site, visit=None, **more)


def merge(gone: str, kept: str, at: str, event: str = "A40", **more: Any) -> Fact:
    return said(kept, at, event, prior=gone, **more)


def patients(facts: list[Fact]) -> dict[str, dict[str, Any]]:
    return {
        resource["id"]: resource
        for resource in person_resources(fold_person(facts))
        if resource["resourceType"] == "Patient"
    }


class TestMerges:
    def test_the_one_that_goes_is_inactive_and_points_to_the_survivor(self) -> None:
        facts = [said(A, "07-01 08:00"), said(B, "06-01 08:00"), merge(B, A, "07-02 08:00")]
        made = patients(facts)
        gone, kept = made[stable_id("Patient", B)], made[stable_id("Patient", A)]
        assert gone["active"] is False
        assert gone["link"] == [
            {"other": {"reference": f"Patient/{kept['id']}"}, "type": "replaced-by"}
        ]
        assert kept["active"] is True
        assert kept["link"] == [
            {"other": {"reference": f"Patient/{gone['id']}"}, "type": "replaces"}
        ]
        assert [(i["value"], i.get("use")) for i in kept["identifier"]] == [
            ("100234", None),
            ("100999", "old"),
        ]
        assert gone["identifier"] == [{"system": "urn:HOSPA", "value": "100999"}]

    def test_a_chain_leads_to_its_end_in_every_order(self) -> None:
        facts = [
            merge(A, B, "07-01 08:00"),
            merge(B, "HOSPA|3", "07-02 08:00"),
            said(A, "07-03 08:00"),
        ]
        for order in permutations(facts):
            person = fold_person(order)
            assert person.key == "HOSPA|3"
            assert person.replaced == {A: "HOSPA|3", B: "HOSPA|3"}

    def test_a_merge_the_other_way_round_holds_when_it_is_recorded_later(self) -> None:
        there, back = merge(A, B, "07-01 08:00"), merge(B, A, "07-02 08:00")
        assert fold_person([back, there]).key == A
        assert fold_person([there]).key == B

    def test_somebody_merged_before_he_was_heard_of_is_known_later(self) -> None:
        person = fold_person([merge(B, A, "07-02 08:00")])
        assert B in person.identities
        assert joined_by(said(B, "07-03 08:00")) == [B]
        made = patients([merge(B, A, "07-02 08:00")])
        assert made[stable_id("Patient", B)]["identifier"] == [
            {"system": "urn:segue:authority:HOSPA", "value": "100999"}
        ]

    def test_a_changed_number_keeps_its_patient(self) -> None:
        facts = [said(A, "07-01 08:00"), merge(A, B, "07-02 08:00", "A47")]
        made = patients(facts)
        assert list(made) == [stable_id("Patient", A)]
        assert "link" not in made[stable_id("Patient", A)]
        uses = {i["value"]: i.get("use") for i in made[stable_id("Patient", A)]["identifier"]}
        assert uses == {"100999": None, "100234": "old"}

    def test_a_merge_is_folded_anew_and_says_whom_it_joins(self) -> None:
        one = merge(B, A, "07-02 08:00")
        assert joined_by(one) == [A, B]
        assert extend_person(fold_person([said(A, "07-01 08:00")]), one) is None


@law
def test_of_any_merges_one_survives_in_every_order(seed: int) -> None:
    chance = Random(seed)
    names = [f"HOSPA|{n}" for n in range(chance.randrange(2, 7))]
    facts = [
        fact(
            "A40",
            minutes(chance.randrange(20)),
            identity=kept,
            prior=gone,
            visit=None,
            control=str(n),
        )
        for n in range(chance.randrange(1, 9))
        for gone, kept in [chance.sample(names, 2)]
    ]
    person = fold_person(facts)
    shuffled = chance.sample(facts, len(facts))
    assert msgspec.msgpack.encode(fold_person(shuffled)) == msgspec.msgpack.encode(person)
    active = [r for r in person_resources(person) if r["active"]]
    assert [r["id"] for r in active] == [person.patient]
    assert set(person.replaced) == set(person.patients) - {person.key}


class TestLinks:
    def test_a_shared_identifier_makes_one_person(self) -> None:
        facts = [said(A, "07-01 08:00", links=(PI,)), said(C, "07-02 08:00", links=(PI,))]
        person = fold_person(facts)
        assert persons(person) == [[PI, A, C]]
        assert person.key == A
        assert fold_person(facts, rank=("HOSPB", "HOSPA")).key == C
        assert list(person.patients) == [A, C]

    def test_an_unlink_parts_what_a_link_joined_and_nothing_else(self) -> None:
        link = merge(B, A, "07-02 08:00", "A24")
        unlink = merge(B, A, "07-03 08:00", "A37")
        facts = [said(A, "07-01 08:00"), said(B, "07-01 09:00")]
        assert persons(fold_person([*facts, link])) == [[A, B]]
        assert persons(fold_person([*facts, link, unlink])) == [[A], [B]]
        joined = merge(B, A, "07-02 10:00")
        assert persons(fold_person([*facts, joined, unlink])) == [[A, B]]

    def test_the_survivor_without_a_merge_is_the_first_heard_of(self) -> None:
        person = fold_person(
            [said(C, "07-01 08:00", links=(PI,)), said(A, "07-02 08:00", links=(PI,))]
        )
        assert survivors(person.patients, person.edges)[0] == C


class TestDemographics:
    def test_an_old_address_that_is_only_repeated_does_not_undo_a_new_one(self) -> None:
        old, new = {"address#h": [{"city": "Albany"}]}, {"address#h": [{"city": "Troy"}]}
        facts = [
            said(A, "07-01 08:00", patient=old, links=(PI,)),
            said(C, "07-02 08:00", patient=new, links=(PI,)),
            said(A, "07-03 08:00", patient=old, control="2"),
        ]
        made = patients(facts)[stable_id("Patient", A)]
        assert made["address"] == [{"city": "Troy"}]
        facts.append(said(A, "07-04 08:00", patient={"address#h": [{"city": "Utica"}]}))
        assert patients(facts)[stable_id("Patient", A)]["address"] == [{"city": "Utica"}]

    def test_identifiers_of_all_sources_are_kept(self) -> None:
        facts = [said(A, "07-01 08:00", links=(PI,)), said(C, "07-02 08:00", links=(PI,))]
        made = patients(facts)[stable_id("Patient", A)]
        assert [i["value"] for i in made["identifier"]] == ["100234", "555"]

    def test_the_practice_that_was_named_last_holds(self) -> None:
        facts = [
            said(A, "07-01 08:00", details={"practice": "PCPB"}),
            said(A, "07-02 08:00", details={"practice": "PCPX"}, control="2"),
            said(A, "07-03 08:00", control="3"),
        ]
        assert practice(fold_person(facts)) == [("hospa", "PCPX")]

    def test_what_was_learned_in_a_labelled_stay_does_not_show(self) -> None:
        home = said(A, "07-01 08:00", patient={"address#h": [{"city": "Albany"}]})
        hidden = said(
            A,
            "07-02 08:00",
            patient={"address#h": [{"city": "Troy"}]},
            labels=("42CFRPart2",),
            control="2",
        )
        assert person_resources(fold_person([home, hidden])) == person_resources(
            fold_person([home])
        )
        only = person_resources(fold_person([hidden]))[0]
        assert [label["code"] for label in only["meta"]["security"]] == ["42CFRPart2"]


class TestDeath:
    def test_another_source_does_not_take_it_back(self) -> None:
        facts = [
            said(A, "07-01 08:00", details={"deceased": "Y"}, links=(PI,)),
            said(C, "07-02 08:00", details={"deceased": "N"}, links=(PI,)),
        ]
        assert patients(facts)[stable_id("Patient", A)]["deceasedBoolean"] is True
        facts.append(said(A, "07-03 08:00", details={"deceased": ""}, control="2"))
        assert deceased(fold_person(facts)) is None

    def test_it_has_the_time_that_was_sent(self) -> None:
        at = "2026-07-01T03:12:00-04:00"
        facts = [
            said(A, "07-01 08:00", patient={"deceasedDateTime": at}, details={"deceased": "Y"}),
            said(A, "07-02 08:00", details={"deceased": "Y"}, control="2"),
        ]
        made = patients(facts)[stable_id("Patient", A)]
        assert made["deceasedDateTime"] == at
        assert "deceasedBoolean" not in made

    def test_a_discharge_as_dead_says_so_until_it_is_cancelled(self) -> None:
        admit = fact("A01", t("07-01 08:00"), patient_class="I")
        died = fact(
            "A03",
            t("07-02 03:12"),
            discharged=t("07-02 03:12"),
            disposition="20",
            details={"deceased": "Y"},
            control="2",
        )
        undo = fact(
            "A13",
            t("07-02 03:12"),
            t("07-02 04:05"),
            targets=t("07-02 03:12"),
            details={"deceased": "Y"},
            control="3",
        )

        def person(facts: list[Fact]) -> PersonState:
            return note_visit(fold_person(facts), fold_visit(facts))

        assert deceased(person([admit, died])) is not None
        assert deceased(person([admit, died, undo])) is None
        died.details.pop("deceased")
        assert deceased(person([admit, died])) == t("07-02 03:12")


def test_a_clients_own_patient_keeps_its_id_and_its_content() -> None:
    body = {
        "identifier": [{"value": "9"}, {"system": "urn:HOSPA", "value": "100234"}],
        "name": [{"family": "Doe"}],
        "deceasedBoolean": False,
    }
    stated = said(A, "07-01 08:00")
    stated.event = "statement"
    stated.person[0].id = "own"
    stated.person[0].elements = body
    assert person_resources(fold_person([stated])) == [
        {"resourceType": "Patient", "id": "own", **body}
    ]
    later = fold_person([stated, said(A, "07-02 08:00")])
    assert later.patient == "own"
