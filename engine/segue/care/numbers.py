"""Visits under several numbers: merged (A42), or given another number (A50, A51).

All facts of such numbers are one visit. After a merge it is kept under the number that
stays; after a change under the one that it had first, so that its Encounter and Tasks
keep their ids. A change of the alternate number (A51) of a visit that PV1-19 names too
leaves it under that one.
"""

from collections.abc import Iterable, Mapping

from segue.care.order import Key, recorded_key
from segue.model.events import EVENTS
from segue.model.facts import Fact

Renamed = tuple[Key, str, str, str]
"""When it was recorded, the number that leads to another one, that one, and the fact."""

NUMBER_CYCLE = "visit-number-cycle"
"""Warning: two numbers would lead to each other; the later change is refused."""


PRIOR_VISIT = "prior_visit"
"""Key of `Fact.details`: MRG-5 or MRG-6, a number that the visit has or had, too."""


def renamed_by(fact: Fact) -> Renamed | None:
    """What a fact says of visit numbers, None where it says nothing."""
    prior = fact.details.get(PRIOR_VISIT)
    row = EVENTS.get(fact.event)
    if prior is None or row is None or fact.visit is None or prior == fact.visit:
        return None
    if row.effect == "visit-merge" or "visit_stays" in fact.details:
        return recorded_key(fact), prior, fact.visit, fact.id
    if row.effect == "visit-change":
        return recorded_key(fact), fact.visit, prior, fact.id
    return None


def visits_named(fact: Fact) -> list[str]:
    """All numbers that a fact gives one visit."""
    if fact.visit is None:
        return []
    change = renamed_by(fact)
    return [fact.visit] if change is None else [change[1], change[2]]


def resolve_numbers(renamed: Iterable[Renamed]) -> dict[str, str]:
    """Each number that leads elsewhere, to the one that its visit is kept under.

    >>> one, two = (1, 0, 4, "", "", "a"), (2, 0, 4, "", "", "b")
    >>> resolve_numbers([(two, "V3", "V2", "b"), (one, "V2", "V1", "a")])
    {'V2': 'V1', 'V3': 'V1'}

    The same once more changes nothing:

    >>> resolve_numbers([(one, "V2", "V1", "a"), (two, "V2", "V1", "b")])
    {'V2': 'V1'}
    """
    into: dict[str, str] = {}
    for _, gone, kept, _ in sorted(renamed):
        end, start = end_of(into, kept), end_of(into, gone)
        if end != start:
            into[start] = end
    return {number: end_of(into, number) for number in sorted(into)}


def refused(renamed: Iterable[Renamed]) -> list[str]:
    """Facts whose change would lead a number to itself."""
    into: dict[str, str] = {}
    found: list[str] = []
    for _, gone, kept, fact in sorted(renamed):
        end, start = end_of(into, kept), end_of(into, gone)
        if end == gone:
            found.append(fact)
        elif end != start:
            into[start] = end
    return found


def end_of(into: Mapping[str, str], number: str) -> str:
    """The number that another one leads to, over all changes."""
    while number in into:
        number = into[number]
    return number
