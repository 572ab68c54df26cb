"""Persons that share facts: those that were parted, or that a visit moved between.

What one of them is known by may speak of another's visit, so they are folded together:
all their facts are read, divided into persons (`segue.care.parting`), and what is
stored goes to whoever it is of now. This is rare, and so it is plain rather than fast.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from msgspec.structs import replace as with_changes

from segue.care import flags, overlaps
from segue.care.assemble import person_resources, visit_resources
from segue.care.identity import other_end
from segue.care.parting import Parting, part
from segue.care.person import carry_over, fold_person, note_visit, placements
from segue.care.plans import ids_of_person, ids_of_visit
from segue.care.states import PersonState, VisitState
from segue.care.view import DeliveryReceipt, Evidence, TaskStatement
from segue.fhir.references import walk_references
from segue.model.changes import Head
from segue.model.facts import Fact
from segue.model.identity import ResourceKey
from segue.pipeline.charts import Chart, Margin, both
from segue.pipeline.compare import key_of, parse_key
from segue.pipeline.recall import Recall
from segue.pipeline.transact import Draft


@dataclass(slots=True)
class Affected:
    """What of a person may be different after facts were added.

    Attributes:
        before: the person's state; None where anything of it may be different.
        visits: keys of visits that were folded, with the state before.
        whole: who the person is may have changed, so anything may have.
        settled: ids of facts that waited for their visit and found it now.
        astray: ids of facts about a visit that is another's, see `Parting.astray`.
        strayed: those of them whose visit was their own before, ids.
        after: pks of persons whose resources became this one's: what is sent of them
            now waits until all before it was.
        notice: what recipients must take note of, see `Delivery.notice`: who the person
            is has changed.
    """

    chart: Chart
    before: PersonState | None = None
    visits: dict[str, VisitState | None] = field(default_factory=dict)
    whole: bool = False
    settled: set[str] = field(default_factory=set)
    astray: frozenset[str] = frozenset()
    strayed: set[str] = field(default_factory=set)
    after: set[int] = field(default_factory=set)
    notice: str = ""

    def and_also(self, other: "Affected") -> "Affected":
        """Both, of the same person; this one came first."""
        return Affected(
            other.chart,
            self.before,
            other.visits | self.visits,
            self.whole or other.whole,
            self.settled | other.settled,
            other.astray,
            self.strayed | other.strayed,
            self.after | other.after,
            other.notice or self.notice,
        )


def place(
    chart: Chart,
    facts: Recall,
    numbers: Mapping[str, str],
    parting: Parting | None = None,
) -> list[tuple[str, set[str]]]:
    """Let facts without a visit number count where they belong now.

    Args:
        chart: whose visits they may be of.
        facts: to fold from.
        numbers: see `numbers_of`.
        parting: where other persons spoke of the visits too.

    Returns:
        Keys of the visits that were folded anew, with the facts that they had before.
    """
    moved: list[tuple[str, set[str]]] = []
    for _ in range(len(chart.visits) + 1):
        wanted: dict[str, set[str]] = {}
        for fact, key in placements(chart.person).items():
            if key is not None:
                wanted.setdefault(key, set()).add(fact)
        stirred = [
            key for key, state in chart.visits.items() if set(state.loose) != wanted.get(key, set())
        ]
        if not stirred:
            break
        for key in stirred:
            moved.append((key, set(chart.visits[key].loose)))
            loose = wanted.get(key, ())
            if parting is None:
                state = facts.visit(key, loose, numbers)
            else:
                at = chart.identities, parting.homes[key]
                state = facts.visit(key, loose, numbers, at, parting.astray)
            chart.visits[key] = state
            chart.changed.add(key)
            chart.person = note_visit(chart.person, state)
    return moved


def settle(draft: Draft, charts: Iterable[Chart], fresh: Sequence[Fact] = ()) -> list[Affected]:
    """Fold persons that share facts anew; as many come out as the facts tell of.

    Args:
        draft: with the facts that are new among its own.
        charts: of some of them; their kin is loaded.
        fresh: new facts, which may name others.
    """
    pool, facts = _gather(draft, charts, fresh)
    said = facts.said()
    parting = part(said)
    # Whom only others have named yet is a person, too: what comes finds them divided.
    groups = parting.groups
    chosen = _choose(draft, pool, groups)
    old = {chart.pk: chart.copy() for chart in pool}
    made = [_fold(draft, chosen[n], group, facts, said, parting) for n, group in enumerate(groups)]
    _divide(draft, list(old.values()), made)
    everybody = {identity for group in groups for identity in group}
    for chart in made:
        others = tuple(sorted(everybody - chart.identities))
        chart.margin = replace(chart.margin, kin=others)
    found, strayed = _moved(parting, said, fresh)
    affected = []
    for chart in made:
        before = dict.fromkeys(chart.visits)
        one = Affected(chart, None, dict(before), whole=True)
        one.after = {
            pk
            for pk, was in old.items()
            if pk != chart.pk and was.heads.keys() & chart.heads.keys()
        }
        one.notice = _notice(chart, list(old.values()), {one.pk for one in made})
        loose = {fact for state in chart.visits.values() for fact in state.loose}
        was_loose = {f for was in old.values() for s in was.visits.values() for f in s.loose}
        one.settled = loose - was_loose
        one.settled |= {fact for fact, identity in found.items() if identity in chart.identities}
        one.strayed = {fact for fact, identity in strayed.items() if identity in chart.identities}
        one.astray = parting.astray
        affected.append(one)
    return affected


def _moved(
    parting: Parting, said: Sequence[Fact], fresh: Sequence[Fact]
) -> tuple[dict[str, str], dict[str, str]]:
    """Facts whose visit was another's before the fresh ones came, and those whose visit is now.

    Returns:
        Both by id, with their identities.
    """
    new = {fact.id for fact in fresh}
    known = [fact for fact in said if fact.id not in new]
    if not known or not fresh:
        return {}, {}
    before, after = part(known).astray, parting.astray
    whose = {fact.id: fact.identity for fact in known}
    return (
        {fact: whose[fact] for fact in before - after},
        {fact: whose[fact] for fact in (after & whose.keys()) - before},
    )


def _notice(chart: Chart, old: Sequence[Chart], made: set[int]) -> str:
    """Whether the person gained or lost identities that were another's."""
    had = next((was.identities for was in old if was.pk == chart.pk), set())
    others = [was for was in old if was.pk != chart.pk and was.identities & chart.identities]
    if had - chart.identities or any(was.pk in made for was in others):
        return "identity-unmerged"
    return "identity-merged" if others else ""


def _gather(
    draft: Draft, charts: Iterable[Chart], fresh: Sequence[Fact]
) -> tuple[list[Chart], Recall]:
    """All persons that facts are shared with, and all their facts."""
    identities = {end for fact in fresh if (end := other_end(fact)) is not None}
    identities |= {fact.identity for fact in fresh}
    pool = {chart.pk: chart for chart in charts}
    while True:
        for chart in pool.values():
            identities |= chart.identities | set(chart.margin.kin)
        draft.load(identities)
        found = {c.pk: c for identity in identities if (c := draft.person(identity)) is not None}
        if found.keys() <= pool.keys():
            break
        pool |= found
    live = [pool[pk] for pk in sorted(pool)]
    draft.load(pks=[pk for chart in live for pk in chart.margin.absorbed])
    return live, Recall(draft, sorted(identities))


def _choose(draft: Draft, pool: Sequence[Chart], groups: Sequence[list[str]]) -> list[Chart]:
    """The chart of each group: one that is in force, else one that was merged away."""
    gone = [draft.charts[pk] for chart in pool for pk in chart.margin.absorbed]
    chosen: list[Chart] = []
    for group in groups:
        own = [chart for chart in (*pool, *gone) if chart.key in group]
        best = min(own, key=lambda chart: (chart.into is not None, chart.pk), default=None)
        chosen.append(best or draft.create(group[0]))
    for chart in chosen:
        chart.into = None
    for chart in (*pool, *gone):
        home = next((c for c, g in zip(chosen, groups, strict=True) if chart.key in g), chosen[0])
        if chart is not home and chart.into != home.pk:
            chart.into = home.pk
            chart.touched = True
    return chosen


def _fold(
    draft: Draft,
    chart: Chart,
    group: Sequence[str],
    facts: Recall,
    said: Sequence[Fact],
    parting: Parting,
) -> Chart:
    """Fold one group into its chart; what is stored of it is not divided yet."""
    held = chart.identities
    chart.identities = set(group)
    # What was claimed before in this draft is not stored yet.
    chart.claimed = {one for one in group if one not in held or one in chart.claimed}
    for identity in group:
        draft.people[identity] = chart.pk
    chart.visits = {
        key: facts.visit(key, (), parting.numbers, (group, home), parting.astray)
        for key, home in parting.homes.items()
        if home in group
    }
    chart.hold(number for number, identity in parting.named.items() if identity in group)
    chart.changed = {*chart.visits, *chart.numbers}
    own = parting.said_by(group, said)
    chart.person = fold_person(own, draft.hub.setting.rank, chart.visits.values())
    if chart.person.loose:
        place(chart, facts, parting.numbers, parting)
    chart.views, chart.sight, chart.episodes = {}, None, None
    chart.touched = True
    return chart


def _divide(draft: Draft, old: Sequence[Chart], made: Sequence[Chart]) -> None:
    """Give everything that is stored to whoever it is of now."""
    heads: dict[ResourceKey, Head] = {}
    before: dict[ResourceKey, int] = {}
    for was in old:
        heads |= was.heads
        before |= dict.fromkeys(was.heads, was.pk)
    owners = _Owners(draft, made, {was.pk: was.key for was in old})
    own = {key: owners.of(key, head, before[key]) for key, head in heads.items()}
    references = {key.reference: owner for key, owner in own.items()}
    for chart in made:
        chart.heads = {}
    for key, owner in own.items():
        head = heads[key]
        if head.owner != owner.pk:
            draft.owners[head.pk] = owner.pk
            head = with_changes(head, owner=owner.pk)
        owner.heads[key] = head
    absorbed = {pk: draft.charts[pk].into for was in old for pk in was.margin.absorbed}
    absorbed |= {was.pk: draft.charts[was.pk].into for was in old}
    for chart in made:
        wake = next((one.margin.wake for one in old if one.pk == chart.pk), None)
        # Whoever had them: those that there are yet are written, each as its person's.
        chart.gone = {(key, one.pk) for one in old for key in (*one.visits, *one.numbers)}
        chart.gone |= {gone for one in old for gone in one.gone}
        chart.margin = Margin(
            b"",
            wake,
            tuple(sorted(r for o in old for r in o.margin.care if references.get(r) is chart)),
            tuple(sorted(r for o in old for r in o.margin.retired if references.get(r) is chart)),
            tuple(sorted(pk for pk, into in absorbed.items() if into == chart.pk)),
            ended=tuple(r for o in old for r in o.margin.ended if references.get(r) is chart),
            renewed={
                first: new
                for o in old
                for first, new in o.margin.renewed.items()
                if references.get(new) is chart
            },
            shared=_shared(chart, old, made),
        )
        beside = [_beside(o.person, chart, references, owners) for o in old]
        chart.person = carry_over(chart.person, beside)
    kept = {chart.pk for chart in made}
    for was in old:
        if was.pk not in kept:
            gone = draft.charts[was.pk]
            assert gone.into is not None
            draft.empty(gone, gone.into)


def _shared(
    chart: Chart, old: Sequence[Chart], made: Sequence[Chart]
) -> dict[str, tuple[str, ...]]:
    """Which Accounts others share: those who did, and who names or has them of these now."""
    known = reduce(both, (one.margin.shared for one in old))
    found = {}
    for name, identities in known.items():
        others = set(identities)
        others |= {
            one.person.key for one in made if parse_key(name) in one.heads or one.names(name)
        }
        found[name] = tuple(sorted(others - chart.identities - {""}))
    return found


def _beside(
    person: PersonState, chart: Chart, references: Mapping[str, Chart], owners: "_Owners"
) -> PersonState:
    """What of evidence, statements and receipts is this person's."""

    def is_evidence(one: Evidence) -> bool:
        return references.get(one.reference, owners.first) is chart

    def is_said(one: TaskStatement) -> bool:
        name = one.task if "/" in one.task else f"Task/{one.task}"
        return references.get(name, owners.first) is chart

    def is_receipt(one: DeliveryReceipt) -> bool:
        return references.get(one.reference, owners.first) is chart

    return PersonState(
        evidence=list(filter(is_evidence, person.evidence)),
        statements=list(filter(is_said, person.statements)),
        receipts=list(filter(is_receipt, person.receipts)),
    )


class _Owners:
    """Whose a stored resource is, by what the folds yield, by its id, or by its references."""

    def __init__(self, draft: Draft, made: Sequence[Chart], before: Mapping[int, str]) -> None:
        self._draft = draft
        self.first = next((chart for chart in made if chart.person.key), made[0])
        self._known: dict[str, Chart] = {}
        for chart in made:
            for resource in _resources(chart):
                self._known[key_of(resource).reference] = chart
            for one in chart.person.patients.values():
                self._known[f"Patient/{one.id}"] = chart
            for identity in chart.identities:
                made_of = [*ids_of_person(identity), *flags.ids_of_person(identity)]
                self._known |= dict.fromkeys(made_of, chart)
            for key in chart.visits:
                made_of = [*ids_of_visit(key), flags.id_of_visit(key), overlaps.id_of_visit(key)]
                self._known |= dict.fromkeys(made_of, chart)
        self._before = {
            pk: next((c for c in made if key in c.identities), self.first)
            for pk, key in before.items()
        }

    def of(self, key: ResourceKey, head: Head, holder: int) -> Chart:
        """Whose it is; what points to nobody stays with who had it."""
        if (known := self._known.get(key.reference)) is not None:
            return known
        body = {} if head.deleted else self._draft.bodies([key]).get(key, {})
        named = [reference for reference in _named(body) if reference in self._known]
        # The visit says more than the patient, who was taken for another one.
        named.sort(key=lambda reference: not reference.startswith("Encounter/"))
        return self._known[named[0]] if named else self._before[holder]


def _resources(chart: Chart) -> list[dict[str, Any]]:
    person = chart.person
    made = person_resources(person)
    for visit in chart.visits.values():
        made += visit_resources(person, visit)
    return made


def _named(body: Mapping[str, Any]) -> list[str]:
    return [str(one["reference"]) for _, one in walk_references(body)]
