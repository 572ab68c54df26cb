"""Making a store anew from its records: the journal, and what was stated beside it.

Messages are mapped and folded again; what cannot be computed is carried over: what
clients stored and stated, receipts, and what stewards decided. Nothing is sent. What
comes of it must be what the old store holds, in the canonical form, and `differences`
says where it is not (docs/operations.md, "Rebuilding the store").
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import groupby

from segue.care.view import DeliveryReceipt
from segue.fhir.canonical import canonical_parts, content_hash, hash_of, loads, renewals
from segue.fhir.references import walk_references
from segue.model.changes import Cause
from segue.model.deliveries import OF_ENTRIES, Delivery
from segue.model.identity import ResourceKey
from segue.model.instants import instant_of, microseconds
from segue.pipeline import owned
from segue.pipeline.addresses import Addresses
from segue.pipeline.charts import Chart
from segue.pipeline.compare import Resource, deletion, key_of, parse_key, write
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.discard import restate
from segue.pipeline.evidence import evidence, is_evidence, with_evidence, without_evidence
from segue.pipeline.facts import unpack, unpack_value
from segue.pipeline.hub import Hub
from segue.pipeline.process import commit, read
from segue.pipeline.provenance import HISTORY
from segue.pipeline.receipts import with_receipts
from segue.pipeline.record import Recorder
from segue.pipeline.refold import add_fact, identities_of, project
from segue.pipeline.speaker import Speaker
from segue.pipeline.timers import bring_up_to_date
from segue.pipeline.transact import Draft, transact
from segue.store.deliveries import Deliveries
from segue.store.listings import DeliveryFilter, DeliveryState
from segue.store.reader import Reader
from segue.store.records import Change, FactRow, Step, StoredVersion

CHUNK = 100
"""Journal entries, or persons, per commit."""

Advance = Callable[[int], object]


@dataclass(slots=True)
class Rebuilt:
    """What was done.

    Attributes:
        entries: journal entries that were processed. missing: those that the journal
            keeps no more, whose facts were taken from the old store.
        statements: facts beside the journal. resources: versions that clients wrote.
        deliveries: those that were waiting in the old store, queued anew.
        different: `Type/id` of what is not as in the old store.
    """

    entries: int = 0
    missing: int = 0
    statements: int = 0
    resources: int = 0
    deliveries: int = 0
    different: list[str] = field(default_factory=list)


def rebuild(
    old: Reader,
    hub: Hub,
    *,
    waiting: Sequence[Delivery] = (),
    advance: Advance = lambda _: None,
) -> Rebuilt:
    """Fill an empty store with what the records say, as far as the old store has read them.

    Args:
        old: the store whose statements are the source; it is only read.
        hub: over the empty store, with the journal and the configuration of the old one.
        waiting: deliveries of the old store that were not made yet, in order; the
            present version of what they carry is queued.
        advance: told how many entries are done, after each part.
    """
    result = Rebuilt()
    _, at = old.head_position()
    silent = replace(hub, routes=(), clock=lambda: instant_of(at))
    acts = _beside(old, result)
    # Who is who comes first, for a visit keeps the Encounter that a client began it with.
    for act in (one for one in acts if one.who):
        _do(silent, act)
    cursors, discarded = old.lane_cursors(), old.entries_in("discarded")
    quarantined = old.entries_in("quarantined")
    last = max(cursors.values(), default=0)
    for start in range(1, last + 1, CHUNK):
        span = range(start, min(start + CHUNK, last + 1))
        numbers = [number for number in span if number not in discarded]
        _entries(old, silent, numbers, cursors, quarantined, result)
        advance(len(span))
    restate(silent, old.issues_of(discarded))
    for act in (one for one in acts if not one.who):
        _do(silent, act)
    with hub.store.read() as reader:
        everybody = [pk for page in _persons(reader) for pk in page]
    for start in range(0, len(everybody), CHUNK):
        bring_up_to_date(silent, everybody[start : start + CHUNK])
    hub.store.go_on_from(old)
    result.deliveries = _queue(silent, waiting)
    with hub.store.read() as new:
        result.different = differences(old, new)
    return result


def differences(old: Reader, new: Reader) -> list[str]:
    """`Type/id` of the computed resources that differ, or that only one store has.

    Both are compared in the canonical form, see `segue.fhir.canonical`.
    """
    before, after = _states(old), _states(new)
    return sorted(
        reference
        for reference in before.keys() | after.keys()
        if before.get(reference, b"") != after.get(reference, b"")
    )


def _states(reader: Reader) -> dict[str, bytes]:
    """Hash of the canonical form of each computed resource that counts for something."""
    states: dict[str, bytes] = {}
    renewed: dict[str, str] = {}
    for resource in _computed(reader):
        renewed |= renewals(resource)
        states |= _hashed([resource])
    if not renewed:
        return states
    # Tasks in the place of others are shown as those: with all that speaks of either.
    spoken_of = {f"Task/{one}" for pair in renewed.items() for one in pair}
    together = []
    for resource in _computed(reader):
        own = key_of(resource).reference
        named = (str(one["reference"]) for _, one in walk_references(resource))
        if own in spoken_of or not spoken_of.isdisjoint(named):
            together.append(resource)
            states.pop(own, None)
    return states | _hashed(together)


def _hashed(resources: Iterable[Resource]) -> dict[str, bytes]:
    return {
        key_of(resource).reference: hash_of(state.decode())
        for resource, state in canonical_parts(resources)
    }


def _computed(reader: Reader) -> Iterator[Resource]:
    after = 0
    while page := reader.current("fold", after):
        after = page[-1].pk
        for version in page:
            if version.body is not None:
                yield loads(version.body)


def _persons(reader: Reader) -> Iterator[list[int]]:
    after = 0
    while rows := reader.people.persons(after):
        after = rows[-1].pk
        yield [row.pk for row in rows if row.merged_into is None]


# --- messages ------------------------------------------------------------------------------


def _entries(
    old: Reader,
    hub: Hub,
    numbers: Sequence[int],
    cursors: Mapping[int, int],
    quarantined: set[int],
    result: Rebuilt,
) -> None:
    found = hub.journal.get_many(numbers)
    done = [entry for entry in found if entry.id <= cursors.get(entry.envelope.lane, 0)]
    for release, group in groupby(done, key=lambda entry: entry.id not in quarantined):
        commit(hub, read(hub, list(group), release=release))
    result.entries += len(done)
    gone = set(numbers) - {entry.id for entry in found}
    if gone:
        rows = old.people.facts_of_entries(gone)
        result.missing += len({row.entry for row in rows})
        for row in rows:
            _do(hub, _act(row))


# --- what was stated beside ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Act:
    """What was stated beside the journal, to be done again.

    Attributes:
        again: does it to the draft of a step; gives the persons whose care may change.
        order: µs, rank among simultaneous ones, position, id.
        who: whether it says who a person is, or what a visit is.
        history: it only fills the index.
        source: who wrote, of what clients stored.
    """

    again: Callable[[Recorder], list[Chart]]
    order: tuple[int, int, int, str]
    who: bool = False
    history: bool = False
    source: str = ""


def _beside(old: Reader, result: Rebuilt) -> list[Act]:
    """Statements, receipts and clients' resources, in the order they were made."""
    acts = [_act(row) for row in old.people.facts_beside()]
    result.statements = len(acts)
    known: dict[ResourceKey, str] = {}
    for request in _written(old):
        at, history = _made(request)
        authors = _authors(request, known)
        again = partial(_restore, request=request, authors=authors, at=at, history=history)
        order = (at, 1, request[0].stored.position, request[0].ref)
        acts.append(Act(again, order, history=history, source=request[0].source))
        result.resources += len(request)
    return sorted(acts, key=lambda one: one.order)


def _do(hub: Hub, act: Act) -> None:
    """One act as a step of its own, and what follows for the persons it is about."""

    def compute(draft: Draft) -> None:
        cause = Cause("statement", act.order[-1], act.source)
        recorder = Recorder(draft, Step(cause), history=act.history)
        for chart in act.again(recorder):
            coordinate_person(recorder, chart)
        recorder.close()

    transact(hub, compute)


def _act(row: FactRow) -> Act:
    if row.kind == "forgotten":
        return Act(partial(_carry, row=row), (0, 0, 0, row.id))
    if row.kind == "receipt":
        at = int(unpack_value(row.person)[3])
        return Act(partial(_receive, row=row), (at, 3, 0, row.id))
    if "|" not in row.identity:
        at = int(unpack_value(row.person)["recorded"])
        return Act(partial(_say, row=row), (at, 2, 0, row.id))
    fact = unpack(row)
    order = (fact.recorded.us, 0, 0, row.id)
    return Act(partial(_tell, row=row), order, who=True, history=fact.history)


def _carry(recorder: Recorder, row: FactRow) -> list[Chart]:
    """A record of what counts no more."""
    recorder.step.facts.append(row)
    return []


def _tell(recorder: Recorder, row: FactRow) -> list[Chart]:
    """A fact about a person or a visit, as it was kept."""
    fact = unpack(row)
    recorder.step.facts.append(row)
    recorder.draft.load(identities_of([fact]))
    found = add_fact(recorder.draft, fact)
    for affected in found:
        project(recorder, affected)
    return [affected.chart for affected in found]


def _say(recorder: Recorder, row: FactRow) -> list[Chart]:
    """A statement about what the engine computes."""
    draft, told, key = recorder.draft, unpack_value(row.person), parse_key(row.identity)
    recorder.step.facts.append(row)
    head = draft.reader.heads([key]).get(key)
    if head is None and "first" in told:
        key = parse_key(told["first"])
        head = draft.reader.heads([key]).get(key)
    if head is None or head.owner is None:
        return []
    draft.load(pks=[head.owner])
    chart = draft.chart(head.owner)
    made = owned.statement(chart, key, told["said"], told["source"], told["recorded"])
    if made is not None:
        chart.person = replace(chart.person, statements=[*chart.person.statements, made])
        chart.touched = True
    return [chart]


def _receive(recorder: Recorder, row: FactRow) -> list[Chart]:
    """A receipt of a destination."""
    recorder.step.facts.append(row)
    recorder.draft.load([row.identity])
    chart = recorder.draft.person(row.identity)
    if chart is None:
        return []
    chart.person = with_receipts(chart.person, [DeliveryReceipt(*unpack_value(row.person))])
    chart.touched = True
    return [chart]


def _written(old: Reader) -> Iterator[list[Change]]:
    """What clients wrote, by request, in commit order; the Provenance comes last."""
    after = 0
    while changes := old.history.changes(after):
        after = changes[-1].stored.position
        for (kind, _), group in groupby(changes, key=lambda one: (one.kind, one.ref)):
            if kind != "statement":
                continue
            request = list(group)
            if written := [one for one in request if one.resource_kind == "client"]:
                yield [*written, *(o for o in request if o.stored.key.type == "Provenance")]


def _made(request: Sequence[Change]) -> tuple[int, bool]:
    """When a request was made (µs), and whether it only fills the index: its Provenance."""
    last = request[-1].stored
    if last.key.type != "Provenance" or last.body is None:
        return last.at, False
    told = loads(last.body)
    at = microseconds(datetime.fromisoformat(told["recorded"]))
    return at, told["activity"]["text"] == HISTORY


def _authors(request: Sequence[Change], known: dict[ResourceKey, str]) -> dict[ResourceKey, str]:
    """The site whose each resource of a request is: of who began it, "" for none.

    Args:
        known: authors of what was written before; kept up to date.
    """
    found = {}
    for one in request:
        author = known.setdefault(one.stored.key, one.source)
        found[one.stored.key] = "" if author.startswith("client:") else author
        if one.stored.body is None:
            del known[one.stored.key]
    return found


def _restore(
    recorder: Recorder,
    request: Sequence[Change],
    authors: Mapping[ResourceKey, str],
    at: int,
    *,
    history: bool,
) -> list[Chart]:
    """The versions of a client's request, as they were stored."""
    source = request[0].source
    site = "" if source.startswith("client:") else source
    where = Addresses(recorder.draft, Speaker(source, site), "", bundle=False)
    pending = [one.stored for one in request if one.stored.key.type != "Provenance"]
    charts: dict[int, Chart] = {}
    # Whom a resource belongs to may follow from another one of the same request.
    for patient in (True, False):
        for version in pending[:]:
            if where.is_computed(version.key):
                # A feed speaks of it by now.
                pending.remove(version)
                continue
            resource = loads(version.body) if version.body is not None else None
            chart = where.chart(version.key) if resource is None else where.owner(resource)
            if chart is None and patient:
                continue
            pending.remove(version)
            _store(recorder, where, version, resource, chart)
            if chart is None:
                continue
            charts[chart.pk] = chart
            if resource is not None and is_evidence(version.key.type, history=history):
                author = authors[version.key]
                found = evidence(resource, version.version, author, at, history=history)
                chart.person = with_evidence(chart.person, found)
    return list(charts.values())


def _store(
    recorder: Recorder,
    where: Addresses,
    version: StoredVersion,
    resource: Resource | None,
    chart: Chart | None,
) -> None:
    key, draft = version.key, recorder.draft
    head, previous = where.head(key), where.chart(key)
    if previous is not None and (resource is None or previous is not chart):
        previous.person = without_evidence(previous.person, key.reference)
        previous.touched = True
    if resource is not None:
        if previous is not None and previous is not chart:
            del previous.heads[key]
        owner = chart.pk if chart else None
        made = write(
            resource, key, content_hash(resource), head, draft.new_pk, kind="client", owner=owner
        )
    elif head is not None:
        made = deletion(key, head, chart.pk if chart else None)
    else:
        return
    recorder.step.writes.append(made)
    now = made.head()
    where.put(key, now, chart)
    if resource is not None:
        draft.unfinished.index(made, now, resource)


# --- deliveries ----------------------------------------------------------------------------


def waiting_in(deliveries: Deliveries) -> list[Delivery]:
    """What has still to be delivered, oldest first."""
    found: list[tuple[int, Delivery]] = []
    states: tuple[DeliveryState, ...] = ("waiting", "delayed", "blocked", "dead")
    for state in states:
        after: int | None = None
        while True:
            page = deliveries.page(DeliveryFilter(state=state), after=after, limit=1000)
            found += [(one.queued.id, one.queued.delivery) for one in page.items]
            after = page.next
            if after is None:
                break
    return [delivery for _, delivery in sorted(found, key=lambda one: one[0])]


def _queue(hub: Hub, waiting: Sequence[Delivery]) -> int:
    """Queue what was not delivered, in its present version; each thing once per destination."""
    queued: list[Delivery] = []

    def compute(draft: Draft) -> None:
        queued.clear()
        heads = draft.reader.heads(
            {parse_key(one.what) for one in waiting if one.form not in OF_ENTRIES}
        )
        entries = {int(one.what) for one in waiting if one.form == "adt"}
        said = {
            str(row.entry): row.identity for row in draft.reader.people.facts_of_entries(entries)
        }
        draft.load(said.values())
        for one in dict.fromkeys(
            one._replace(version=0, cause="rebuild", after=()) for one in waiting
        ):
            if one.form == "ack":
                queued.append(one)
                continue
            if one.form == "adt":
                chart = draft.person(said.get(one.what, ""))
                queued.append(one._replace(lane=chart.pk if chart else one.lane))
                continue
            head = heads.get(parse_key(one.what))
            if head is not None and not head.deleted and head.owner is not None:
                queued.append(one._replace(lane=head.owner, version=head.version))
        if queued:
            draft.steps.append(Step(Cause("steward", "rebuild"), deliveries=queued[:]))

    transact(hub, compute)
    return len(queued)
