"""Random merges, links and moves between patients: the order of messages changes nothing.

Each history is told in order and shuffled; both must give the same store, in which
nothing points to what is not there and nobody's message has failed.
"""

from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest

from segue.fhir.lifecycle import TASK_ENDED
from segue.pipeline.replay import replay
from tests.integration.crash import VISIT, message
from tests.integration.test_unmerge import references, said
from tests.stories.messages import adt
from tests.support.hub import TestClock, hub

CLOCK = "2026-07-02T22:30:00-04:00"
PEOPLE = tuple(f"DOE^P{n}||19{50 + n}0101|F" for n in range(6))
JOINS = ("A40", "A40", "A24", "A37", "A43", "A44", "A44", "A45", "A50", "A50", "A42", "A47")
EVENTS = ("A01", "A08", "A03", "A03", "A02", "A04", "A13", "A11")
SEEDS = 10


def under(message: str, account: str) -> str:
    """The message with an account number (PID-18)."""
    lines = message.split("\r")
    place = next(n for n, line in enumerate(lines) if line.startswith("PID"))
    fields = lines[place].split("|")
    fields += [""] * (19 - len(fields))
    fields[18] = f"{account}^^^HOSPA^AN"
    lines[place] = "|".join(fields)
    return "\r".join(lines)


def moved(at: str, control_id: str, to: int, owner: int, account: str) -> str:
    """An A44: an account goes from one patient to another."""
    return under(_head("A44", at, control_id, to), account) + (
        f"MRG|50000{owner}^^^HOSPA^MR||{account}^^^HOSPA^AN\r"
    )


def _head(event: str, at: str, control_id: str, n: int) -> str:
    message = adt(event, at, control_id, mrn=f"50000{n}", visit="", shared=False, pid=PEOPLE[n])
    return message.split("PV1")[0]


def history(chance: Random) -> list[str]:
    """Admissions and other events of some patients, then merges, links and moves."""
    count, told = chance.randrange(2, 5), list[str]()

    def now() -> tuple[str, str]:
        n = len(told) + 1
        return f"2026-07-{1 + n // 20:02d} {n % 20:02d}:00", str(n)

    for n in range(count):
        for _ in range(chance.randrange(1, 4)):
            event, (at, number) = chance.choice(EVENTS), now()
            visit = chance.choice((f"W{n}", f"W{n}", f"W{n}x", f"W{n ^ 1}"))
            place = chance.choice(("4W^1", "5E^2"))
            done = {"disposition": "01", "discharged": at} if event == "A03" else {}
            message = adt(event, at, number, mrn=f"50000{n}", visit=visit, place=place,
                          shared=False, pid=PEOPLE[n], **done)  # fmt: skip
            account = chance.choice((f"A{n}", f"A{n}", f"A{n}b", ""))
            told.append(under(message, account) if account else message)
    for _ in range(chance.randrange(1, 6)):
        told.append(_between(chance, chance.choice(JOINS), count, *now()))
    return told


def _between(chance: Random, event: str, count: int, at: str, number: str) -> str:
    one, two = chance.sample(range(count + (chance.random() < 0.3)), 2)
    head = _head(event, at, number, two)
    visit = chance.choice((f"W{one}", f"W{one}x"))
    if event in ("A24", "A37"):
        return head + f"PID|1||50000{one}^^^HOSPA^MR||{PEOPLE[one]}\r"
    if event == "A44":
        return moved(at, number, two, one, chance.choice((f"A{one}", f"A{one}b")))
    if event == "A45":
        stay = f"PV1|1|I|4W^1{'|' * 16}{visit}^^^HOSPA^VN\r"
        return head + f"MRG|50000{one}^^^HOSPA^MR||||{visit}^^^HOSPA^VN\r" + stay
    if event in ("A50", "A42"):
        old, new = chance.sample((f"W{two}", f"W{two}x", f"W{two}n", f"W{one}"), 2)
        stay = f"PV1|1|I|4W^1{'|' * 16}{new}^^^HOSPA^VN\r"
        return head + f"MRG|50000{two}^^^HOSPA^MR||||{old}^^^HOSPA^VN\r" + stay
    return head + f"MRG|50000{one}^^^HOSPA^MR\r"


def told(directory: Path, messages: list[str], clock: str = CLOCK) -> bytes:
    """The state after these messages, one by one.

    On the way nothing is left dangling, and no Task that has ended opens again, but for
    one that was superseded before anybody touched it (ADR 12).
    """
    known: dict[str, dict[str, Any]] = {}
    with hub(directory, TestClock.at(clock)) as bench:
        for message in messages:
            bench.process(message)
            references(bench)
            for task in bench.resources("Task"):
                before = known.get(task["id"], task)
                if before["status"] in TASK_ENDED and task["status"] not in TASK_ENDED:
                    assert before["statusReason"]["coding"][0]["code"] == "superseded"
                    assert "output" not in before
                known[task["id"]] = task
        assert not [one for one in bench.exceptions().values() if one[0] == "failed"]
        return bench.state()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_merges_links_and_moves_in_any_order_give_the_same_store(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    messages = history(chance)
    straight = told(tmp_path / "straight", messages)
    assert told(tmp_path / "mixed", chance.sample(messages, len(messages))) == straight


def merged(at: str, number: str, kept: int, gone: int, event: str = "A40") -> str:
    return _head(event, at, number, kept) + f"MRG|50000{gone}^^^HOSPA^MR\r"


def linked(event: str, at: str, number: str, one: int, two: int) -> str:
    return _head(event, at, number, one) + f"PID|2||50000{two}^^^HOSPA^MR||{PEOPLE[two]}\r"


def renumbered(event: str, at: str, number: str, whose: int, old: str, new: str) -> str:
    stay = f"PV1|1|I|{'|' * 16}{new}^^^HOSPA^VN\r"
    mrg = f"MRG|50000{whose}^^^HOSPA^MR||||{old}^^^HOSPA^VN\r"
    return _head(event, at, number, whose) + mrg + stay


def visited(event: str, at: str, number: str, n: int, visit: str, **more: Any) -> str:
    return said(n, event, at, number, visit=visit, pid=PEOPLE[n], **more)


ENTANGLED = {
    "an account that another one took the place of, and a link that was undone": (
        linked("A24", "2026-07-04 09:00", "1", 3, 4),
        under(_head("A35", "2026-07-05 09:00", "2", 4), "A1") + "MRG|500004^^^HOSPA^MR||A0\r",
        linked("A37", "2026-07-02 12:00", "3", 3, 4),
    ),
    "visits of two patients that are one, and merged later": (
        renumbered("A42", "2026-07-03 09:30", "1", 4, "W2", "W4"),
        visited("A04", "2026-07-04 18:30", "2", 2, "W2"),
        merged("2026-07-09 11:00", "3", 2, 1),
        merged("2026-07-11 19:30", "4", 1, 4, "A39"),
    ),
    "a visit that is an earlier patient's, whoever its first one was merged with": (
        visited("A11", "2026-07-11 15:30", "1", 1, "W1"),
        visited("A03", "2026-07-11 08:30", "2", 3, "W4", disposition="01"),
        linked("A24", "2026-07-11 10:00", "3", 1, 3),
        visited("A02", "2026-07-06 10:00", "4", 4, "W4", diagnoses=("I50.23^Heart failure",)),
    ),
    "a number that a visit had before, and that is another patient's": (
        visited("A12", "2026-07-09 16:30", "1", 3, "W3"),
        visited("A06", "2026-07-06 17:30", "2", 2, "W2", diagnoses=("I50.23^Heart failure",)),
        renumbered("A50", "2026-07-05 09:30", "3", 2, "W3", "W2"),
    ),
    "a visit that goes to another patient, with a plan that ends there": (
        renumbered("A42", "2026-07-10 08:00", "1", 1, "W3", "W1"),
        visited("A11", "2026-07-04 10:00", "2", 3, "W3"),
        visited("A02", "2026-07-08 09:00", "3", 1, "W1", diagnoses=("I50.23^Heart failure",)),
        merged("2026-07-11 12:00", "4", 2, 3),
        under(_head("A44", "2026-07-04 18:30", "5", 1), "A1") + "MRG|500002^^^HOSPA^MR||A2\r",
    ),
    "a Task that had failed before its visit was moved": (
        renumbered("A42", "2026-07-10 13:00", "1", 3, "W4", "W2"),
        visited("A11", "2026-07-10 13:30", "2", 4, "W4"),
        _head("A45", "2026-07-04 18:30", "3", 4)
        + f"MRG|500002^^^HOSPA^MR||||W4^^^HOSPA^VN\rPV1|1|I|5E^1{'|' * 16}W4^^^HOSPA^VN\r",
        linked("A24", "2026-07-10 16:00", "4", 3, 2),
        merged("2026-07-04 19:00", "5", 1, 3, "A30"),
    ),
}


LISTED = (
    visited("A01", "2026-07-04 09:00", "1", 1, "W1"),
    visited("A01", "2026-07-05 09:00", "2", 2, "W2"),
    visited("A31", "2026-07-05 10:00", "3", 3, "W3"),
    _head("A40", "2026-07-06 09:00", "4", 0)
    + "MRG|500001^^^HOSPA^MR~500000^^^HOSPA^MR~77^^^HIE^PI~500002^^^HOSPA^MR~9^^^USA^SS\r",
    _head("A31", "2026-07-06 10:00", "5", 3).replace("500003^", "77^^^HIE^PI~500003^"),
)
"""The list of MRG-1 names two patients of the hospital and another one's enterprise number."""
ENTANGLED["all numbers of a prior patient's list"] = LISTED


def test_all_identifiers_of_a_prior_person_go(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(CLOCK)) as bench:
        bench.process(*LISTED)
        assert bench.exceptions() == {}
        patients = bench.resources("Patient")
        (kept,) = [one for one in patients if one["active"]]
        assert {i["value"] for i in kept["identifier"]} >= {f"50000{n}" for n in range(4)}
        assert sorted(link["type"] for link in kept["link"]) == ["replaces"] * (len(patients) - 1)
        subjects = {one["subject"]["reference"] for one in bench.resources("Encounter")}
        assert subjects == {f"Patient/{kept['id']}"}


@pytest.mark.parametrize("case", ENTANGLED.values(), ids=ENTANGLED)
def test_patients_who_get_entangled_end_the_same_in_every_order(
    tmp_path: Path, case: tuple[str, ...]
) -> None:
    orders = list(permutations(case))
    chosen = orders if len(orders) < 10 else [case, *Random(7).sample(orders, 9)]
    late = "2026-07-30T12:00:00-04:00"
    states = {told(tmp_path / str(n), list(order), late) for n, order in enumerate(chosen)}
    assert len(states) == 1


def test_merges_of_several_persons_in_a_batch_go_in_one_commit(tmp_path: Path) -> None:
    stays = [message(patient, step) for step in range(VISIT) for patient in range(6)]
    merges = [message(patient, VISIT) for patient in (0, 2, 4)]
    with hub(tmp_path / "batch") as bench:
        bench.process(*stays)
        before = bench.commits()
        bench.process(*merges)
        assert bench.commits() == before + 1, "the batch failed as a whole"
        together = bench.state()
    with hub(tmp_path / "alone") as bench:
        bench.process(*stays)
        for merge in merges:
            bench.process(merge)
        assert bench.state() == together


ACCOUNTS = (
    under(said(1, "A04", "2026-07-06 10:00", "1", visit="W9", patient_class="E"), "A9"),
    under(said(1, "A01", "2026-07-05 08:00", "2"), "A1"),
    under(said(2, "A01", "2026-07-05 09:00", "3", pid=PEOPLE[2]), "A2"),
    moved("2026-07-06 11:00", "4", 2, 1, "A9"),
)


def test_a_moved_account_takes_its_visits_along(where: str | Path, tmp_path: Path) -> None:
    with hub(where, TestClock.at("2026-07-06T12:00:00-04:00")) as bench:
        bench.work(*ACCOUNTS)
        references(bench)
        owners = {
            one["identifier"][0]["value"]: one["subject"]["reference"]
            for one in bench.resources("Encounter")
        }
        assert owners["W9"] == owners["W2"] != owners["W1"]
        accounts = {
            one["identifier"][0]["value"]: one["subject"] for one in bench.resources("Account")
        }
        assert [one["reference"] for one in accounts["A9"]] == [owners["W9"]]
        assert [one["reference"] for one in accounts["A1"]] == [owners["W1"]]
        assert all(one["active"] for one in bench.resources("Patient")), "nobody was merged"
        before = bench.state()
        rebuilt = bench.rebuilt(tmp_path / "anew")
        assert rebuilt.different == []
    chance = Random(4)
    for n, order in enumerate(chance.sample(list(permutations(ACCOUNTS)), 4)):
        with hub(tmp_path / str(n), TestClock.at("2026-07-06T12:00:00-04:00")) as other:
            for message in order:
                other.process(message)
            assert other.state() == before


def test_a_replay_of_visits_without_numbers_changes_and_sends_nothing(tmp_path: Path) -> None:
    nowhere = [said(n, "A08", f"2026-07-06 1{n}:00", f"9{n}", visit="") for n in (1, 2)]
    with hub(tmp_path, TestClock.at("2026-07-06T20:00:00-04:00")) as bench:
        bench.work(*nowhere, *ACCOUNTS[1:3])
        before, sent = bench.state(), len(bench.deliveries())
        again = replay(bench.hub, range(1, 5), dry_run=True)
        assert (again.changed, again.differences) == (0, [])
        assert replay(bench.hub, range(1, 5)).changed == 0
        assert (bench.state(), len(bench.deliveries())) == (before, sent)
