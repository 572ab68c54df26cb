"""Facts into charts: the newest one extends a state, any other folds it anew.

Both give the same; folding anew only has to read the facts again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from segue.care.assemble import person_resources, visit_resources
from segue.care.coordinate import episodes_of
from segue.care.fold import (
    NO_TARGET,
    OPEN_DISCHARGE,
    OTHER_PLACE,
    extend_visit,
    fold_visit,
)
from segue.care.identity import joined_by
from segue.care.person import (
    carry_over,
    extend_person,
    fold_person,
    note_visit,
    open_sources,
    placements,
)
from segue.care.person_view import looks_the_same
from segue.care.states import PersonState, VisitState
from segue.model.facts import Fact
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.pipeline.charts import Chart
from segue.pipeline.compare import Resource, key_of, parse_key
from segue.pipeline.facts import unpack_person, unpack_stay
from segue.pipeline.record import Recorder
from segue.pipeline.transact import Draft
from segue.store.records import FactRow

UNPLACED = Issue(
    "error",
    "visit-unidentified",
    "PV1-19",
    "no visit number, and the patient has not exactly one open visit at this site; "
    "the visit part waits for a message that settles it",
)


DOUBTS: dict[str, tuple[str, str]] = {
    OPEN_DISCHARGE: (
        "PV1-45",
        "a discharge time, but no discharge was sent: the visit stays open",
    ),
    NO_TARGET: ("EVN-1", "what this cancels has not been heard of; it waits for that"),
    OTHER_PLACE: (
        "PV1-3",
        "the place after this cancelled transfer is not the one before it: what is stated counts",
    ),
}
"""Where a message is in doubt to the fold: warning code to (field, what is made of it)."""


@dataclass(slots=True)
class Affected:
    """What of a person may be different after facts were added.

    Attributes:
        before: the person's state; None where anything of it may be different.
        visits: keys of visits that were folded, with the state before.
        whole: who the person is may have changed, so anything may have.
        settled: ids of facts without a visit number that found their visit now.
    """

    chart: Chart
    before: PersonState | None = None
    visits: dict[str, VisitState | None] = field(default_factory=dict)
    whole: bool = False
    issues: list[Issue] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    def and_also(self, other: "Affected") -> "Affected":
        """Both, of the same person; this one came first."""
        return Affected(
            other.chart,
            self.before,
            other.visits | self.visits,
            self.whole or other.whole,
            self.issues + other.issues,
            self.settled | other.settled,
        )


def doubts(chart: Chart, facts: Iterable[Fact]) -> list[Issue]:
    """What the fold of the visits has to remark on these facts."""
    ids = {fact.id for fact in facts}
    return [
        Issue("warning", code, *DOUBTS[code])
        for visit in chart.visits.values()
        for code, fact in visit.warnings
        if fact in ids
    ]


def identities_of(facts: Iterable[Fact]) -> list[str]:
    """All identities whose persons these facts may touch."""
    found: dict[str, None] = {}
    for fact in facts:
        found[fact.identity] = None
        for link in fact.links:
            found[link] = None
        if fact.prior:
            found[fact.prior] = None
    return list(found)


def add_fact(draft: Draft, fact: Fact) -> Affected:
    """Add one fact to the person that it is about.

    The persons behind all of `identities_of` must be loaded. Persons that the fact
    shows to be one are merged; a person nobody has heard of is made.
    """
    rank = draft.hub.setting.rank
    joined = joined_by(fact)
    charts: dict[int, Chart] = {}
    for identity in joined:
        found = draft.person(identity)
        if found is not None:
            charts[found.pk] = found
    merged = len(charts) > 1
    chart = charts[min(charts)] if charts else draft.create(fact.identity)
    affected = Affected(chart, chart.person if chart.revision else None, whole=merged)
    if merged:
        for pk, other in charts.items():
            if pk != chart.pk:
                states = [chart.person, other.person]
                draft.absorb(chart, other)
                chart.person = carry_over(states[0], states[1:])
    draft.claim(chart, joined)
    draft.fresh.setdefault(fact.identity, []).append(fact)
    chart.touched = True
    before = chart.person
    facts = _Facts(draft, chart)
    person = None if merged else extend_person(before, fact, rank)
    if person is None:
        person = facts.person(rank)
        affected.whole = affected.whole or _who(before) != _who(person)
    if fact.about_visit and fact.visit is not None:
        person = _visit(chart, person, fact, facts, affected)
    chart.person = person
    if person.loose:
        _place(chart, facts, affected)
        if fact.id in person.loose and placements(person)[fact.id] is None:
            affected.issues.append(UNPLACED)
    return affected


def refold(draft: Draft, chart: Chart) -> Affected:
    """Fold all facts of a person anew."""
    facts = _Facts(draft, chart)
    person = facts.person(draft.hub.setting.rank)
    keys = facts.visit_keys()
    for key in chart.visits.keys() - keys:
        del chart.visits[key]
        chart.gone.add(key)
    for key in keys:
        chart.visits[key] = facts.visit(key, ())
        chart.changed.add(key)
        person = note_visit(person, chart.visits[key])
    chart.person = person
    chart.touched = True
    affected = Affected(chart, None, dict.fromkeys(keys), whole=True)
    if person.loose:
        _place(chart, facts, affected)
    return affected


def project(recorder: Recorder, affected: Affected) -> bool:
    """Write what the fold yields of the affected person and visits, where it differs.

    Returns:
        Whether anything changed that protocols might see.
    """
    chart, setting = affected.chart, recorder.hub.setting
    person, before = chart.person, affected.before
    names = None if affected.whole or before is None else news(before, person)
    stirred = names is None or bool(names)
    wanted: list[Resource] = []
    sources: dict[ResourceKey, frozenset[str]] = {}
    if stirred:
        wanted = person_resources(person, names)
        patient = frozenset([told.site for _, told in open_sources(person)])
        for resource in wanted:
            key = key_of(resource)
            sources[key] = patient if key.type == "Patient" else _tellers(person, key)
    visits = dict.fromkeys(chart.visits) if affected.whole else affected.visits
    stirred = stirred or any(
        old is None or not looks_the_same(old, chart.visits[name]) for name, old in visits.items()
    )
    belongs = chart.episodes
    if stirred or belongs is None:
        belongs = episodes_of(chart.view(setting), setting)
    for name in sorted(visits):
        old, visit = visits[name], chart.visits[name]
        site = frozenset((visit.site,))
        told = visit if old is None else _only_news(old, visit)
        for resource in visit_resources(person, told, belongs.get(name)):
            wanted.append(resource)
            sources[key_of(resource)] = site
        if chart.episodes is not None and chart.episodes.get(name) != belongs.get(name):
            chart.episodes = {**chart.episodes, name: belongs[name]} if name in belongs else None
    recorder.hub.stages.end("fold")
    recorder.put(chart, wanted, sources)
    if names:
        withdrawn = [parse_key(name) for name in names if name != "Patient"]
        recorder.retire(chart, [key for key in withdrawn if key not in sources])
    if affected.whole:
        kept = {*sources, *(parse_key(reference) for reference in chart.margin.care)}
        recorder.retire(chart, chart.heads.keys() - kept)
        recorder.revive(chart, sources)
    return stirred


def regroup(recorder: Recorder, chart: Chart) -> None:
    """Let the Encounters name the episodes that their visits belong to now.

    A visit may come to belong to another stay without a word about itself: when one
    before it is cancelled, or an earlier one is heard of.
    """
    setting = recorder.hub.setting
    belongs = episodes_of(chart.view(setting), setting)
    known, chart.episodes = chart.episodes, belongs
    wanted: list[Resource] = []
    sources: dict[ResourceKey, frozenset[str]] = {}
    for name, visit in chart.visits.items():
        episode = belongs.get(name)
        if known is None or known.get(name) != episode:
            for encounter in visit_resources(chart.person, _only_news(visit, visit), episode):
                wanted.append(encounter)
                sources[key_of(encounter)] = frozenset((visit.site,))
    if wanted:
        recorder.put(chart, wanted, sources)


def _only_news(old: VisitState, visit: VisitState) -> VisitState:
    """The visit without those other resources of it that are as before."""
    if old.encounter != visit.encounter or old.labels != visit.labels or not visit.others:
        return visit
    known = old.others
    if all(known.get(name) is made for name, made in visit.others.items()):
        others = {}
    else:
        others = {name: made for name, made in visit.others.items() if known.get(name) is not made}
        if len(others) == len(visit.others):
            return visit
    new = visit.copy()
    new.others = others
    return new


def news(before: PersonState, after: PersonState) -> set[str] | None:
    """Which resources of a person may be different in a later state; None: any of them.

    A statement that says nothing new leaves the lists of groups what they are, so that
    mostly it is enough to look whether they are the same lists.
    """
    if (
        before.sources.keys() != after.sources.keys()
        or before.edges != after.edges
        or _who(before) != _who(after)
    ):
        return None
    names: set[str] = set()
    for name, told in after.sources.items():
        old = before.sources[name]
        if told is old:
            continue
        for one, groups in told.resources.items():
            known = old.resources.get(one)
            if groups is not known and groups != known:
                names.add(one)
        if after.deaths and told.cleared != old.cleared:
            names.add("Patient")
    if (
        before.patients != after.patients
        or before.deleted != after.deleted
        or len(before.deaths) != len(after.deaths)
        or (before.visits is not after.visits and _ends(before) != _ends(after))
    ):
        names.add("Patient")
    return names


def _ends(person: PersonState) -> list[tuple[object, ...]]:
    """What of the visits bears on whether and when the person died."""
    return [
        (key, one.died, one.struck)
        for key, one in person.visits.items()
        if one.died is not None or one.struck
    ]


def _tellers(person: PersonState, key: ResourceKey) -> frozenset[str]:
    name = key.reference
    return frozenset(told.site for told in person.sources.values() if name in told.resources)


def _who(person: PersonState) -> tuple[object, ...]:
    return (person.key, person.patient, person.replaced, list(person.patients))


def _visit(
    chart: Chart, person: PersonState, fact: Fact, facts: "_Facts", affected: Affected
) -> PersonState:
    key = fact.visit
    assert key is not None
    state = chart.visits.get(key)
    new: VisitState | None
    if state is None and not facts.may_know(key):
        new = fold_visit([fact])
    else:
        new = None if state is None else extend_visit(state, fact)
        if new is None:
            new = facts.visit(key, state.loose if state else ())
    if state is not None and (
        state.others.keys() - new.others.keys() or (state.status and not new.status)
    ):
        affected.whole = True
    chart.visits[key] = new
    chart.changed.add(key)
    affected.visits.setdefault(key, state)
    return note_visit(person, new)


def _place(chart: Chart, facts: "_Facts", affected: Affected) -> None:
    """Let facts without a visit number count where they belong now."""
    for _ in range(len(chart.visits) + 1):
        wanted: dict[str, set[str]] = {}
        for fact, key in placements(chart.person).items():
            if key is not None:
                wanted.setdefault(key, set()).add(fact)
        moved = [
            key for key, state in chart.visits.items() if set(state.loose) != wanted.get(key, set())
        ]
        if not moved:
            return
        for key in moved:
            affected.settled |= wanted.get(key, set()) - set(chart.visits[key].loose)
            state = facts.visit(key, wanted.get(key, ()))
            chart.visits[key] = state
            chart.changed.add(key)
            affected.visits[key] = None
            affected.whole = True
            chart.person = note_visit(chart.person, state)


class _Facts:
    """The facts of a person, read only if they are asked for."""

    def __init__(self, draft: Draft, chart: Chart) -> None:
        self._draft = draft
        self._chart = chart
        self._rows: list[FactRow] | None = None

    def rows(self) -> list[FactRow]:
        """Stored facts; without those that this draft replaces."""
        if self._rows is None:
            chart, draft = self._chart, self._draft
            self._rows = []
            if chart.revision or chart.margin.absorbed:
                void = draft.replaced
                self._rows = [
                    row
                    for row in draft.reader.facts_of(chart.identities)
                    if row.entry not in void and row.kind in {"message", "statement"}
                ]
        return self._rows

    def fresh(self) -> list[Fact]:
        """Facts of this draft."""
        fresh = self._draft.fresh
        return [fact for identity in self._chart.identities for fact in fresh.get(identity, ())]

    def person(self, rank: Sequence[str]) -> PersonState:
        """The person folded anew; what protocols see beside the fold stays."""
        kept = self._chart.person
        facts = [*map(unpack_person, self.rows()), *self.fresh()]
        return carry_over(fold_person(facts, rank, self._chart.visits.values()), [kept])

    def visit(self, key: str, loose: Iterable[str]) -> VisitState:
        """One visit folded anew, with these of the facts that have no visit number."""
        also = set(loose)
        facts = [
            fact
            for row in self.rows()
            if row.visit == key or row.id in also
            if (fact := unpack_stay(row)) is not None
        ]
        facts += [fact for fact in self.fresh() if fact.visit == key or fact.id in also]
        return fold_visit(facts)

    def may_know(self, key: str) -> bool:
        """Whether facts of a visit may be stored though its state is not."""
        return any(fact.visit == key for fact in self.fresh()[:-1])

    def visit_keys(self) -> set[str]:
        """Keys of all visits that the facts speak of."""
        keys = {row.visit for row in self.rows() if row.visit}
        return keys | {fact.visit for fact in self.fresh() if fact.visit and fact.about_visit}
