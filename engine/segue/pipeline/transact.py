"""The one write path: load the persons, compute, commit; again if somebody was first.

Messages, statements, receipts, timers and stewards all end here. What a caller wants
done it does to a `Draft`, a working copy that nobody else sees; the commit checks that
the persons are still as they were read, and otherwise the whole is computed anew.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from segue.care.states import PersonState
from segue.fhir.canonical import loads
from segue.model.changes import Head
from segue.model.facts import Fact
from segue.model.identity import ResourceKey
from segue.pipeline.charts import (
    Chart,
    Margin,
    Register,
    both,
    pack_person,
    pack_visit,
    unpack_person,
    unpack_visit,
)
from segue.pipeline.finish import Unfinished
from segue.pipeline.hub import Hub
from segue.store.reader import Reader
from segue.store.records import (
    Commit,
    Committed,
    CursorMove,
    PersonRow,
    PersonWrite,
    RevisionConflict,
    Step,
    VisitRow,
)

PATIENCE = 3
"""After so many lost attempts a writer insists: of one process, one at a time."""

ATTEMPTS = 20
"""How often a transaction that lost is computed anew before the error goes up."""


class Disturbed(Exception):  # noqa: N818
    """Of several things that were computed together one failed: compute them one by one."""


@dataclass(slots=True)
class Draft:
    """A working copy of some persons, and what is to be committed about them.

    Attributes:
        now: the instant of the computation, microseconds UTC.
        charts: the copies by pk, those that were merged away among them.
        people: identity to the pk that it led to when it was loaded.
        replaced: journal entries whose stored facts are void (a replay).
        contested: heads of resources that turned out to be another person's.
        taken: visit numbers that turned out to be another person's, to that one's pk.
        fresh: facts of this draft's own steps, by identity.
        registers: directory resources that the steps offer.
        owners: pk of a resource that is another person's from now on, to that one's.
        begun: visits and accounts that were new to somebody in this draft.
        again: its entries were processed before: this is a replay.
        together: several readings are under way at once: nobody may be folded who is not
            their own.
        steps: one for each cause, in order.
        unfinished: versions of these steps that are not checked or not indexed yet.
    """

    hub: Hub
    reader: Reader
    now: int
    charts: dict[int, Chart] = field(default_factory=dict)
    people: dict[str, int] = field(default_factory=dict)
    replaced: set[int] = field(default_factory=set)
    contested: dict[ResourceKey, Head] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, list[Fact]] = field(default_factory=dict)
    registers: dict[ResourceKey, Register] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    conditions: list[int] = field(default_factory=list)
    unfinished: Unfinished = field(default_factory=Unfinished)
    begun: set[str] = field(default_factory=set)
    together: bool = False
    again: bool = False

    # --- persons -------------------------------------------------------------------------

    def who_has(self, kind: str) -> set[int]:
        """Who has contested resources of a type, by pk."""
        if not self.contested:
            return set()
        owners = {head.owner for key, head in self.contested.items() if key.type == kind}
        return {owner for owner in owners if owner is not None}

    def strangers(self, names: Collection[str], owners: Iterable[int]) -> list[Chart]:
        """Those who may have visits or accounts that are new to somebody.

        In the store it shows when one is to be written a second time, in this draft when
        it is new a second time.

        Args:
            names: by which `begun` keeps them.
            owners: who has those that were found in the store.
        """
        known = set(owners)
        if known:
            self.load(pks=known)
            for owner in known:
                self.chart(owner)  # of whoever took their place
        again = not self.begun.isdisjoint(names)
        self.begun.update(names)
        if not known and not again:
            return []
        return [chart for chart in self.charts.values() if chart.into is None]

    def load(self, identities: Collection[str] = (), pks: Collection[int] = ()) -> None:
        """Fetch the persons behind identities and pks, with all that is theirs."""
        known = self.hub.charts
        wanted = set(pks)
        unknown: list[str] = []
        for identity in identities:
            if identity in self.people:
                continue
            pk = known.find(identity)
            if pk is None:
                unknown.append(identity)
            else:
                self.people[identity] = pk
                wanted.add(pk)
        rows: dict[int, PersonRow] = {}
        if unknown:
            for identity, row in self.reader.people.by_identity(unknown).items():
                self.people[identity] = row.pk
                rows[row.pk] = row
                wanted.add(row.pk)
        missing = []
        held = {pk: known.get(pk) for pk in wanted - self.charts.keys()}
        # Who was changed by another process would have all of this computed in vain.
        revisions = self.reader.people.revisions(
            [pk for pk, chart in held.items() if chart is not None]
        )
        for pk, chart in held.items():
            if chart is None or chart.revision != revisions.get(pk):
                missing.append(pk)
            else:
                self.charts[pk] = chart.copy()
        if missing:
            known.forget(missing)
            self._read(missing, rows)

    def _read(self, pks: list[int], rows: dict[int, PersonRow]) -> None:
        reader = self.reader
        rows |= reader.people.by_pk([pk for pk in pks if pk not in rows])
        states = {pk: unpack_person(rows[pk].state) for pk in pks if pk in rows}
        owners = {owner for pk, (_, margin) in states.items() for owner in (pk, *margin.absorbed)}
        heads = reader.heads_of(owners)
        visits = reader.people.visits_of(states.keys())
        identities = reader.people.identities_of(states.keys())
        for pk, (person, margin) in states.items():
            own: dict[ResourceKey, Head] = {}
            for owner in (*margin.absorbed, pk):
                own.update(heads[owner])
            chart = Chart(
                pk,
                rows[pk].key,
                rows[pk].revision,
                person,
                {key: unpack_visit(one.state) for key, one in visits[pk].items() if one.state},
                own,
                margin,
                set(identities[pk]),
                margin.wake,
                into=rows[pk].merged_into,
                numbers={key for key, one in visits[pk].items() if not one.state},
            )
            self.hub.charts.keep([chart])
            self.charts[pk] = chart.copy()

    def chart(self, pk: int) -> Chart:
        """The chart of a person that was loaded, or of whom they were merged into."""
        chart = self.charts[pk]
        while chart.into is not None:
            if chart.into not in self.charts:
                self.load(pks=[chart.into])
            chart = self.charts[chart.into]
        return chart

    def person(self, identity: str) -> Chart | None:
        """The chart of an identity's person, None where nobody has it."""
        pk = self.people.get(identity)
        return None if pk is None else self.chart(pk)

    def create(self, identity: str) -> Chart:
        """A chart for a person that nobody has heard of."""
        pk = self.new_pk()
        chart = Chart(pk, identity, 0, PersonState(), {}, {}, Margin(), touched=True, episodes={})
        self.charts[pk] = chart
        return chart

    def claim(self, chart: Chart, identities: Iterable[str]) -> None:
        """Let identities lead to this person from now on."""
        for identity in identities:
            if identity not in chart.identities:
                chart.identities.add(identity)
                chart.claimed.add(identity)
                chart.touched = True
            self.people[identity] = chart.pk

    def absorb(self, stays: Chart, goes: Chart) -> None:
        """Move all that is one person's to another; their states must be folded anew.

        Raises:
            RevisionConflict: both have a visit, one of them unnoticed in this draft.
        """
        if both_have := stays.visits.keys() & goes.visits.keys():
            raise RevisionConflict(visits=both_have)
        stays.visits |= goes.visits
        stays.changed |= goes.visits.keys()
        stays.numbers |= goes.numbers
        stays.changed |= goes.numbers
        stays.gone |= goes.gone | {(key, goes.pk) for key in (*goes.visits, *goes.numbers)}
        stays.heads |= goes.heads
        self.claim(stays, goes.identities)
        kept, lost = stays.margin, goes.margin
        stays.margin = Margin(
            b"",
            kept.wake,
            (*kept.care, *lost.care),
            (*kept.retired, *lost.retired),
            (*kept.absorbed, goes.pk, *lost.absorbed),
            ended=(*kept.ended, *lost.ended),
            renewed=kept.renewed | lost.renewed,
            shared=both(kept.shared, lost.shared),
        )
        self.empty(goes, stays.pk)
        stays.sight = stays.episodes = None
        stays.touched = True

    def empty(self, goes: Chart, into: int) -> None:
        """Leave of a person only who took their place."""
        goes.into = into
        goes.visits, goes.heads, goes.person = {}, {}, PersonState()
        goes.identities, goes.changed, goes.claimed, goes.gone = set(), set(), set(), set()
        goes.numbers = set()
        goes.margin = Margin()
        goes.touched = True

    def new_pk(self) -> int:
        """A fresh number for a person or a resource."""
        return self.hub.new_pk()

    def void(self, entry: int) -> None:
        """Let the stored facts of an entry count no more, because they came anew."""
        self.replaced.add(entry)

    def bodies(self, keys: Collection[ResourceKey]) -> dict[ResourceKey, dict[str, Any]]:
        """Current contents, those of this draft's own steps first; without deleted ones."""
        if not keys:
            return {}
        found: dict[ResourceKey, str | None] = {}
        for step in self.steps:
            for write in step.writes:
                if write.key in keys:
                    found[write.key] = write.body
        stored = self.reader.bodies([key for key in keys if key not in found])
        found |= {key: version.body for key, version in stored.items()}
        return {key: loads(body) for key, body in found.items() if body is not None}

    @contextmanager
    def attempt(self, identities: Collection[str]) -> Iterator[None]:
        """Undo what is done inside to these persons, if it raises; the error goes on."""
        people = {identity: self.people.get(identity) for identity in identities}
        charts = {}
        for pk in set(people.values()):
            if pk is not None:
                chart = self.chart(pk)
                charts[chart.pk] = chart.copy()
                for other in chart.identities:
                    people[other] = chart.pk
                for other in chart.margin.others():
                    known = people.setdefault(other, self.people.get(other))
                    if known is not None:
                        beside = self.chart(known)
                        charts.setdefault(beside.pk, beside.copy())
        before = len(self.charts)
        steps = len(self.steps)
        fresh = {identity: len(self.fresh.get(identity, ())) for identity in people}
        registers, replaced = dict(self.registers), set(self.replaced)
        finished = self.unfinished.mark()
        owners = dict(self.owners)
        try:
            yield
        except BaseException:
            # Those that came inside stand last.
            for pk in list(self.charts)[before:]:
                del self.charts[pk]
            self.charts |= charts
            for identity, known in people.items():
                if known is None:
                    self.people.pop(identity, None)
                else:
                    self.people[identity] = known
                if identity in self.fresh:
                    del self.fresh[identity][fresh[identity] :]
            del self.steps[steps:]
            self.unfinished.undo(finished)
            self.replaced, self.owners = replaced, owners
            self.registers = registers
            raise

    # --- the commit ----------------------------------------------------------------------

    def commit(self, moves: Sequence[CursorMove] = ()) -> Commit:
        """All of it, as the store takes it."""
        commit = Commit(
            steps=self.steps,
            moves=list(moves),
            conditions=self.conditions,
            owners=self.owners,
            again=self.again,
        )
        for pk in sorted(self.charts):
            chart = self.charts[pk]
            if not chart.touched:
                continue
            commit.persons.append(
                PersonWrite(pk, chart.key, chart.revision, pack_person(chart), chart.into)
            )
            for key in chart.changed:
                if (state := chart.visits.get(key)) is not None:
                    commit.visits.append(VisitRow(key, pk, pack_visit(state)))
                elif key in chart.numbers:
                    commit.visits.append(VisitRow(key, pk, b""))
            commit.gone_visits += chart.gone
            commit.identities += [(key, pk) for key in chart.claimed]
            if chart.margin.wake != chart.alarm:
                commit.timers[pk] = chart.margin.wake
        return commit


Compute = Callable[[Draft], None]
"""Does to a draft what is to be done; may be called several times, each anew."""


def transact(hub: Hub, compute: Compute, moves: Sequence[CursorMove] = ()) -> Committed | None:
    """Compute on what is stored now, and commit.

    Args:
        hub: the engine.
        compute: loads what it needs into the draft and changes it.
        moves: cursors that move in the same commit.

    Returns:
        None where there was nothing to write.

    Raises:
        RevisionConflict: a lease was lost, or too many others were always first.
    """
    with ExitStack() as turn:
        return _transact(hub, compute, moves, turn)


def rehearse(hub: Hub, compute: Compute) -> None:
    """Compute on what is stored now, and commit nothing."""
    with hub.store.read() as reader:
        taken: set[str] = set()
        while True:
            try:
                _computed(hub, reader, compute, set(), taken)
            except RevisionConflict as conflict:
                if conflict.visits <= taken:
                    raise
                taken |= conflict.visits
            else:
                return


def _transact(
    hub: Hub, compute: Compute, moves: Sequence[CursorMove], turn: ExitStack
) -> Committed | None:
    stages = hub.stages
    lost: set[ResourceKey] = set()
    taken: set[str] = set()
    for attempt in range(ATTEMPTS):
        if attempt == PATIENCE:
            turn.enter_context(hub.turn)
        stages.start()
        draft = None
        try:
            with hub.store.read() as reader:
                draft = _computed(hub, reader, compute, lost, taken)
            draft.unfinished.finish()
            commit = draft.commit(moves)
            stages.end("rows")
            if not (commit.persons or commit.steps or commit.moves):
                return None
            committed = hub.store.commit(commit)
        except RevisionConflict as conflict:
            # Who moved is read again; whoever has heads that moved, too.
            moved = _there(hub, conflict.resources) if attempt == 0 else conflict.resources
            if draft is not None and not conflict.visits:
                hub.charts.forget(conflict.persons | _owners(draft, moved) or set(draft.charts))
            lost |= moved
            taken |= conflict.visits
            if conflict.moves or attempt == ATTEMPTS - 1:
                raise
            continue
        stages.end("sql")
        hub.directory.learn(draft.registers)
        hub.charts.forget(pk for pk, chart in draft.charts.items() if chart.into is not None)
        hub.charts.keep(
            chart.committed()
            for chart in draft.charts.values()
            if chart.touched and chart.into is None
        )
        return committed
    raise AssertionError("unreachable")


def _computed(
    hub: Hub, reader: Reader, compute: Compute, lost: set[ResourceKey], taken: set[str]
) -> Draft:
    """What comes of it, all of it valid."""
    contested = reader.heads(lost)
    owners = {key: row.owner for key, row in reader.people.visits(taken).items()}
    now = whole_milliseconds(hub.now())
    unfinished = Unfinished(patient=True)
    draft = Draft(hub, reader, now, contested=contested, taken=owners, unfinished=unfinished)
    try:
        compute(draft)
        valid = draft.unfinished.are_valid(hub.gate)
    except Disturbed:
        valid = False
    hub.stages.end("validate")
    if not valid:
        # Rare. Over again, one after the other, so that what fails does so alone.
        draft = Draft(hub, reader, now, contested=contested, taken=owners)
        compute(draft)
    return draft


def whole_milliseconds(us: int) -> int:
    """The instant as resources show it, so that what they show is what was computed with.

    >>> whole_milliseconds(1_999_999)
    1999000
    """
    return us - us % 1000


def _there(hub: Hub, keys: set[ResourceKey]) -> set[ResourceKey]:
    """Those of the resources that are stored: one that is new to others refuses all of them."""
    if not keys:
        return keys
    with hub.store.read() as reader:
        return set(reader.heads(keys)) or keys


def _owners(draft: Draft, keys: Iterable[ResourceKey]) -> set[int]:
    moved = set(keys)
    return {pk for pk, chart in draft.charts.items() if moved & chart.heads.keys()}
