"""Who is who: identities that name one person, merges, and who survives them.

An identity is `authority|value`. A message that gives several identities to its
patient links them; a merge (A40 and its kin) names the one that goes. Nothing here
depends on the order of arrival: the directions of merges are taken in the order they
were recorded, and the later of two opposite ones holds.
"""

from collections.abc import Iterable, Mapping, Sequence

from segue.care.states import Edge, PersonState, SourcePatient
from segue.model.events import EVENTS
from segue.model.facts import Fact

_JOINS = {"merge": "merge", "change": "change", "link": "link", "unlink": "unlink"}


def edge_kind(event: str) -> str | None:
    """Whether an event joins or parts identities: `merge`, `change`, `link`, `unlink`."""
    row = EVENTS.get(event)
    return _JOINS.get(row.effect) if row is not None else None


def joined_by(fact: Fact) -> list[str]:
    """All identities that must belong to one person for this fact to be true, sorted.

    The persons that hold them become one; see `segue.care.person.fold_person`.
    """
    kind = edge_kind(fact.event)
    if kind == "unlink":
        return [fact.identity]
    joined = {fact.identity, *fact.links}
    if kind is not None and fact.prior:
        joined.add(fact.prior)
    return sorted(joined)


def components(
    links: Iterable[tuple[str, str]], edges: Iterable[Edge], identities: Iterable[str] = ()
) -> list[list[str]]:
    """Group identities into persons.

    Args:
        links: pairs that one message gave to the same patient.
        edges: in the order they were recorded; an unlink (A37) undoes the links (A24)
            between the same two that were recorded before it, and nothing else.
        identities: those that may stand alone.

    Returns:
        Sorted lists of identities, sorted.

    >>> components([("A|1", "X|9"), ("B|2", "X|9")], [], ["C|3"])
    [['A|1', 'B|2', 'X|9'], ['C|3']]
    """
    leader: dict[str, str] = {}

    def find(identity: str) -> str:
        while (above := leader.setdefault(identity, identity)) != identity:
            leader[identity] = leader[above]
            identity = above
        return identity

    for identity in identities:
        find(identity)
    linked: set[frozenset[str]] = set()
    for edge in edges:
        pair = frozenset((edge.gone, edge.kept))
        if edge.kind == "link":
            linked.add(pair)
        elif edge.kind == "unlink":
            linked.discard(pair)
        else:
            leader[find(edge.gone)] = find(edge.kept)
    for first, second in (*links, *(tuple(sorted(pair)) for pair in linked)):
        leader[find(first)] = find(second)
    groups: dict[str, list[str]] = {}
    for identity in sorted(leader):
        groups.setdefault(find(identity), []).append(identity)
    return sorted(groups.values())


def persons(state: PersonState) -> list[list[str]]:
    """The groups of identities that a person's facts hold together.

    More than one means that the person must be split: each group is folded from the
    facts whose `identity` is in it.
    """
    return components(state.links, state.edges, state.identities)


def survivors(
    patients: Mapping[str, SourcePatient], edges: Sequence[Edge], rank: Sequence[str] = ()
) -> tuple[str, dict[str, str]]:
    """Choose the identity whose Patient stands for the person.

    The direction of the merges decides; between what they leave, the authority's rank,
    then the identity heard of first, then the key. An identifier that was changed
    (A46, A47) keeps its Patient: the first one it had.

    Args:
        patients: the person's source identities.
        edges: in the order they were recorded.
        rank: authorities, highest first.

    Returns:
        The survivor, and each replaced identity with the survivor that replaced it.
        Identities that are another one's new number are in neither.
    """
    changed = _redirect((edge.kept, edge.gone) for edge in edges if edge.kind == "change")
    merged = _redirect(
        (_end(changed, edge.gone), _end(changed, edge.kept))
        for edge in edges
        if edge.kind == "merge"
    )
    standing = [identity for identity in patients if identity not in changed]
    roots = [identity for identity in standing if identity not in merged]
    order = {authority: n for n, authority in enumerate(rank)}
    survivor = min(
        roots or standing or patients,
        key=lambda identity: (
            order.get(identity.partition("|")[0], len(order)),
            patients[identity].first,
            identity,
        ),
    )
    return survivor, {identity: survivor for identity in sorted(standing) if identity != survivor}


def _redirect(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Follow (gone, kept) in order; a later pair against an earlier one turns it round."""
    into: dict[str, str] = {}
    for gone, kept in pairs:
        if gone == kept:
            continue
        at = kept
        while at in into:
            if into[at] == gone:
                del into[at]
                break
            at = into[at]
        into[gone] = kept
    return into


def _end(into: Mapping[str, str], identity: str) -> str:
    while identity in into:
        identity = into[identity]
    return identity
