"""Making a store anew from its records: the journal, and what was stated beside it.

Messages are mapped and folded again; what cannot be computed is carried over: what
clients stored and stated, receipts, and what stewards decided. Nothing is sent. What
comes of it must be what the old store holds, in the canonical form, and `differences`
says where it is not (docs/operations.md, "Rebuilding the store").
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from segue.model.changes import Cause
from segue.model.deliveries import OF_ENTRIES, Delivery
from segue.model.instants import instant_of
from segue.pipeline.beside import act_of, acts_beside, do
from segue.pipeline.compare import parse_key
from segue.pipeline.differences import differences
from segue.pipeline.discard import restate
from segue.pipeline.hub import Hub
from segue.pipeline.process import commit, read
from segue.pipeline.timers import bring_up_to_date
from segue.pipeline.transact import Draft, transact
from segue.store.deliveries import Deliveries
from segue.store.listings import DeliveryFilter, DeliveryState
from segue.store.reader import Reader
from segue.store.records import Step

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
    acts = acts_beside(old)
    result.resources = sum(act.versions for act in acts)
    result.statements = sum(not act.versions for act in acts)
    # Who is who comes first, for a visit keeps the Encounter that a client began it with.
    for act in (one for one in acts if one.who):
        do(silent, act)
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
        do(silent, act)
    with hub.store.read() as reader:
        everybody = [pk for page in _persons(reader) for pk in page]
    for start in range(0, len(everybody), CHUNK):
        bring_up_to_date(silent, everybody[start : start + CHUNK])
    hub.store.go_on_from(old)
    result.deliveries = _queue(silent, waiting)
    with hub.store.read() as new:
        result.different = differences(old, new)
    return result


def _persons(reader: Reader) -> Iterator[list[int]]:
    after = 0
    while rows := reader.people.persons(after):
        after = rows[-1].pk
        yield [row.pk for row in rows if row.merged_into is None]


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
            do(hub, act_of(row))


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
