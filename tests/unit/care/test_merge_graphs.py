"""Laws of merges and unmerges, over random graphs of them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from random import Random
from typing import Any

from segue.care.assemble import person_resources, visit_resources
from segue.care.fold import fold_visit
from segue.care.identity import MERGE_CYCLE, UNMERGE, doubtful, persons
from segue.care.parting import Parting, at_home, part
from segue.care.person import fold_person, note_visit
from segue.fhir.canonical import canonical_state, loads
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id
from tests.support.facts import fact, minutes
from tests.support.laws import law

PERSON = ("A40", "A34", "A30", "A36", "A39", "A18")


def person_of(n: int) -> str:
    return f"HOSPA|{n}"


def said(chance: Random, n: int, at: int, visit: int | None = None) -> Fact:
    """A statement about patient n, or an event of the visit of patient n, or of another one."""
    city = {"address#home": [{"city": f"Town {n}"}], "gender": "female"}
    event = chance.choice(("A31", "A01", "A08", "A03"))
    return fact(
        event,
        minutes(at),
        identity=person_of(n),
        visit=None if event == "A31" else f"HOSPA|V{n if visit is None else visit}",
        control=str(at),
        patient=city,
        patient_class=None if event == "A31" else "I",
        disposition="01" if event == "A03" else None,
        links=("HIE|9",) if chance.randrange(20) == 0 else (),
        mine=(account(n),) if chance.randrange(2) else (),
    )


def account(n: int) -> Fragment:
    """The account of patient n, as PID-18 names it."""
    number = [{"system": "urn:segue:authority:HOSPA", "value": f"A{n}"}]
    return Fragment(
        "Account", stable_id("Account", f"HOSPA|A{n}"), "person", {"identifier": number}
    )


def move(n: int, owner: str, to: str, at: int, event: str) -> Fact:
    """The visit (A45) or the account (A44) of patient n goes from one patient to another."""
    one = fact(event, minutes(at), identity=to, visit=None, control=f"v{at} {n} {owner} {to}")
    one.details["prior_identity"] = owner
    if event == "A44":
        one.details["prior_account"] = f"HOSPA|A{n}"
        one.person = [*one.person, account(n)]
    elif event == "A45":
        one.visit = f"HOSPA|V{n}"
    return one


def renumber(chance: Random, n: int, at: int, numbers: int) -> Fact:
    """A visit gets another number (A50), or is one with another visit (A42), says patient n."""
    event, (prior, visit) = chance.choice(("A50", "A42")), chance.sample(range(numbers), 2)
    return fact(event, minutes(at), identity=person_of(n), visit=f"HOSPA|V{visit}",
                control=f"r{at} {n}", details={"prior_visit": f"HOSPA|V{prior}"})  # fmt: skip


def merge(gone: str, kept: str, at: int, event: str) -> Fact:
    control = f"m{at} {gone} {kept}"
    return fact(event, minutes(at), identity=kept, prior=gone, visit=None, control=control)


def unmerge(gone: str, kept: str, at: int) -> list[Fact]:
    """What a steward says is a fact of each of the two."""
    made = []
    for identity, other in ((gone, kept), (kept, gone)):
        one = fact("A31", minutes(at), identity=identity, prior=other, visit=None)
        one = replace(one, event=UNMERGE, site="", person=[], id=f"u{at} {identity} {other}")
        made.append(one)
    return made


def is_of(one: Fact, key: str, parting: Parting) -> bool:
    if one.visit is None or one.id in parting.astray:
        return False
    return parting.numbers.get(one.visit, one.visit) == key


def yields(facts: Sequence[Fact]) -> list[bytes]:
    """The canonical resources of each person that the facts tell of, sorted."""
    parting = part(facts)
    found = []
    for group in parting.groups:
        own = parting.said_by(group, facts)
        if not own:
            continue
        person, resources = fold_person(own), list[dict[str, Any]]()
        states = []
        for key, home in sorted(parting.homes.items()):
            if home in group:
                about = [at_home(one, group, home) for one in facts if is_of(one, key, parting)]
                states.append(fold_visit(about, key))
        for state in states:
            person = note_visit(person, state)
        for state in states:
            resources += visit_resources(person, state)
        found.append(canonical_state([*person_resources(person), *resources]))
    return sorted(found)


@law
def test_unmerging_everything_is_as_if_nothing_had_ever_been_merged(seed: int) -> None:
    chance = Random(seed)
    count = chance.randrange(2, 5)
    before = [said(chance, n, 10 * i + n) for n in range(count) for i in range(2)]
    for one in before:
        one.links = [one.identity]  # Only merges join here.
    pairs = [tuple(chance.sample(range(count), 2)) for _ in range(chance.randrange(1, 5))]
    merges = [
        merge(person_of(gone), person_of(kept), 100 + n, chance.choice(PERSON))
        for n, (gone, kept) in enumerate(pairs)
    ]
    # Meanwhile the visit of one goes on under the number of another.
    since, plain = [], []
    for n, (gone, kept) in enumerate(pairs):
        if any(one.visit == f"HOSPA|V{gone}" for one in before):
            later = fact("A08", minutes(200 + n), identity=person_of(kept), visit=f"HOSPA|V{gone}",
                         patient_class="I", control=f"s{n}", at="4W^2")  # fmt: skip
            later.person = []
            since.append(later)
            plain.append(replace(later, identity=person_of(gone)))
    parting = [
        one
        for n, (gone, kept) in enumerate(chance.sample(pairs, len(pairs)))
        for one in unmerge(person_of(gone), person_of(kept), 300 + n)
    ]
    facts = [*before, *merges, *since, *parting]
    # A merge says of the survivor what its PID says; that stays, for it was said of him.
    told = [replace(one, event="A31", prior=None) for one in merges]
    plain = [replace(one, links=[one.identity]) for one in plain]
    assert yields(facts) == yields([*before, *plain, *told])
    assert part(facts).groups == [[one] for one in sorted({one.identity for one in facts})]


@law
def test_any_graph_gives_the_same_persons_in_every_order(seed: int) -> None:
    chance = Random(seed)
    count = chance.randrange(2, 6)
    facts = [said(chance, n, 10 + n) for n in range(count)]
    for n in range(chance.randrange(4)):
        who, at = chance.randrange(count), 20 + chance.randrange(99)
        if chance.randrange(2):
            facts.append(renumber(chance, who, at, count + 1))
        else:
            facts.append(said(chance, who, at, chance.randrange(count + 1)))
        facts[-1].id = f"visit {n}"
    for _ in range(chance.randrange(1, 8)):
        gone, kept = (person_of(one) for one in chance.sample(range(count + 1), 2))
        if chance.randrange(4) == 0:
            n, at = chance.randrange(count), 100 + chance.randrange(30)
            facts.append(move(n, gone, kept, at, chance.choice(("A43", "A44", "A45"))))
        elif chance.randrange(3):
            event = chance.choice((*PERSON, "A24", "A37", "A47", "A46"))
            facts.append(merge(gone, kept, 100 + chance.randrange(30), event))
        else:
            facts += unmerge(gone, kept, 100 + chance.randrange(30))
    whole = yields(facts)
    assert yields(chance.sample([*facts, *facts], 2 * len(facts))) == whole
    parting = part(facts)
    members = [identity for group in parting.groups for identity in group]
    assert len(members) == len(set(members))
    for group in parting.groups:
        own = parting.said_by(group, facts)
        if not own:
            continue
        person = fold_person(own)
        made = [one for one in person_resources(person) if one["resourceType"] == "Patient"]
        assert [one["id"] for one in made if one["active"]] == [person.patient]
        ids = {one["id"] for one in made}
        for one in made:
            for link in one.get("link", ()):
                assert link["other"]["reference"].removeprefix("Patient/") in ids
        assert set(person.patients) <= set(group)
    for one in facts:
        homes = [key for key in parting.homes if is_of(one, key, parting)]
        assert len(homes) == (one.visit is not None and one.id not in parting.astray)
    resources = [loads(line) for state in whole for line in state.split(b"\n") if line]
    made = [(one["resourceType"], one["id"]) for one in resources]
    assert len(made) == len(set(made)), "nothing belongs to two persons"


def moved(*facts: Fact) -> dict[str, str]:
    """Whose each visit and account is, by the last part of its key."""
    parting = part(facts)
    accounts = {stable_id("Account", f"HOSPA|A{n}"): f"A{n}" for n in range(9)}
    found = {key.partition("|")[2]: home for key, home in parting.homes.items()}
    return found | {accounts[id_]: home for id_, home in parting.accounts.items()}


def admitted(n: int, at: int, visit: str, number: int | None = None) -> Fact:
    """An admission of patient n, with an account number or without."""
    mine = () if number is None else (account(number),)
    return fact("A01", minutes(at), identity=person_of(n), visit=f"HOSPA|{visit}",
                control=f"{n} {at}", patient_class="I", mine=mine)  # fmt: skip


def test_an_account_is_moved_with_the_visits_under_it() -> None:
    under, beside = admitted(1, 1, "V1", 1), admitted(1, 2, "V2")
    told = (under, beside, move(1, person_of(1), person_of(2), 9, "A44"))
    for order in permutations(told):
        assert moved(*order) == {"V1": person_of(2), "V2": person_of(1), "A1": person_of(2)}
        assert part(order).groups == [[person_of(1)], [person_of(2)]]


def test_what_comes_under_a_moved_account_later_goes_where_it_went() -> None:
    away = move(1, person_of(1), person_of(2), 9, "A44")
    late = admitted(1, 20, "V3", 1)
    assert moved(admitted(1, 1, "V1", 1), away, late)["V3"] == person_of(2)
    back = move(1, person_of(2), person_of(1), 30, "A44")
    assert set(moved(admitted(1, 1, "V1", 1), away, late, back).values()) == {person_of(1)}


def test_an_account_that_others_share_moves_nobody_elses_visits() -> None:
    child = admitted(3, 3, "V3", 1)
    told = (admitted(1, 1, "V1", 1), child, move(1, person_of(1), person_of(2), 9, "A44"))
    assert moved(*told)["V3"] == person_of(3)


def test_a_visit_that_is_moved_after_its_account_stays_where_it_was_moved() -> None:
    told = (admitted(1, 1, "V1", 1), move(1, person_of(1), person_of(2), 9, "A44"))
    on = move(1, person_of(2), person_of(3), 12, "A45")
    assert moved(*told, on) == {"V1": person_of(3), "A1": person_of(2)}


def test_whom_a_move_leaves_does_not_hold_on_to_what_was_moved() -> None:
    joined = fact("A43", minutes(5), identity=person_of(2), visit=None, control="1")
    joined.details["prior_identity"] = person_of(1)
    again = fact("A43", minutes(6), identity=person_of(3), visit=None, control="2")
    again.details["prior_identity"] = person_of(1)
    parting = part([joined, again])
    left = fold_person(parting.said_by(parting.group_of(person_of(2)), [joined, again]))
    assert list(left.patients) == [person_of(2)]


def test_a_circle_of_merges_is_refused_where_it_would_close() -> None:
    facts = [
        merge(person_of(1), person_of(2), 1, "A40"),
        merge(person_of(2), person_of(3), 2, "A40"),
        merge(person_of(3), person_of(1), 3, "A40"),
    ]
    person = fold_person(facts)
    assert person.key == person_of(3)
    assert doubtful(person.edges) == [(MERGE_CYCLE, facts[2].id)]


def test_an_identifier_that_both_have_does_not_undo_what_a_steward_said() -> None:
    one = fact("A31", minutes(1), identity=person_of(1), visit=None, links=("HIE|9",))
    two = fact("A31", minutes(2), identity=person_of(2), visit=None, links=("HIE|9",))
    assert len(persons(fold_person([one, two]))) == 1
    apart = unmerge(person_of(2), person_of(1), 3)
    assert part([one, two, *apart]).groups == [["HIE|9", person_of(1)], [person_of(2)]]
    again = replace(two, id="later", recorded=minutes(9), sent=minutes(9))
    assert len(part([one, two, *apart, again]).groups) == 2
    merged = merge(person_of(2), person_of(1), 20, "A40")
    assert len(part([one, two, *apart, merged]).groups) == 1


def test_a_moved_identifier_leaves_all_that_it_was_joined_to() -> None:
    joined = merge(person_of(1), person_of(2), 1, "A40")
    moved = fact("A43", minutes(5), identity=person_of(3), visit=None)
    moved.details["prior_identity"] = person_of(1)
    own = fact("A31", minutes(0), identity=person_of(1), visit=None)
    assert part([own, joined, moved]).groups == [[person_of(1), person_of(3)], [person_of(2)]]
