"""Journal entries to facts, resources, care, and deliveries: a batch, one commit.

Each entry keeps its own versions and deliveries; a batch only shares the commit. What
cannot be used fails alone, with an issue, and never holds up what comes after it.
"""

import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import NamedTuple

import structlog

from segue.care.parting import account_of
from segue.hl7v2.ack import ANSWERS, conditions, wants
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.message import Message
from segue.hl7v2.normalise import warning
from segue.hl7v2.parse import parse
from segue.hl7v2.peek import peek
from segue.hl7v2.truncation import last_segment, whole_segments
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped
from segue.model.changes import Cause
from segue.model.deliveries import Delivery
from segue.model.issues import Issue
from segue.model.messages import EntryState, InboxEntry
from segue.pipeline.answers import code_of, errors_of
from segue.pipeline.charts import Chart
from segue.pipeline.compare import InvalidError
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.facts import unpack_person
from segue.pipeline.faults import described
from segue.pipeline.hub import FeedRules, Hub
from segue.pipeline.kept_mappings import keep
from segue.pipeline.kin import Affected
from segue.pipeline.record import Recorder
from segue.pipeline.refold import (
    ASTRAY,
    NOWHERE,
    UNKNOWN,
    UNPLACED,
    add_fact,
    awaiting,
    doubts,
    identities_of,
    is_unknown,
    note,
    project,
)
from segue.pipeline.shared import foresee, holders
from segue.pipeline.transact import Disturbed, Draft, transact
from segue.pipeline.wanted import tasks
from segue.store.records import Committed, CursorMove, FactRow, RevisionConflict, Step

log = structlog.get_logger(__name__)

REUSED = "This control id came before from this sender, with another content."


class Reply(NamedTuple):
    """An application acknowledgement that is wanted: where it goes, and when (MSH-16)."""

    destination: str
    condition: str


@dataclass(slots=True)
class Reading:
    """An entry, parsed and mapped: all that needs no knowledge of what is stored.

    Attributes:
        mapped: None where the message could not be read.
        identities: of all persons that it speaks of.
        reply: where an application acknowledgement goes, if its sender wants one.
    """

    entry: InboxEntry
    mapped: Mapped | None
    issues: list[Issue] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    history: bool = False
    reply: Reply | None = None

    @property
    def cause(self) -> Cause:
        """What the step is owed to."""
        return Cause("entry", str(self.entry.id), self.entry.envelope.site)


@dataclass(slots=True)
class Outcome:
    """What became of a batch.

    Attributes:
        committed: None where there was nothing to write.
        states: entry id to state, of those that are not plainly processed.
    """

    committed: Committed | None
    states: dict[int, EntryState]


def read(hub: Hub, entries: Sequence[InboxEntry], *, release: bool = False) -> list[Reading]:
    """Parse and map entries; what cannot be read says so in its issues.

    Args:
        hub: the engine.
        entries: in any order.
        release: process quarantined entries too: somebody has decided to.
    """
    hub.stages.batch(len(entries))
    hub.stages.start()
    # All of one kind of work before the next: it stays in the processor's caches.
    parsed = [_parse(hub, entry, release) for entry in entries]
    hub.stages.end("parse")
    readings = [_map(hub, entry, found) for entry, found in zip(entries, parsed, strict=True)]
    hub.stages.end("map")
    return readings


def parse_entry(hub: Hub, entry: InboxEntry) -> Message:
    """The message of an entry, in the character sets of its feed.

    Of one that did not come whole it is the segments that did, which says so.

    Raises:
        Hl7Error: it is no HL7 v2 message.
    """
    fallback = hub.feed(entry.raw.feed).charset_fallback
    if not entry.envelope.cut:
        return parse(entry.raw.body, fallback)
    message = parse(whole_segments(entry.raw.body), fallback)
    message.issues.append(warning("cut-off", last_segment(entry.raw.body)))
    return message


def context_of(hub: Hub, entry: InboxEntry) -> Context:
    """What mapping must know beside the message of an entry."""
    raw, envelope = entry.raw, entry.envelope
    feed = hub.feed(raw.feed)
    return Context(
        hub.site(envelope.site),
        raw.feed,
        raw.received,
        feed.history,
        feed.part2,
        envelope.digest,
        envelope.sender,
    )


def _parse(hub: Hub, entry: InboxEntry, release: bool) -> Message | Issue:
    if (held := entry.envelope.quarantined) is not None and not release:
        if entry.envelope.cut:
            return _cut(entry)
        return Issue("error", "quarantined", "", held)
    try:
        return parse_entry(hub, entry)
    except Hl7Error as error:
        return Issue("error", "unreadable", "MSH", str(error))
    except Exception as error:  # noqa: BLE001 - one message must not hold up the others
        return broken(error)


def _cut(entry: InboxEntry) -> Issue:
    """Why a message that did not come whole is held back, and how far it came."""
    last = last_segment(entry.raw.body)
    far = f"ends after {last}" if last else "does not reach the end of its header"
    if entry.envelope.quarantined == "oversize":
        return Issue("error", "oversize", last, f"longer than is taken here; what is kept {far}")
    text = f"the message was cut off; what came {far}; its sender got no acceptance"
    return Issue("error", "truncated", last, text)


def _map(hub: Hub, entry: InboxEntry, message: Message | Issue) -> Reading:
    feed = hub.feed(entry.raw.feed)
    reply = _reply_to(entry, feed) if feed.replies and not entry.envelope.cut else None
    if isinstance(message, Issue):
        return Reading(entry, None, [message], history=feed.history, reply=reply)
    rules = hub.mapping_for(entry.envelope.site)
    keep(hub.store, rules)
    try:
        mapped = apply(rules, message, context_of(hub, entry))
    except Hl7Error as error:
        unreadable = Issue("error", "unreadable", "MSH", str(error))
        return Reading(entry, None, [unreadable], reply=reply)
    except Exception as error:  # noqa: BLE001 - one message must not hold up the others
        return Reading(entry, None, [broken(error)], reply=reply)
    issues = [
        issue for issue in (*message.issues, *mapped.issues) if issue.severity != "information"
    ]
    if entry.reused:
        issues.append(Issue("warning", "control-id-reused", "MSH-10", REUSED))
    return Reading(entry, mapped, issues, identities_of(mapped.facts), feed.history, reply)


def _reply_to(entry: InboxEntry, feed: FeedRules) -> Reply | None:
    seen = peek(entry.raw.body, feed.charset_fallback)
    asked = conditions(seen)
    if not asked.enhanced or asked.application == "NE" or seen.type in ANSWERS:
        return None
    return Reply(feed.replies, asked.application)


def process(hub: Hub, entries: Sequence[InboxEntry], moves: Sequence[CursorMove] = ()) -> Outcome:
    """Process entries in their order and commit once.

    If the batch as a whole cannot be committed, each entry is committed by itself,
    and the culprit is marked `failed`; the cursors then move in a commit of their own.

    Raises:
        RevisionConflict: the lease of a lane was lost: nothing was written.
    """
    readings = read(hub, entries)
    try:
        return commit(hub, readings, moves)
    except RevisionConflict as conflict:
        if conflict.moves:
            raise
        log.info("batch.contested", entries=len(entries))
    except Exception as error:
        hub.charts.clear()
        if is_outage(error):
            raise
        log.warning("batch.parted", entries=len(entries), **described(error))
    states: dict[int, EntryState] = {}
    for reading in readings:
        try:
            states |= commit(hub, [reading], ()).states
        except RevisionConflict:
            raise
        except Exception as error:
            hub.charts.clear()
            if is_outage(error):
                raise
            issues = [*reading.issues, broken(error)]
            failed = Reading(reading.entry, None, issues, reply=reading.reply)
            states |= commit(hub, [failed], ()).states
    return Outcome(transact(hub, lambda _: None, moves), states)


def commit(hub: Hub, readings: Sequence[Reading], moves: Sequence[CursorMove] = ()) -> Outcome:
    """Fold readings into what is stored; one transaction, one step for each.

    Args:
        hub: the engine.
        readings: in the order in which they came.
        moves: cursors that move in the same commit.
    """
    states: dict[int, EntryState] = {}

    def compute(draft: Draft) -> None:
        states.clear()
        fold_readings(draft, readings)
        for step in draft.steps:
            if step.state != "processed":
                states[int(step.cause.ref)] = step.state

    return Outcome(transact(hub, compute, moves), states)


def fold_readings(draft: Draft, readings: Sequence[Reading]) -> None:
    """Make the steps of a batch, on a draft.

    Args:
        draft: an empty one.
        readings: in the order in which they came.
    """
    draft.load({identity for reading in readings for identity in reading.identities})
    draft.hub.stages.end("load")
    foresee(draft, [fact for one in readings if one.mapped for fact in one.mapped.facts])
    if draft.unfinished.patient:
        draft.together = True
        for wave in _waves(draft, readings):
            _fold_together(draft, wave)
            for reading in wave:
                if reading.reply is not None:
                    _answer(draft, reading, reading.reply)
        return
    for reading in readings:
        try:
            with draft.attempt(reading.identities):
                for _ in _fold(draft, reading):
                    pass
        except RevisionConflict:
            raise
        except Exception as error:  # noqa: BLE001 - one entry must not hold up the others
            fail(draft, reading, faults(error))
        if reading.reply is not None:
            _answer(draft, reading, reading.reply)


def _answer(draft: Draft, reading: Reading, reply: Reply) -> None:
    """Queue the application acknowledgement of a reading's step, if it is wanted."""
    step = next(step for step in reversed(draft.steps) if step.cause == reading.cause)
    if wants(reply.condition, success=code_of(errors_of(step.issues)) == "AA"):
        number = str(reading.entry.id)
        # Lanes below zero are nobody's; answers keep the order of their patients' messages.
        lane = -1 - reading.entry.envelope.lane
        step.deliveries.append(Delivery(reply.destination, lane, "ack", number, 0, number))


def _waves(draft: Draft, readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    """The readings in their order, in lots that name nobody twice."""
    wave: list[Reading] = []
    seen: set[int | str] = set()
    for reading in readings:
        if not seen.isdisjoint(_people(draft, reading)):
            yield wave
            wave, seen = [], set()
        wave.append(reading)
        # Whoever they were before, somebody may be known now.
        seen |= _people(draft, reading)
    yield wave


def _people(draft: Draft, reading: Reading) -> set[int | str]:
    """Whom a reading names: persons by number, and identities that nobody has yet.

    With those whom they share facts or accounts with: they are folded together.
    """
    named: set[int | str] = set()
    for identity in reading.identities:
        chart = draft.person(identity)
        named.add(identity if chart is None else chart.pk)
        for other in () if chart is None else chart.margin.others():
            beside = draft.person(other)
            named.add(other if beside is None else beside.pk)
    for fact in reading.mapped.facts if reading.mapped else ():
        if (account := account_of(fact)) is not None:
            named.add(account)
            named |= holders(draft, account, fact.identity)
    return named


def _fold_together(draft: Draft, wave: Sequence[Reading]) -> None:
    """Take readings about different persons through each stage together.

    Raises:
        Disturbed: one of them fails; the draft is of no use then.
    """
    begun = [_fold(draft, reading) for reading in wave]
    try:
        while begun:
            begun = [fold for fold in begun if next(fold, _OVER) is not _OVER]
    except Exception as error:
        raise Disturbed from error


_OVER = object()


def _fold(draft: Draft, reading: Reading) -> Iterator[None]:
    """Fold a reading; yields where the stage changes."""
    mapped, state = reading.mapped, state_of(reading)
    if mapped is None or state in {"failed", "quarantined"}:
        fail(draft, reading, [], state)
        return
    if is_refused(draft, reading):
        fail(draft, reading, [UNKNOWN])
        return
    awaited = awaiting(filter(None, map(draft.person, reading.identities)))
    stages = draft.hub.stages
    step = Step(reading.cause, issues=list(reading.issues), state=state)
    recorder = Recorder(draft, step, history=reading.history)
    affected: dict[int, Affected] = {}
    for fact in mapped.facts:
        note(affected, add_fact(draft, fact))
    step.facts += [draft.unfinished.pack(fact, reading.entry.id) for fact in mapped.facts]
    stages.end("fold")
    # Who was merged away within this entry is shown by the one who stays.
    affected = {pk: found for pk, found in affected.items() if found.chart.into is None}
    for found in affected.values():
        yield
        step.issues += doubts(found, mapped.facts)
        stirred = project(recorder, found)
        yield
        coordinate_person(recorder, found.chart, stirred=stirred)
    yield
    forward = next(iter(affected.values())).chart if affected else None
    close(recorder, reading, mapped, forward=forward)
    settle_entries(draft, mapped, affected.values(), awaited)


def is_refused(draft: Draft, reading: Reading) -> bool:
    """Whether the site takes no updates of a visit that nobody has spoken of, as this is one."""
    rejects = draft.hub.site(reading.entry.envelope.site).unknown_visit == "reject"
    facts = reading.mapped.facts if reading.mapped else ()
    return rejects and any(is_unknown(draft, fact) for fact in facts)


def close(
    recorder: Recorder,
    reading: Reading,
    mapped: Mapped,
    *,
    forward: Chart | None,
    again: Sequence[str] | None = None,
) -> None:
    """Write what belongs to no person, and finish the step of a reading.

    Args:
        recorder: of the step.
        reading, mapped: what it is about.
        forward: the person whose message is forwarded as it came.
        again: see `segue.pipeline.provenance.provenance`.
    """
    entry, step = reading.entry, recorder.step
    said = mapped.facts[0].recorded if mapped.facts else mapped.recorded
    if mapped.directory and said is not None:
        # The digest tells apart what has the same control id: of two the same one always holds.
        told = f"{entry.envelope.control_id} {entry.envelope.digest[:8]}"
        recorder.directory(mapped.directory, (said.us, told))
    if mapped.wanted:
        recorder.directory(tasks(entry.envelope.site, mapped.wanted), (entry.raw.received, ""))
    if any(issue.severity == "error" for issue in step.issues):
        step.state = "parked"
    about = mapped.facts[0].occurred if mapped.facts else None
    recorder.close(
        forward=forward,
        protected=frozenset(label for fact in mapped.facts for label in fact.labels),
        control_id=entry.envelope.control_id,
        occurred=about.text if about is not None and about.has_time else None,
        mapping=mapped.mapping,
        unmapped=mapped.verbatim,
        again=again,
    )


def settle_entries(
    draft: Draft,
    mapped: Mapped,
    affected: Collection[Affected],
    awaited: set[tuple[str, str]],
) -> None:
    """Let entries wait no more whose facts have found their visit or target.

    And let those wait whose visit turns out to be another's.

    Args:
        draft: with the step that settled them.
        mapped: what that step was about.
        affected: by it.
        awaited: see `awaiting`, as it was before.
    """
    if awaited:
        awaited = awaited - awaiting(found.chart for found in affected)
    done = {fact.id for fact in mapped.facts}
    for found in affected:
        settled: dict[str, list[str]] = {}
        for code, fact_id in chain(awaited, product([UNPLACED.code], found.settled)):
            if fact_id not in done:
                settled.setdefault(fact_id, []).append(code)
        if settled:
            done |= _unpark(draft, found.chart, settled)
        if strayed := found.strayed - done:
            for step, ids in _steps_of(draft, found.chart, strayed):
                step.issues += [ASTRAY] * len(ids)
                step.state = "parked"


def _unpark(draft: Draft, chart: Chart, settled: Mapping[str, Sequence[str]]) -> set[str]:
    """Let facts wait no more, now that their visit or target is known; those that were found.

    What they say is in the changes of the step that settled it. An entry is parked as
    long as any of its facts waits for its visit.

    Args:
        draft: with that step.
        chart: of the person.
        settled: id of each such fact, and the codes of the issues that are over with it.
    """
    done: set[str] = set()
    for step, ids in _steps_of(draft, chart, settled.keys()):
        _settle(step, ids, settled)
        done |= ids
    return done


def _steps_of(
    draft: Draft, chart: Chart, facts: Collection[str]
) -> Iterator[tuple[Step, set[str]]]:
    """The steps that say these facts, with those that each says.

    Of this draft; and of entries that are stored, which say just that again.
    """
    left = set(facts)
    for step in list(draft.steps):
        if step.state in ("parked", "processed") and (ids := left & {f.id for f in step.facts}):
            left -= ids
            yield step, ids
    if not left or not (chart.revision or chart.margin.absorbed):
        return
    reader = draft.reader
    rows = reader.people.facts_of(chart.identities)
    entries = {row.entry for row in rows if row.id in left and row.entry} - draft.replaced
    if not entries:
        return
    issues = reader.issues_of(entries)
    said: dict[int, list[FactRow]] = {}
    for row in reader.people.facts_of_entries(entries):
        said.setdefault(row.entry, []).append(row)
    for entry, own in said.items():
        cause = Cause("entry", str(entry), unpack_person(own[0]).site)
        ids = left & {row.id for row in own}
        # A step replaces what its entry said before.
        step = Step(cause, own, issues=issues.get(entry, []))
        draft.steps.append(step)
        yield step, ids


def _settle(step: Step, ids: Iterable[str], settled: Mapping[str, Sequence[str]]) -> None:
    """Take away an issue for each code that is over with each of these facts."""
    for code in chain.from_iterable(settled[id_] for id_ in ids):
        alike = NOWHERE if code in NOWHERE else {code}
        issue = next((one for one in step.issues if one.code in alike), None)
        if issue is not None:
            step.issues.remove(issue)
    errors = any(issue.severity == "error" for issue in step.issues)
    step.state = "parked" if errors else "processed"


def state_of(reading: Reading) -> EntryState:
    """What becomes of its entry, as far as mapping knows."""
    if reading.entry.envelope.quarantined is not None and reading.mapped is None:
        return "quarantined"
    if reading.mapped is None:
        return "failed"
    if reading.mapped.facts:
        return "processed"
    return "failed" if any(i.severity == "error" for i in reading.issues) else "processed"


def fail(
    draft: Draft, reading: Reading, issues: Sequence[Issue], state: EntryState = "failed"
) -> None:
    """Make the step of a reading of which nothing is applied."""
    draft.steps.append(Step(reading.cause, state=state, issues=[*reading.issues, *issues]))


def faults(error: Exception) -> list[Issue]:
    """What was wrong with a reading that raised this."""
    return error.issues if isinstance(error, InvalidError) else [broken(error)]


def is_outage(error: BaseException) -> bool:
    """Whether an error is the store's, and no entry's fault.

    Database drivers share the names of their exceptions (PEP 249).
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, OSError) or bool(names & {"OperationalError", "InterfaceError"})


def broken(error: BaseException) -> Issue:
    """An unexpected error as an issue: its class and its place, and no data.

    >>> broken(KeyError("SMITH^JOHN")).text
    'KeyError; this is a defect of the engine, replay the entry once it is mended'
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = ""
    if frames:
        file = frames[-1].filename.rpartition("/segue/")[2] or frames[-1].filename
        where = f"{file}:{frames[-1].lineno}"
    name = type(error).__name__
    text = f"{name}; this is a defect of the engine, replay the entry once it is mended"
    return Issue("error", "processing-failed", where, text)
