"""Which person each fact belongs to, where persons were joined and parted again.

What a fact says of a patient belongs to whoever its identity is. What it says of a
visit belongs to whoever the visit is: the identity that first spoke of it, or to which
it was moved last (A45). So after an unmerge a visit goes back to the patient whose
it was, with all that was sent about it under the other number meanwhile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from segue.care.identity import components, edge_kind, joined_by, other_end
from segue.care.numbers import Renamed, renamed_by, resolve_numbers
from segue.care.order import rank_of, recorded_key
from segue.care.states import Edge
from segue.model.facts import Fact


@dataclass(frozen=True, slots=True)
class Parting:
    """Facts of identities that were or are joined, divided into persons.

    Attributes:
        groups: identities of each person, sorted.
        homes: visit key to the identity whose visit it is; of the number that a visit is
            kept under.
    """

    groups: list[list[str]]
    homes: Mapping[str, str]

    def group_of(self, identity: str) -> list[str]:
        """The group that an identity is in."""
        return next(group for group in self.groups if identity in group)


def part(facts: Iterable[Fact]) -> Parting:
    """Divide facts into persons.

    Args:
        facts: the person parts of all facts of all identities that any of them names,
            in any order, also repeatedly.
    """
    links: set[tuple[str, str]] = set()
    edges: list[Edge] = []
    identities: set[str] = set()
    first: list[tuple[str, bool, str]] = []
    renamed: list[Renamed] = []
    for fact in sorted({fact.id: fact for fact in facts}.values(), key=recorded_key):
        identity, kind, end = fact.identity, edge_kind(fact), other_end(fact)
        identities.add(identity)
        if kind is not None and end is not None:
            stamp = (fact.recorded.us, fact.sent.us, rank_of(fact.event))
            edges.append(Edge(stamp, kind, end, identity, fact.id))
        for other in joined_by(fact):
            if other in fact.links and other != identity:
                links.add((min(identity, other), max(identity, other)))
        if (change := renamed_by(fact)) is not None:
            renamed.append(change)
        if fact.visit is not None:
            first.append((fact.visit, kind == "visit", identity))
    homes: dict[str, str] = {}
    numbers = resolve_numbers(renamed)
    for number, moved, identity in first:
        key = numbers.get(number, number)
        if moved or key not in homes:
            homes[key] = identity
    return Parting(components(sorted(links), edges, identities), homes)


def kin(facts: Iterable[Fact]) -> set[str]:
    """Identities that facts part their own from, or take visits from.

    Who has kin shares facts with other persons: all of them are folded together.
    """
    return {
        identity
        for fact in facts
        if edge_kind(fact) in ("unlink", "unmerge", "move", "visit")
        and (end := other_end(fact)) is not None
        for identity in (fact.identity, end)
    }


def at_home(fact: Fact, group: Iterable[str], home: str) -> Fact:
    """A fact about a visit as one about the patient whose visit it is.

    Args:
        group: identities of the person whose visit it is. home: the visit's own.
    """
    return fact if fact.identity in group else replace(fact, identity=home)
