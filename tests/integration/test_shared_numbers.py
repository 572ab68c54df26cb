"""Numbers that two patients share without being one: accounts (PID-18) and visits (PV1-19)."""

from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from segue.pipeline.replay import replay
from segue.pipeline.steward import unmerge
from tests.stories.messages import adt
from tests.support.hub import Bench, hub
from tests.support.laws import stored_law

MOTHER, CHILD = "500001", "500002"
PEOPLE = {MOTHER: "DOE^JANE||19900214|F", CHILD: "DOE^BABY||20260705|M", "500003": "ROE^R||1960|M"}


def said(event: str, at: str, number: str, mrn: str, *, account: str = "", **more: Any) -> str:
    """A message of a patient; `account` is PID-18."""
    pid = PEOPLE[mrn] + "|" * 10 + f"{account}^^^HOSPA^AN" if account else PEOPLE[mrn]
    more = {"visit": f"W{mrn}", "place": "4W^1^1"} | more
    return adt(event, at, number, mrn=mrn, shared=False, pid=pid, **more)


def insured(plan: str) -> list[str]:
    return [f"IN1|1|{plan}|PAY{plan}|PAYER {plan}"]


def merge(gone: str, kept: str, at: str, number: str, event: str = "A40") -> str:
    text = adt(event, at, number, mrn=kept, visit="", shared=False, pid=PEOPLE[kept])
    return text + f"MRG|{gone}^^^HOSPA^MR\r"


def subjects(account: dict[str, Any]) -> set[str]:
    return {one["reference"] for one in account["subject"]}


def patients(bench: Bench, *, active: bool = True) -> set[str]:
    return {f"Patient/{one['id']}" for one in bench.resources("Patient") if one["active"] is active}


def in_turn(bench: Bench, messages: Iterable[str]) -> None:
    for one in messages:
        bench.work(one)


FAMILY = (
    said("A01", "2026-07-05 08:00", "1", MOTHER, account="AC1", extra=insured("A")),
    said("A01", "2026-07-05 09:00", "2", CHILD, account="AC1", extra=insured("B")),
    said("A08", "2026-07-05 10:00", "3", MOTHER, account="AC1", extra=insured("A")),
    said("A03", "2026-07-07 10:00", "4", CHILD, account="AC1", disposition="01"),
)


def test_an_account_of_two_patients_has_both_as_subjects(where: str | Path) -> None:
    with hub(where) as bench:
        bench.work(FAMILY[0])
        (account,) = bench.resources("Account")
        assert subjects(account) == patients(bench)
        in_turn(bench, FAMILY[1:])
        (account,) = bench.resources("Account")
        assert subjects(account) == patients(bench)
        assert len(account["subject"]) == 2
        assert len(account["coverage"]) == 2, "what each of them says of it adds up"
        state, versions = bench.state(), bench.versions()
        assert replay(bench.hub, range(1, 5)).as_json() == {
            "entries": 4, "changed": 0, "failed": 0, "failures": [], "diffs": [],
        }  # fmt: skip
        assert (bench.state(), bench.versions()) == (state, versions)


def test_in_every_order_and_batch_two_patients_of_an_account_are_the_same(tmp_path: Path) -> None:
    states = set()
    for n, order in enumerate(permutations(FAMILY[:3])):
        with hub(tmp_path / f"{n}") as bench, hub(tmp_path / f"{n} at once") as batch:
            in_turn(bench, order)
            batch.work(*order)
            states |= {bench.state(), batch.state()}
    assert len(states) == 1


def test_patients_of_one_account_are_merged_and_parted_as_others_are(tmp_path: Path) -> None:
    with hub(tmp_path / "live") as bench, hub(tmp_path / "apart") as apart:
        in_turn(apart, FAMILY)
        in_turn(bench, FAMILY)
        bench.work(merge(CHILD, MOTHER, "2026-07-08 08:00", "5"))
        (account,) = bench.resources("Account")
        assert subjects(account) == patients(bench)
        assert len(account["subject"]) == 1
        unmerge(bench.hub, f"HOSPA|{CHILD}", None, "mother and child")
        assert len(patients(bench)) == 2
        # The account is the mother's, who had it first; the child's next message names it again.
        for one in (bench, apart):
            one.work(said("A08", "2026-07-09 10:00", "6", CHILD, account="AC1"))
        assert bench.rebuilt(tmp_path / "anew").different == []


def test_who_leaves_an_account_is_no_subject_of_it(tmp_path: Path) -> None:
    away = said("A44", "2026-07-06 08:00", "8", "500003", account="AC1", visit="")
    away += f"MRG|{MOTHER}^^^HOSPA^MR||AC1^^^HOSPA^AN\r"
    states = set()
    for n, order in enumerate(permutations([*FAMILY[:2], away])):
        with hub(tmp_path / str(n)) as bench:
            in_turn(bench, order)
            (account,) = bench.resources("Account")
            mother = next(p for p in bench.resources("Patient") if p["gender"] == "female")
            assert f"Patient/{mother['id']}" not in subjects(account)
            assert len(subjects(account)) == 2
            states.add(bench.state())
    assert len(states) == 1


VISIT = (
    said("A01", "2026-07-05 08:00", "1", MOTHER, visit="V9"),
    said("A08", "2026-07-05 09:00", "2", CHILD, visit="V9", place="OR^9^9"),
    said("A02", "2026-07-05 10:00", "3", MOTHER, visit="V9", place="5E^2^2"),
)


def test_a_visit_number_of_another_patient_waits_and_moves_nobody(where: str | Path) -> None:
    with hub(where) as bench:
        in_turn(bench, VISIT)
        (encounter,) = bench.resources("Encounter")
        mother = next(p["id"] for p in bench.resources("Patient") if p["gender"] == "female")
        assert encounter["subject"]["reference"] == f"Patient/{mother}"
        shown = [one["location"]["display"] for one in encounter["location"]]
        assert not any("OR" in one for one in shown), "the child was there, not the mother"
        state, issues = bench.exceptions()[2]
        assert state == "parked"
        assert "visit-of-another" in issues
        assert replay(bench.hub, range(1, 4)).changed == 0
        assert bench.exceptions()[2] == (state, issues)
        bench.work(merge(CHILD, MOTHER, "2026-07-06 08:00", "5"))
        assert bench.exceptions().get(2, ("processed", ""))[0] == "processed"
        (encounter,) = bench.resources("Encounter")
        shown = [one["location"]["display"] for one in encounter["location"]]
        assert any("OR" in one for one in shown), "now it is known to be one patient"


def test_in_every_order_and_batch_a_visit_number_of_two_is_the_firsts(tmp_path: Path) -> None:
    states = set()
    for n, order in enumerate(permutations(VISIT)):
        with hub(tmp_path / f"{n}") as bench, hub(tmp_path / f"{n} at once") as batch:
            in_turn(bench, order)
            batch.work(*order)
            states |= {bench.state(), batch.state()}
            stray = 1 + order.index(VISIT[1])
            for one in (bench, batch):
                ((entry, (state, issues)),) = one.exceptions().items()
                assert (entry, state) == (stray, "parked"), "whoever came first"
                assert issues.count("visit-of-another") == 1
                one.work(merge(CHILD, MOTHER, "2026-07-06 08:00", "5"))
                assert one.exceptions().get(stray, ("processed", ""))[0] == "processed"
    assert len(states) == 1


def renumber(event: str, old: str, new: str, at: str, number: str, mrn: str) -> str:
    """Another number for a visit (A50, A51), or two visits that are one (A42)."""
    mrg = f"MRG|{mrn}^^^HOSPA^MR||||{old}^^^HOSPA^VN"
    return said(event, at, number, mrn, visit=new, place="", extra=[mrg])


RENUMBERED = {
    "by another number that is somebody else's": (
        said("A01", "2026-07-06 18:00", "1", MOTHER, visit="V1"),
        renumber("A50", "V1", "V2", "2026-07-07 18:00", "2", MOTHER),
        said("A01", "2026-07-03 20:00", "3", CHILD, visit="V2"),
        said("A03", "2026-07-08 10:00", "4", "500003", visit="V1", disposition="01"),
    ),
    "by a stranger": (
        said("A01", "2026-07-05 08:00", "1", MOTHER, visit="V1"),
        said("A01", "2026-07-05 09:00", "2", CHILD, visit="V2"),
        renumber("A50", "V1", "V2", "2026-07-06 08:00", "3", CHILD),
        said("A02", "2026-07-06 09:00", "4", CHILD, visit="V2", place="5E^2^2"),
    ),
    "to a number that somebody else begins a visit with": (
        said("A01", "2026-07-05 08:00", "1", MOTHER, visit="V1"),
        renumber("A50", "V1", "V2", "2026-07-06 08:00", "2", MOTHER),
        said("A01", "2026-07-07 08:00", "3", CHILD, visit="V2"),
    ),
    "by a stranger who turns out to be none": (
        said("A01", "2026-07-05 08:00", "1", MOTHER, visit="V1"),
        renumber("A42", "V2", "V1", "2026-07-06 08:00", "2", CHILD),
        said("A02", "2026-07-06 09:00", "3", "500003", visit="V2"),
        merge(CHILD, MOTHER, "2026-07-06 08:00", "4"),
    ),
}


@pytest.mark.parametrize("told", RENUMBERED.values(), ids=RENUMBERED)
def test_in_every_order_a_visit_is_renumbered(told: Sequence[str], tmp_path: Path) -> None:
    states = set()
    for n, order in enumerate(permutations(told)):
        with hub(tmp_path / str(n)) as bench:
            in_turn(bench, order)
            states.add(bench.state())
    assert len(states) == 1


def test_a_stranger_gives_nobodys_visit_another_number(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        in_turn(bench, RENUMBERED["by a stranger"])
        state, issues = bench.exceptions()[3]
        assert (state, "visit-of-another" in issues) == ("parked", True)
        numbers = {
            one["identifier"][0]["value"]: [at["location"]["display"] for at in one["location"]]
            for one in bench.resources("Encounter")
        }
        assert numbers == {"V1": ["4W 1 1"], "V2": ["4W 1 1", "5E 2 2"]}


def drawn(chance: Random) -> list[str]:
    """Random messages of three patients who share accounts, visits, and at times an identity."""
    told = []
    for n in range(chance.randint(4, 8)):
        at, mrn = f"2026-07-0{chance.randint(5, 9)} {n + 8:02d}:00", chance.choice(tuple(PEOPLE))
        if chance.random() < 0.25:
            event, numbers = chance.choice(("A50", "A42", "A51")), ("V8", "V9", "V10", "V11")
            told.append(renumber(event, *chance.sample(numbers, 2), at, str(n), mrn))
            continue
        if chance.random() < 0.25:
            other = chance.choice([one for one in PEOPLE if one != mrn])
            told.append(merge(other, mrn, at, f"M{n}", chance.choice(("A40", "A40", "A45", "A44"))))
            continue
        told.append(
            said(
                chance.choice(("A01", "A08", "A02", "A03", "A11", "A31")), at, str(n), mrn,
                account=chance.choice(("AC1", "AC2", "")), visit=chance.choice(("V8", "V9", "V10")),
                place=chance.choice(("4W^1^1", "5E^2^2")),
                extra=insured(chance.choice("AB")) if chance.random() < 0.3 else (),
            )
        )  # fmt: skip
    return told


@stored_law
def test_whoever_shares_what_any_order_ends_the_same(seed: int) -> None:
    chance = Random(seed)
    told = drawn(chance)
    states: set[bytes] = set()
    with TemporaryDirectory() as folder:
        for n in range(4):
            with hub(Path(folder, str(n))) as bench:
                _work(bench, told, chance if n else None)
                states.add(bench.state())
                assert not [one for one in bench.exceptions().values() if one[0] == "failed"]
                if n < 2:
                    again = replay(bench.hub, range(1, len(told) + 1), dry_run=True)
                    assert again.differences == []
                if n == 1:
                    assert bench.rebuilt(Path(folder, "anew")).different == []
    assert len(states) == 1


def _work(bench: Bench, told: Sequence[str], chance: Random | None) -> None:
    if chance is None:
        bench.work(*told)
        return
    order = chance.sample(told, len(told))
    while order:
        size = chance.randint(1, 4)
        bench.work(*order[:size])
        del order[:size]
