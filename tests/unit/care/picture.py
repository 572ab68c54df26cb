"""Everything that a person's facts say, folded at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segue.care.fold import fold_visit
from segue.care.person import fold_person, note_visit, placements
from segue.care.states import PersonState, VisitState
from segue.model.facts import Fact


@dataclass(slots=True)
class Picture:
    """A person and all visits.

    Attributes:
        unplaced: ids of facts about a visit without a number that belong to no visit
            or could belong to several, sorted.
    """

    person: PersonState
    visits: dict[str, VisitState]
    unplaced: list[str]


def fold_all(facts: Iterable[Fact], rank: Sequence[str] = ()) -> Picture:
    """Fold all facts of one person.

    Args:
        facts: in any order, also repeatedly.
        rank: authorities, highest first.
    """
    told = list(facts)
    numbered: dict[str, list[Fact]] = {}
    loose: dict[str, Fact] = {}
    for fact in told:
        if fact.visit is not None:
            numbered.setdefault(fact.visit, []).append(fact)
        else:
            loose[fact.id] = fact
    visits = {key: fold_visit(numbered[key]) for key in sorted(numbered)}
    visits = {key: visit for key, visit in visits.items() if visit.status}
    person = fold_person(told, rank, visits.values())
    for key, found in misplaced(person).items():
        visits[key] = fold_visit([*numbered[key], *(loose[fact] for fact in found)])
        person = note_visit(person, visits[key])
    unplaced = sorted(fact for fact, key in placements(person).items() if key is None)
    return Picture(person, visits, unplaced)


def misplaced(person: PersonState) -> dict[str, list[str]]:
    """Visits that must be folded anew because visits without a number moved.

    Returns:
        Key of such a visit to the ids of all facts without a number that belong to it,
        sorted. Empty when everything is in its place.
    """
    if not person.loose and not any(visit.loose for visit in person.visits.values()):
        return {}
    right: dict[str, list[str]] = {}
    for fact, key in placements(person).items():
        if key is not None:
            right.setdefault(key, []).append(fact)
    wanted = {key: sorted(right.get(key, ())) for key in person.visits}
    return {key: facts for key, facts in wanted.items() if facts != person.visits[key].loose}
