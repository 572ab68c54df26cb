"""Which person each fact belongs to, where persons were joined and parted again.

What a fact says of a patient belongs to whoever its identity is. What it says of a
visit belongs to whoever the visit is: the identity that first spoke of it, or to which
it was moved last (A45). So after an unmerge a visit goes back to the patient whose
it was, with all that was sent about it under the other number meanwhile.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from segue.care.identity import (
    JOINS,
    PRIOR_IDENTITY,
    components,
    edge_kind,
    joined_by,
    other_end,
    standing,
)
from segue.care.numbers import (
    PRIOR_VISIT,
    Renamed,
    end_of,
    renamed_by,
    resolve_numbers,
    visits_named,
)
from segue.care.order import rank_of, recorded_key
from segue.care.states import Edge
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id

ACCOUNT = "Account"
MOVES_ACCOUNT = "A44"


@dataclass(frozen=True, slots=True)
class Parting:
    """Facts of identities that were or are joined, divided into persons.

    Attributes:
        groups: identities of each person, sorted.
        homes: visit key to the identity whose visit it is; of the number that a visit is
            kept under.
        accounts: id of an Account to the identity whose account it is.
        undone: ids of the facts that joined identities and were taken back.
        astray: ids of the facts about a visit of somebody whom their identity never had to
            do with. What they say of the visit waits until a merge or a move says that it
            is meant; that it has another number, too.
        numbers: each visit number that leads to another one, to that one.
        named: each visit number that leads to no visit by itself, to the identity that
            first named it: it leads to another one, or who named it waits.
    """

    groups: list[list[str]]
    homes: Mapping[str, str]
    accounts: Mapping[str, str]
    undone: frozenset[str]
    astray: frozenset[str]
    numbers: Mapping[str, str]
    named: Mapping[str, str]

    def group_of(self, identity: str) -> list[str]:
        """The group that an identity is in."""
        return next(group for group in self.groups if identity in group)

    def said_by(self, group: Iterable[str], facts: Iterable[Fact]) -> list[Fact]:
        """The person parts of those facts that are a group's, as far as they are its own.

        Without accounts that are others' now, without other numbers of visits that are
        others', and without whom they joined, where that was taken back: by a move (A43)
        perhaps, of which only the new person's facts tell.
        """
        members = set(group)

        def is_own(one: Fragment) -> bool:
            return one.type != ACCOUNT or self.accounts.get(one.id) in members

        found = []
        for fact in facts:
            if fact.identity not in members:
                continue
            if not all(map(is_own, fact.person)):
                fact = replace(fact, person=list(filter(is_own, fact.person)))  # noqa: PLW2901
            if fact.id in self.undone:
                fact = replace(_without(fact, PRIOR_IDENTITY), prior=None)  # noqa: PLW2901
            if fact.id in self.astray:
                fact = _without(fact, PRIOR_VISIT)  # noqa: PLW2901
            found.append(fact)
        return found


def _without(fact: Fact, detail: str) -> Fact:
    return replace(fact, details={k: v for k, v in fact.details.items() if k != detail})


def part(facts: Iterable[Fact]) -> Parting:
    """Divide facts into persons.

    Args:
        facts: the person parts of all facts of all identities that any of them names,
            in any order, also repeatedly.
    """
    known = sorted({fact.id: fact for fact in facts}.values(), key=recorded_key)
    links: set[tuple[str, str]] = set()
    edges: list[Edge] = []
    identities: set[str] = set()
    for fact in known:
        identity, kind, end = fact.identity, edge_kind(fact), other_end(fact)
        identities.add(identity)
        if kind is not None and end is not None:
            stamp = (fact.recorded.us, fact.sent.us, rank_of(fact.event))
            edges.append(Edge(stamp, kind, end, identity, fact.id))
        for other in joined_by(fact):
            if other in fact.links and other != identity:
                links.add((min(identity, other), max(identity, other)))
    groups = components(sorted(links), edges, identities)
    kept = {edge.fact for edge in standing(edges)}
    undone = frozenset(one.fact for one in edges if one.kind in JOINS and one.fact not in kept)
    related = [*links, *((edge.gone, edge.kept) for edge in edges)]
    astray, renamed = _claims(known, components(related, (), identities))
    numbers = resolve_numbers(renamed)
    homes, accounts = _homes(known, groups, numbers, astray)
    named: dict[str, str] = {}
    for fact in known:
        for number in visits_named(fact):
            if number not in homes:
                named.setdefault(number, fact.identity)
    return Parting(groups, homes, accounts, undone, astray, numbers, named)


def _claims(
    facts: Iterable[Fact], families: Iterable[list[str]]
) -> tuple[frozenset[str], list[Renamed]]:
    """Facts of strangers about a visit, and the changes of visit numbers that hold.

    A visit is its first one's and those people's who were ever joined with them or parted
    from them. One who would join two visits must have to do with both.

    Args:
        facts: each once, in the order they were recorded.
        families: identities that ever had to do with each other.
    """
    family_of = {identity: n for n, family in enumerate(families) for identity in family}
    into: dict[str, str] = {}
    claimed: dict[str, int] = {}
    astray: set[str] = set()
    renamed: list[Renamed] = []
    for fact in facts:
        ends = {end_of(into, number) for number in visits_named(fact)}
        family = family_of[fact.identity]
        if any(claimed.get(end, family) != family for end in ends):
            astray.add(fact.id)
            continue
        if (change := renamed_by(fact)) is not None:
            renamed.append(change)
            kept = end_of(into, change[2])
            into |= dict.fromkeys(ends - {kept}, kept)
        claimed |= dict.fromkeys(ends, family)
    return frozenset(astray), renamed


def _homes(
    facts: Iterable[Fact],
    groups: Iterable[list[str]],
    numbers: Mapping[str, str],
    astray: Container[str],
) -> tuple[dict[str, str], dict[str, str]]:
    """Whose each visit and each account is, see `Parting`.

    A visit or an account is the patient's who is first heard to have it, until it is
    moved (A45, A44). With an account go the visits that were last said to be under it.

    Args:
        facts: each once, in the order they were recorded.
        groups: identities of each person.
        numbers: visit numbers that lead to others.
        astray: ids of facts whose visit is a stranger's.
    """
    person_of = {identity: n for n, group in enumerate(groups) for identity in group}
    told = list(facts)
    under: dict[str, str] = {}
    for fact in told:
        if fact.visit is None or fact.id in astray:
            continue
        if (account := account_of(fact)) is not None:
            under[numbers.get(fact.visit, fact.visit)] = account
    homes: dict[str, str] = {}
    accounts: dict[str, str] = {}
    left: set[tuple[str, int]] = set()
    for fact in told:
        identity, end = fact.identity, other_end(fact)
        account = moved_account(fact)
        if account is not None and end is not None:
            accounts[account] = identity
            left.add((account, person_of[end]))
            left.discard((account, person_of[identity]))
            for key, home in homes.items():
                if under.get(key) == account and person_of[home] == person_of[end]:
                    homes[key] = identity
        if (own := account_of(fact)) is not None:
            accounts.setdefault(own, identity)
        for one in fact.person:
            if one.type == ACCOUNT:  # that of MRG-3 is whose number MRG-1 is
                accounts.setdefault(one.id, end or identity)
        if fact.visit is None or fact.id in astray:
            continue
        key = numbers.get(fact.visit, fact.visit)
        if edge_kind(fact) == "visit":
            homes[key] = identity
        elif key not in homes:
            gone = (under.get(key, ""), person_of[identity]) in left
            homes[key] = accounts[under[key]] if gone else identity
    return homes, accounts


def account_of(fact: Fact) -> str | None:
    """Id of the Account that a message names (PID-18), None where it names none."""
    return next((one.id for one in fact.person if one.type == ACCOUNT), None)


def moved_account(fact: Fact) -> str | None:
    """Id of the Account that an A44 moves here: MRG-3, else PID-18; None for others."""
    if fact.event != MOVES_ACCOUNT:
        return None
    number = fact.details.get("prior_account")
    return account_of(fact) if number is None else stable_id(ACCOUNT, number)


def parts(fact: Fact) -> bool:
    """Whether a fact may part its identity from another one, or take a visit from it."""
    return edge_kind(fact) in ("unlink", "unmerge", "move", "visit") and other_end(fact) is not None


def at_home(fact: Fact, group: Iterable[str], home: str) -> Fact:
    """A fact about a visit as one about the patient whose visit it is.

    Args:
        group: identities of the person whose visit it is. home: the visit's own.
    """
    return fact if fact.identity in group else replace(fact, identity=home)
