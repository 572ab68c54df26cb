"""Facts into charts: the newest one extends a state, any other folds it anew.

Both give the same; folding anew only has to read the facts again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from segue.care.assemble import person_resources, visit_resources
from segue.care.coordinate import episodes_of
from segue.care.doubts import DOUBTS
from segue.care.fold import AWAITS_START, NO_TARGET, extend_visit, fold_visit
from segue.care.identity import doubtful, joined_by, other_end, persons
from segue.care.movements import EFFECTS
from segue.care.numbers import NUMBER_CYCLE, refused, visits_named
from segue.care.parting import parts
from segue.care.person import (
    carry_over,
    extend_person,
    note_visit,
    open_sources,
    placements,
)
from segue.care.person_view import looks_the_same
from segue.care.states import PersonState, VisitState
from segue.model.events import UPDATES
from segue.model.facts import Fact
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.pipeline.charts import Chart
from segue.pipeline.compare import Resource, key_of, parse_key
from segue.pipeline.kin import Affected, place, settle
from segue.pipeline.recall import Recall, numbers_of
from segue.pipeline.record import Recorder
from segue.pipeline.shared import share
from segue.pipeline.transact import Disturbed, Draft

UNPLACED = Issue(
    "error",
    "visit-unidentified",
    "PV1-19",
    "no visit number, and the patient has not exactly one open visit at this site; "
    "the visit part waits for a message that settles it",
)

UNKNOWN = Issue(
    "error",
    "visit-unknown",
    "PV1-19",
    "no visit of this number is known, and updates of unknown visits are not taken here",
)

ASTRAY = Issue(
    "error",
    "visit-of-another",
    "PV1-19",
    "this visit number is another patient's; what is said of the visit waits for a message "
    "that merges the two or moves the visit",
)
NOWHERE = frozenset({UNPLACED.code, ASTRAY.code})
"""What is said of a visit that is not known, or that is another's."""
WAITING = NOWHERE | {AWAITS_START}
"""Errors that a later message may settle."""


def doubts(affected: Affected, facts: Iterable[Fact]) -> list[Issue]:
    """What the fold of person and visits has to remark on these facts."""
    ids = {fact.id for fact in facts}
    chart = affected.chart
    person = chart.person
    waiting: list[Issue] = []
    if person.loose and not ids.isdisjoint(person.loose):
        placed = placements(person)
        waiting = [UNPLACED for one in person.loose if one in ids and placed[one] is None]
    if affected.astray:
        waiting += [
            ASTRAY for f in facts if f.id in affected.astray and f.identity in chart.identities
        ]
    found = [one for visit in chart.visits.values() for one in visit.warnings]
    if person.edges:
        found += doubtful(person.edges)
    if person.renamed:
        found += [(NUMBER_CYCLE, fact) for fact in refused(person.renamed)]
    return waiting + [
        Issue("error" if code == AWAITS_START else "warning", code, *DOUBTS[code])
        for code, fact in found
        if fact in ids
    ]


def awaiting(charts: Iterable[Chart]) -> set[tuple[str, str]]:
    """(code, fact id) of what waits for the start of its visit, or for what it cancels."""
    return {
        doubt
        for chart in charts
        for visit in chart.visits.values()
        for doubt in visit.warnings
        if doubt[0] in (AWAITS_START, NO_TARGET)
    }


def is_unknown(draft: Draft, fact: Fact) -> bool:
    """Whether a fact is an update of a visit that nobody has spoken of."""
    if not fact.about_visit or fact.visit is None or EFFECTS.get(fact.event) not in UPDATES:
        return False
    charts = [found for one in fact.links if (found := draft.person(one)) is not None]
    for chart in charts:
        number = numbers_of(chart.person).get(fact.visit, fact.visit)
        if number in chart.visits and chart.visits[number].encounter:
            return False
    return True


def identities_of(facts: Iterable[Fact]) -> list[str]:
    """All identities whose persons these facts may touch."""
    found: dict[str, None] = {}
    for fact in facts:
        found[fact.identity] = None
        for link in fact.links:
            found[link] = None
        if (end := other_end(fact)) is not None:
            found[end] = None
    return list(found)


def add_fact(draft: Draft, fact: Fact) -> list[Affected]:
    """Add one fact to the person that it is about.

    The persons behind all of `identities_of` must be loaded. Persons that the fact
    shows to be one are merged, those that it parts are divided; a person nobody has
    heard of is made.

    Returns:
        The person that the fact is about first; others only where it parts persons or
        moves a visit between them.
    """
    rank = draft.hub.setting.rank
    joined = joined_by(fact)
    charts: dict[int, Chart] = {}
    for identity in joined:
        found = draft.person(identity)
        if found is not None:
            charts[found.pk] = found
    chart = charts[min(charts)] if charts else draft.create(fact.identity)
    draft.fresh.setdefault(fact.identity, []).append(fact)
    holders: dict[int, Chart] = {}
    if fact.about_visit and fact.visit is not None:
        holders = _holders(draft, fact, [chart, *charts.values()])
    if holders or parts(fact) or any(one.margin.kin for one in charts.values()):
        return _with_kin(draft, fact, [chart, *charts.values(), *holders.values()])
    merged = len(charts) > 1
    known = chart.revision or chart.person.key
    affected = Affected(chart, chart.person if known else None, whole=merged)
    if merged:
        for pk, other in charts.items():
            if pk != chart.pk:
                states = [chart.person, other.person]
                draft.absorb(chart, other)
                chart.person = carry_over(states[0], states[1:])
                affected.after.add(pk)
        affected.notice = "identity-merged"
    draft.claim(chart, joined)
    chart.touched = True
    before = chart.person
    facts = Recall.of(draft, chart)
    person = None if merged else extend_person(before, fact, rank)
    if person is None:
        person = facts.person(chart, rank)
        affected.whole = affected.whole or _who(before) != _who(person)
    if person.renamed:
        person = _renumber(chart, person, facts, affected)
    if fact.about_visit and fact.visit is not None:
        person = _visit(chart, person, fact, facts, affected)
    chart.person = person
    if person.loose:
        _place(chart, facts, affected)
    return [affected]


def _holders(draft: Draft, fact: Fact, own: Sequence[Chart]) -> dict[int, Chart]:
    """Others who have the visit of a fact that is new to its own person, by pk.

    Raises:
        Disturbed: they are being folded just now.
    """
    keys = {key for key in visits_named(fact) if not any(chart.has_number(key) for chart in own)}
    if not keys:
        return {}
    mine = {chart.pk for chart in own}
    found = {
        one.pk: one
        for one in draft.strangers(keys, [*draft.taken.values(), *draft.who_has("Encounter")])
        if one.pk not in mine and any(map(one.has_number, keys))
    }
    if found and draft.together:
        raise Disturbed
    return found


def note(known: dict[int, Affected], found: Iterable[Affected]) -> None:
    """Add what one more fact affected to what those before it did, by pk of the person."""
    for one in found:
        held = known.get(one.chart.pk)
        known[one.chart.pk] = one if held is None else held.and_also(one)


def _with_kin(draft: Draft, fact: Fact, charts: Iterable[Chart]) -> list[Affected]:
    affected = settle(draft, charts, [fact])
    own = next(one for one in affected if fact.identity in one.chart.identities)
    return [own, *(one for one in affected if one is not own)]


def refold(draft: Draft, chart: Chart) -> list[Affected]:
    """Fold all facts of a person anew; it may turn out to be several."""
    facts = Recall.of(draft, chart)
    person = facts.person(chart, draft.hub.setting.rank)
    if chart.margin.kin or len(persons(person)) > 1:
        return settle(draft, [chart])
    numbers = numbers_of(person)
    keys = facts.visit_keys(numbers)
    for key in chart.visits.keys() - keys:
        del chart.visits[key]
        chart.changed.discard(key)
        chart.gone.add((key, chart.pk))
    person.visits = {key: one for key, one in person.visits.items() if key in keys}
    for key in keys:
        chart.visits[key] = facts.visit(key, (), numbers)
        chart.changed.add(key)
        person = note_visit(person, chart.visits[key])
    chart.hold(numbers)
    chart.person = person
    chart.touched = True
    affected = Affected(chart, None, dict.fromkeys(keys), whole=True)
    if person.loose:
        _place(chart, facts, affected)
    return [affected]


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
        if shared := share(recorder, chart, names, wanted):
            wanted = [one for one in wanted if key_of(one).reference not in shared]
            sources |= dict.fromkeys(map(parse_key, shared), _NOBODY)
    visits = dict.fromkeys(chart.visits) if affected.whole else affected.visits
    stirred = stirred or any(
        old is None or not looks_the_same(old, chart.visits[name]) for name, old in visits.items()
    )
    belongs = chart.episodes
    unlisted: set[str] = set()
    if stirred or belongs is None:
        belongs = episodes_of(chart.view(setting), setting)
    for name in sorted(visits):
        old, visit = visits[name], chart.visits[name]
        site = frozenset((visit.site,))
        told = visit if old is None else _only_news(old, visit)
        if old is not None and old.listed is not visit.listed:
            unlisted |= old.others.keys() - visit.others.keys()
        for resource in visit_resources(person, told, belongs.get(name)):
            wanted.append(resource)
            sources[key_of(resource)] = site
        if chart.episodes is not None and chart.episodes.get(name) != belongs.get(name):
            chart.episodes = {**chart.episodes, name: belongs[name]} if name in belongs else None
    recorder.hub.stages.end("fold")
    _notify(recorder, affected, wanted)
    recorder.put(chart, wanted, sources)
    if names or unlisted:
        unlisted |= names or set()
        withdrawn = [parse_key(name) for name in unlisted if name != "Patient"]
        recorder.retire(chart, [key for key in withdrawn if key not in sources])
    if affected.whole:
        kept = {*sources, *(parse_key(reference) for reference in chart.margin.care)}
        recorder.retire(chart, chart.heads.keys() - kept)
        recorder.revive(chart, sources)
        if chart.margin.retired:
            recorder.mend(chart)
    return stirred


def _notify(recorder: Recorder, affected: Affected, wanted: Iterable[Resource]) -> None:
    """Note what recipients must be told of expressly: recalls, and who somebody is now."""
    chart = affected.chart
    for name, old in affected.visits.items():
        visit = chart.visits.get(name)
        if old is None or visit is None or old.status == visit.status:
            continue
        if visit.status in _ENDED_IN_NOTHING:
            notice = "admit-cancelled"
        elif old.status == "finished":
            notice = "discharge-cancelled"
        else:
            continue
        recorder.notices[ResourceKey("Encounter", visit.encounter)] = notice
    if affected.after:
        recorder.after.setdefault(chart.pk, set()).update(affected.after)
    if affected.notice:
        held = frozenset(key.type for key, head in chart.heads.items() if not head.deleted)
        for resource in wanted:
            if resource["resourceType"] == "Patient":
                recorder.notices[key_of(resource)] = affected.notice
                recorder.held[key_of(resource)] = held


_NOBODY: frozenset[str] = frozenset()
_ENDED_IN_NOTHING = frozenset({"cancelled", "entered-in-error"})


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
        if told.listed is not old.listed:
            names |= old.resources.keys() - told.resources.keys()
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
    chart: Chart, person: PersonState, fact: Fact, facts: Recall, affected: Affected
) -> PersonState:
    key = fact.visit
    assert key is not None
    numbers = numbers_of(person)
    key = numbers.get(key, key)
    state = chart.visits.get(key)
    new: VisitState | None
    if state is None and not numbers and not facts.may_know(key):
        new = fold_visit([fact])
    else:
        new = None if state is None else extend_visit(state, fact)
        if new is None:
            new = facts.visit(key, state.loose if state else (), numbers)
    if state is not None and (
        state.others.keys() - new.others.keys() or (state.status and not new.status)
    ):
        affected.whole = True
    chart.visits[key] = new
    chart.changed.add(key)
    affected.visits.setdefault(key, state)
    return note_visit(person, new)


def _renumber(chart: Chart, person: PersonState, facts: Recall, affected: Affected) -> PersonState:
    """Fold visits that turn out to be kept under another number there."""
    numbers = numbers_of(person)
    gone = chart.visits.keys() & numbers.keys()
    for number in gone:
        del chart.visits[number]
    chart.hold(numbers)
    if not gone:
        return person
    affected.whole = True
    kept = {name: one for name, one in person.visits.items() if name not in gone}
    person = replace(person, visits=kept)
    for key in sorted({numbers[number] for number in gone}):
        affected.visits.setdefault(key, chart.visits.get(key))
        chart.visits[key] = facts.visit(key, (), numbers)
        chart.changed.add(key)
        person = note_visit(person, chart.visits[key])
    return person


def _place(chart: Chart, facts: Recall, affected: Affected) -> None:
    """Let facts without a visit number count where they belong now."""
    numbers = numbers_of(chart.person)
    for key, known in place(chart, facts, numbers):
        affected.settled |= set(chart.visits[key].loose) - known
        affected.visits[key] = None
        affected.whole = True
