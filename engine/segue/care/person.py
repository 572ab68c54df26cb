"""The fold of a person: identities, demographics, death, and an index of the visits.

`fold_person` takes the person part of all facts, `extend_person` adds the newest one.
The visits' own states are folded apart (`segue.care.fold`); the person keeps a summary
of each, from which visits without a number find their place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from segue.care.cancels import is_cancel
from segue.care.dates import moment_of
from segue.care.dispositions import meaning
from segue.care.identity import DECISIONS, edge_kind, other_end, standing, survivors
from segue.care.listed import LISTED, forget_references, relist
from segue.care.numbers import renamed_by
from segue.care.order import rank_of, recorded_key
from segue.care.registers import resolve, state_elements
from segue.care.states import (
    Death,
    Edge,
    PersonState,
    SourcePatient,
    Stamp,
    Told,
    VisitState,
    VisitSummary,
)
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id
from segue.model.instants import Moment

PRACTICE = "@practice"
"""Register path of the ongoing care provider's id (PD1-3, PD1-4): no FHIR element."""

_DEATH_PATHS = frozenset({"deceasedBoolean", "deceasedDateTime"})


def fold_person(
    facts: Iterable[Fact], rank: Sequence[str] = (), visits: Iterable[VisitState] = ()
) -> PersonState:
    """Fold the person part of all facts of one person.

    Args:
        facts: in any order, also repeatedly; `stay` may be left out of them.
        rank: authorities, highest first.
        visits: the folded visits of the person.
    """
    person = PersonState()
    known = {fact.id: fact for fact in facts}
    for fact in sorted(known.values(), key=recorded_key):
        _take(person, fact)
    for visit in visits:
        if visit.status:
            person.visits[visit.key] = summary(visit)
    person.visits = dict(sorted(person.visits.items()))
    _settle(person, rank)
    return person


def extend_person(state: PersonState, fact: Fact, rank: Sequence[str] = ()) -> PersonState | None:
    """Add the newest recorded fact to a person.

    Returns:
        A new state, equal to `fold_person` of all facts; None where all must be folded
        (not the newest, or about who is who). The given state is not changed.
    """
    if (
        edge_kind(fact) is not None
        or renamed_by(fact) is not None
        or fact.event == "A29"
        or (fact.recorded.us, fact.sent.us) <= state.newest
        or not state.key
    ):
        return None
    new = state.copy()
    new.sources = dict(state.sources)
    new.deaths = state.deaths[:]
    source = source_of(fact)
    if (told := new.sources.get(source)) is not None:
        new.sources[source] = Told(
            told.site, told.labels, told.newest, dict(told.resources), told.cleared, told.listed
        )
    known = state.patients.get(fact.identity)
    new.patients = dict(state.patients)
    new.loose = dict(state.loose)
    if known is not None:
        new.patients[fact.identity] = SourcePatient(
            known.id, known.first, known.identifier, known.stated
        )
    links, identities = state.links, state.identities
    _take(new, fact)
    if (
        known is None
        or new.links != links
        or new.identities != identities
        or known.id != new.patients[fact.identity].id
    ):
        _settle(new, rank)
    return new


def carry_over(person: PersonState, states: Iterable[PersonState]) -> PersonState:
    """Give a freshly folded person the evidence, statements and receipts of others.

    Of a resource that is there in several versions the last one counts.
    """
    evidence = {item.reference: item for item in person.evidence}
    statements, receipts = list(person.statements), list(person.receipts)
    for state in states:
        for item in state.evidence:
            known = evidence.get(item.reference)
            if known is None or known.version < item.version:
                evidence[item.reference] = item
        statements += [s for s in state.statements if s not in statements]
        receipts += [r for r in state.receipts if r not in receipts]
    return replace(
        person,
        evidence=sorted(evidence.values(), key=lambda e: (e.recorded, e.reference)),
        statements=sorted(statements, key=lambda s: (s.recorded, s.task, s.source)),
        receipts=sorted(receipts, key=lambda r: (r.at, r.destination, r.reference, r.version)),
    )


def note_visit(person: PersonState, visit: VisitState) -> PersonState:
    """Enter a folded visit into the person's index; the given state is not changed."""
    if not visit.status:
        return person
    entry = summary(visit)
    if person.visits.get(visit.key) == entry:
        return person
    visits = {**person.visits, visit.key: entry}
    if visit.key not in person.visits:
        visits = dict(sorted(visits.items()))
    new = person.copy()
    new.visits = visits
    return new


def summary(visit: VisitState) -> VisitSummary:
    """What a person's state keeps of a visit."""
    died = visit.discharged and meaning(visit.disposition) == "expired"
    return VisitSummary(
        encounter=visit.encounter,
        site=visit.site,
        status=visit.status,
        window=visit.window,
        died=visit.end if died else None,
        struck=visit.struck,
        loose=visit.loose,
    )


def placements(person: PersonState) -> dict[str, str | None]:
    """Where each fact about a visit without a number belongs.

    That is the patient's only visit at the same site which was open when the fact
    occurred. None where there is none or more than one: it waits, and a later message
    may settle it.
    """
    placed: dict[str, str | None] = {}
    for fact, (site, at) in person.loose.items():
        open_then = [
            key
            for key, visit in person.visits.items()
            if visit.site == site
            and visit.window is not None
            and visit.window[0] <= at
            and (visit.window[1] == 0 or at <= visit.window[1])
        ]
        placed[fact] = open_then[0] if len(open_then) == 1 else None
    return placed


def deceased(person: PersonState) -> Moment | None:
    """When the person died, `Moment("", 0)` where only that is known, None while alive."""
    return death(person)[0]


def death(person: PersonState) -> tuple[Moment | None, int | None]:
    """When the person died (see `deceased`), and the µs at which that was first recorded.

    The second is None where nobody died, or where only a discharge says so.

    Death is stated by any source and taken back only by that source, or by a cancel of
    the event that stated it.
    """
    if not person.deaths:
        ends = [visit.died for visit in person.visits.values() if visit.died is not None]
        return (max(ends, key=lambda end: end.us), None) if ends else (None, None)
    struck = {fact for visit in person.visits.values() for fact in visit.struck}
    cleared: dict[str, Stamp] = {}
    for told in person.sources.values():
        if told.cleared is not None:
            cleared[told.site] = max(told.cleared, cleared.get(told.site, told.cleared))
    taken_back = {said.site for said in person.deaths if said.fact in struck}
    dated: tuple[Stamp, Moment] | None = None
    recorded: int | None = None
    for said in person.deaths:
        if said.fact in struck or (said.cancel and said.site in taken_back):
            continue
        if said.site in cleared and cleared[said.site] >= said.stamp:
            continue
        recorded = said.stamp[0] if recorded is None else min(recorded, said.stamp[0])
        if said.at is not None and (dated is None or dated[0] <= said.stamp):
            dated = (said.stamp, said.at)
    if dated is not None:
        return dated[1], recorded
    ends = [visit.died for visit in person.visits.values() if visit.died is not None]
    if ends:
        return max(ends, key=lambda end: end.us), recorded
    return (None, None) if recorded is None else (Moment("", 0), recorded)


def source_of(fact: Fact) -> str:
    """The name under which a person's state keeps what a fact's source says."""
    return f"{fact.site}#{','.join(sorted(fact.labels))}" if fact.labels else fact.site


def open_sources(person: PersonState) -> list[tuple[str, Told]]:
    """The sources that what everybody may see is made of.

    Statements under a security label count only where there are no others: who must
    not see a stay must not see an address that was learned in it.
    """
    open_ones = [(name, told) for name, told in person.sources.items() if not told.labels]
    return open_ones or list(person.sources.items())


def practice(person: PersonState) -> list[tuple[str, str]]:
    """(site, id) of the ongoing care provider, the one that holds first."""
    found = []
    for name, told in open_sources(person):
        for stamp, group in told.resources.get("Patient", ()):
            if group.get(PRACTICE):
                found.append((stamp, name, told.site, group[PRACTICE]))
    return [(site, number) for _, _, site, number in sorted(found, reverse=True)]


def _take(person: PersonState, fact: Fact) -> None:
    """Add one fact, recorded after all others so far."""
    stamp: Stamp = (fact.recorded.us, fact.sent.us, rank_of(fact.event))
    if fact.event in DECISIONS:
        # A steward's word about who is who states nothing else.
        person.newest = (fact.recorded.us, fact.sent.us)
        _know(person, fact, stamp)
        return
    source = source_of(fact)
    told = person.sources.get(source)
    if told is None:
        told = person.sources[source] = Told(fact.site, sorted(fact.labels))
    told.newest = person.newest = (fact.recorded.us, fact.sent.us)
    _know(person, fact, stamp)
    if fact.about_visit and fact.visit is None:
        person.loose[fact.id] = (fact.site, fact.occurred.us)
    _tell_death(person, told, fact, stamp)
    for fragment in fact.person:
        if fragment.type != "Patient":
            state_elements(told, f"{fragment.type}/{fragment.id}", stamp, fragment.elements)
            continue
        elements = fragment.elements
        if not _DEATH_PATHS.isdisjoint(elements):
            # Death is no element like others: it sticks (`deceased`). A denial may show.
            elements = {
                path: value
                for path, value in elements.items()
                if path not in _DEATH_PATHS or value is False
            }
        if "practice" in fact.details:
            elements = {**elements, PRACTICE: fact.details["practice"] or None}
        state_elements(told, "Patient", stamp, elements)
    if LISTED in fact.details:
        _relist(told, fact)


def _relist(told: Told, fact: Fact) -> None:
    """Withdraw what the source lists no more; another source may still speak of it."""
    told.listed, gone = relist(told.listed, fact.identity, fact, told.resources)
    for reference in gone:
        told.resources.pop(reference, None)
    if gone:
        for name, groups in told.resources.items():
            kept = [(stamp, dict(group)) for stamp, group in groups]
            for _, group in kept:
                forget_references(group, gone)
            if kept != groups:
                told.resources[name] = [one for one in kept if one[1]]


def _know(person: PersonState, fact: Fact, stamp: Stamp) -> None:
    """Keep who the fact is about and whom it joins."""
    identity = fact.identity
    own = next((f for f in fact.person if f.type == "Patient"), None)
    stated = fact.event == "statement"
    known = person.patients.get(identity)
    if known is None:
        known = SourcePatient(stable_id("Patient", identity), fact.recorded.us)
        person.patients = dict(sorted([*person.patients.items(), (identity, known)]))
    known.first = min(known.first, fact.recorded.us)
    if own is not None:
        if own.id and (stated or not known.stated):
            known.id = own.id
            known.stated = known.stated or stated
        known.identifier = _own_identifier(own, identity) or known.identifier
    kind, end = edge_kind(fact), other_end(fact)
    others = [other for other in fact.links if other != identity] if kind != "unlink" else []
    new = [pair for o in others if (pair := _pair(identity, o)) not in person.links]
    if new:
        person.links = sorted([*person.links, *new])
    if kind is not None and end is not None:
        person.edges = [*person.edges, Edge(stamp, kind, end, identity, fact.id)]
    named = {identity, *others}
    if not named <= set(person.identities):
        person.identities = sorted({*person.identities, *named})
    if (change := renamed_by(fact)) is not None and change not in person.renamed:
        person.renamed = sorted([*person.renamed, change])
    if fact.event == "A29":
        person.deleted = sorted({*person.deleted, identity})
    elif identity in person.deleted and fact.event == "A28":
        person.deleted = [other for other in person.deleted if other != identity]


def _pair(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first < second else (second, first)


def _own_identifier(patient: Fragment, identity: str) -> dict[str, Any] | None:
    """The Identifier in a Patient fragment that is this identity."""
    value = identity.partition("|")[2]
    for path, items in patient.elements.items():
        if items and (path == "identifier" or path.startswith("identifier#")):
            for item in items:
                if item.get("value") == value:
                    return dict(item)
    return None


def _tell_death(person: PersonState, told: Told, fact: Fact, stamp: Stamp) -> None:
    flag = fact.details.get("deceased")
    dead = flag == "Y"
    at: Moment | None = None
    for fragment in fact.person:
        if fragment.type == "Patient" and not _DEATH_PATHS.isdisjoint(fragment.elements):
            dead = dead or fragment.elements.get("deceasedBoolean") is True
            if text := fragment.elements.get("deceasedDateTime"):
                dead, at = True, moment_of(text)
            elif fragment.elements.get("deceasedBoolean") is False and flag is None:
                flag = "N"
    if dead:
        person.deaths.append(Death(fact.site, fact.id, stamp, at, is_cancel(fact.event)))
    elif flag is not None:
        told.cleared = stamp


def _settle(person: PersonState, rank: Sequence[str]) -> None:
    """Know those of whom only a merge has told, and choose the surviving Patient."""
    if not person.patients:
        return
    for edge in standing(person.edges):
        _joined(person, edge)
    person.key, person.replaced = survivors(person.patients, person.edges, rank)
    person.patient = person.patients[person.key].id


def _joined(person: PersonState, edge: Edge) -> None:
    if edge.kind != "link" and edge.gone not in person.patients:
        gone = SourcePatient(stable_id("Patient", edge.gone), edge.stamp[0])
        person.patients = dict(sorted([*person.patients.items(), (edge.gone, gone)]))
    if edge.gone not in person.identities:
        person.identities = sorted([*person.identities, edge.gone])


def person_elements(person: PersonState, resource: str) -> dict[str, Any]:
    """What holds of the person's Patient or of another resource, by element path."""
    return resolve(open_sources(person), resource)
