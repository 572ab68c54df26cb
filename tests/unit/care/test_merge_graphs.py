"""Laws of merges and unmerges, over random graphs of them."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from segue.care.assemble import person_resources, visit_resources
from segue.care.fold import fold_visit
from segue.care.identity import MERGE_CYCLE, UNMERGE, doubtful, persons
from segue.care.parting import at_home, part
from segue.care.person import fold_person, note_visit
from segue.fhir.canonical import canonical_state
from segue.model.facts import Fact
from tests.support.facts import EXAMPLES, fact, minutes

GRAPHS = max(1_000, EXAMPLES)
PERSON = ("A40", "A34", "A30", "A36", "A39", "A18")


def person_of(n: int) -> str:
    return f"HOSPA|{n}"


def said(chance: Random, n: int, at: int) -> Fact:
    """A statement about patient n, or an event of the visit of patient n."""
    city = {"address#home": [{"city": f"Town {n}"}], "gender": "female"}
    event = chance.choice(("A31", "A01", "A08", "A03"))
    return fact(
        event,
        minutes(at),
        identity=person_of(n),
        visit=None if event == "A31" else f"HOSPA|V{n}",
        control=str(at),
        patient=city,
        patient_class=None if event == "A31" else "I",
        disposition="01" if event == "A03" else None,
        links=("HIE|9",) if chance.randrange(20) == 0 else (),
    )


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


def yields(facts: Sequence[Fact]) -> list[bytes]:
    """The canonical resources of each person that the facts tell of, sorted."""
    parting = part(facts)
    found = []
    for group in parting.groups:
        own = [one for one in facts if one.identity in group]
        if not own:
            continue
        person, resources = fold_person(own), list[dict[str, Any]]()
        states = []
        for key, home in sorted(parting.homes.items()):
            if home in group:
                about = [at_home(one, group, home) for one in facts if one.visit == key]
                states.append(fold_visit(about, key))
        for state in states:
            person = note_visit(person, state)
        for state in states:
            resources += visit_resources(person, state)
        found.append(canonical_state([*person_resources(person), *resources]))
    return sorted(found)


@settings(max_examples=GRAPHS, deadline=None)
@given(st.integers(0, 2**32))
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


@settings(max_examples=GRAPHS, deadline=None)
@given(st.integers(0, 2**32))
def test_any_graph_gives_the_same_persons_in_every_order(seed: int) -> None:
    chance = Random(seed)
    count = chance.randrange(2, 6)
    facts = [said(chance, n, 10 + n) for n in range(count)]
    for _ in range(chance.randrange(1, 8)):
        gone, kept = (person_of(one) for one in chance.sample(range(count + 1), 2))
        if chance.randrange(3):
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
        own = [one for one in facts if one.identity in group]
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
