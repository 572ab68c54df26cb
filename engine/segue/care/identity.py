"""Who is who: identities that name one person, merges, and who survives them.

An identity is `authority|value`. A message that gives several identities to its
patient links them; a merge (A40 and its kin) names the one that goes; an unmerge, an
unlink or a move takes back what was recorded before it. Nothing here depends on the
order of arrival: edges are taken in the order in which they were recorded.
"""

from collections.abc import Iterable, Mapping, Sequence

from segue.care.states import Edge, PersonState, SourcePatient
from segue.model.events import EVENTS
from segue.model.facts import Fact

UNMERGE = "unmerge"
"""Event of a steward's fact: its identity and the one in `prior` are two persons."""
LINK = "link"
"""Event of a steward's fact: its identity and the one in `prior` are one person."""

DECISIONS = frozenset({UNMERGE, LINK})
"""Events of facts that say who is who and nothing else."""

MERGE_CYCLE = "merge-cycle"
"""Warning: a merge would lead back to the one that goes; its direction is refused."""
MERGE_REVERSED = "merge-reversed"
"""Warning: a merge turns an earlier one round; the later one holds."""

_KINDS = {
    "merge": "merge",
    "change": "change",
    "link": "link",
    "unlink": "unlink",
    "move": "move",
}
_PARTS = frozenset({"unlink", "unmerge"})
JOINS = frozenset({"merge", "change", "link", "move"})
"""Kinds of edges that make two identities one person."""
PRIOR_IDENTITY = "prior_identity"
"""Key of `Fact.details`: MRG-1 of what moves something, or the other PID of a link."""
_MOVES_IDENTIFIER = "A43"

Pair = frozenset[str]


def edge_kind(fact: Fact) -> str | None:
    """How a fact joins or parts identities; None where it does neither.

    `merge`, `change`, `link` and `move` join; `unlink` and `unmerge` part; `visit` only
    moves a visit (or an account) from one person to another.
    """
    if fact.event in DECISIONS:
        return fact.event
    row = EVENTS.get(fact.event)
    kind = _KINDS.get(row.effect) if row is not None else None
    if kind == "unlink" and fact.details.get("unmerges"):
        return "unmerge"
    if kind == "move":
        if fact.event != _MOVES_IDENTIFIER:
            return "visit"
        # The same number, moved from one enterprise number to another.
        return "unmerge" if fact.details.get("moved") == fact.identity else "move"
    return kind


def other_end(fact: Fact) -> str | None:
    """The identity that an edge leads to from the fact's own: MRG-1 or the other PID."""
    end: str | None = fact.prior or fact.details.get(PRIOR_IDENTITY)
    return end if end != fact.identity else None


def joined_by(fact: Fact) -> list[str]:
    """All identities that must belong to one person for this fact to be true, sorted.

    The persons that hold them become one; see `segue.care.person.fold_person`.
    """
    kind = edge_kind(fact)
    if kind == "unlink" or fact.event == UNMERGE:
        return [fact.identity]
    joined = {fact.identity, *fact.links}
    if kind in JOINS and (end := other_end(fact)) is not None:
        joined.add(end)
    return sorted(joined)


def standing(edges: Iterable[Edge]) -> list[Edge]:
    """The edges that join and are in force.

    Args:
        edges: in the order they were recorded. An unmerge takes back all that joined
            the same two before it; an unlink (A37) only their links (A24); a move all
            that joined the identity that is moved.
    """
    kept: list[Edge] = []
    for edge in edges:
        pair = _pair_of(edge)
        if edge.kind == "unlink":
            kept = [e for e in kept if e.kind != "link" or _pair_of(e) != pair]
        elif edge.kind == "unmerge":
            kept = [e for e in kept if _pair_of(e) != pair]
        elif edge.kind == "move":
            kept = [*(e for e in kept if edge.gone not in (e.gone, e.kept)), edge]
        elif edge.kind in JOINS:
            kept.append(edge)
    return kept


def parted(edges: Iterable[Edge]) -> set[Pair]:
    """Pairs of identities that are known not to be one person.

    An identifier that both have (an enterprise number given while they were taken for
    one) does not make them one again; only a later edge between the two does.
    """
    apart: set[Pair] = set()
    joined: list[Edge] = []
    for edge in edges:
        pair = _pair_of(edge)
        if edge.kind == "unmerge":
            apart.add(pair)
        elif edge.kind == "move":
            apart |= {_pair_of(e) for e in joined if edge.gone in (e.gone, e.kept)}
        if edge.kind in JOINS:
            apart.discard(pair)
            joined.append(edge)
    return apart


def _pair_of(edge: Edge) -> Pair:
    return frozenset((edge.gone, edge.kept))


def components(
    links: Iterable[tuple[str, str]], edges: Sequence[Edge], identities: Iterable[str] = ()
) -> list[list[str]]:
    """Group identities into persons.

    Args:
        links: pairs that one message gave to the same patient.
        edges: in the order they were recorded; see `standing` and `parted`.
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
    for edge in edges:
        find(edge.gone), find(edge.kept)
    for edge in standing(edges):
        leader[find(edge.gone)] = find(edge.kept)
    apart = [tuple(sorted(pair)) for pair in parted(edges) if len(pair) > 1]
    for first, second in links:
        one, two = find(first), find(second)
        if one != two and not any({find(a), find(b)} == {one, two} for a, b in apart):
            leader[one] = two
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
    in_force = standing(edges)
    changed, _ = _redirect((e.kept, e.gone, e.fact) for e in in_force if e.kind == "change")
    merged, _ = _redirect(_merges(in_force, changed))
    remain = [identity for identity in patients if identity not in changed]
    roots = [identity for identity in remain if identity not in merged]
    order = {authority: n for n, authority in enumerate(rank)}
    survivor = min(
        roots or remain or patients,
        key=lambda identity: (
            order.get(identity.partition("|")[0], len(order)),
            patients[identity].first,
            identity,
        ),
    )
    return survivor, {identity: survivor for identity in sorted(remain) if identity != survivor}


def doubtful(edges: Sequence[Edge]) -> list[tuple[str, str]]:
    """(code, fact) of merges that are against earlier ones, see `MERGE_CYCLE`."""
    in_force = standing(edges)
    changed, found = _redirect((e.kept, e.gone, e.fact) for e in in_force if e.kind == "change")
    return sorted([*found, *_redirect(_merges(in_force, changed))[1]])


def _merges(edges: Iterable[Edge], changed: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    for edge in edges:
        if edge.kind in ("merge", "move"):
            yield _end(changed, edge.gone), _end(changed, edge.kept), edge.fact


def _redirect(
    merges: Iterable[tuple[str, str, str]],
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Follow (gone, kept, fact) in order; nobody is led back to where he came from.

    A later merge against an earlier one of the same two turns it round; one that would
    close a longer circle is refused.
    """
    into: dict[str, str] = {}
    doubts: list[tuple[str, str]] = []
    for gone, kept, fact in merges:
        if gone == kept:
            continue
        if into.get(kept) == gone:
            del into[kept]
            doubts.append((MERGE_REVERSED, fact))
        elif _end(into, kept) == _end(into, gone) and gone in _path(into, kept):
            doubts.append((MERGE_CYCLE, fact))
            continue
        into[gone] = kept
    return into, doubts


def _path(into: Mapping[str, str], identity: str) -> list[str]:
    path = [identity]
    while path[-1] in into:
        path.append(into[path[-1]])
    return path


def _end(into: Mapping[str, str], identity: str) -> str:
    return _path(into, identity)[-1]
