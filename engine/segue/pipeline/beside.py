"""What was stated beside the journal, to be done again in another store.

Statements, receipts, what stewards decided and what clients stored: messages do not tell it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby

from segue.care.view import DeliveryReceipt
from segue.fhir.canonical import content_hash, loads
from segue.model.changes import Cause
from segue.model.identity import ResourceKey
from segue.model.instants import microseconds
from segue.pipeline import owned
from segue.pipeline.addresses import Addresses
from segue.pipeline.charts import Chart
from segue.pipeline.compare import Resource, deletion, parse_key, write
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.evidence import evidence, is_evidence, with_evidence, without_evidence
from segue.pipeline.facts import unpack, unpack_value
from segue.pipeline.hub import Hub
from segue.pipeline.provenance import HISTORY
from segue.pipeline.receipts import with_receipts
from segue.pipeline.record import Recorder
from segue.pipeline.refold import add_fact, identities_of, project
from segue.pipeline.speaker import Speaker
from segue.pipeline.transact import Draft, transact
from segue.store.reader import Reader
from segue.store.records import Change, FactRow, Step, StoredVersion


@dataclass(frozen=True, slots=True)
class Act:
    """What was stated beside the journal, to be done again.

    Attributes:
        again: does it to the draft of a step; gives the persons whose care may change.
        order: µs, rank among simultaneous ones, position, id.
        who: whether it says who a person is, or what a visit is.
        history: it only fills the index.
        source, versions: of what clients stored: who wrote, and how many versions.
    """

    again: Callable[[Recorder], list[Chart]]
    order: tuple[int, int, int, str]
    who: bool = False
    history: bool = False
    source: str = ""
    versions: int = 0


def acts_beside(old: Reader) -> list[Act]:
    """Statements, receipts and clients' resources, in the order they were made."""
    acts = [act_of(row) for row in old.people.facts_beside()]
    known: dict[ResourceKey, str] = {}
    for request in _written(old):
        at, history = _made(request)
        authors = _authors(request, known)
        again = partial(_restore, request=request, authors=authors, at=at, history=history)
        order = (at, 1, request[0].stored.position, request[0].ref)
        acts.append(
            Act(again, order, history=history, source=request[0].source, versions=len(request))
        )
    return sorted(acts, key=lambda one: one.order)


def do(hub: Hub, act: Act) -> None:
    """One act as a step of its own, and what follows for the persons it is about."""

    def compute(draft: Draft) -> None:
        cause = Cause("statement", act.order[-1], act.source)
        recorder = Recorder(draft, Step(cause), history=act.history)
        for chart in act.again(recorder):
            coordinate_person(recorder, chart)
        recorder.close()

    transact(hub, compute)


def act_of(row: FactRow) -> Act:
    """A fact as it was kept, to be stated again."""
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
