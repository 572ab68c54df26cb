"""What was processed before, processed anew: the facts of some entries are replaced.

All of them are replaced before anybody is folded, so that each person goes from what
is stored to what is true now in one step: what lies between is neither written nor sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from segue.mapping.context import Mapped
from segue.model.facts import Fact
from segue.model.issues import Issue
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.facts import pack, unpack
from segue.pipeline.kin import Affected
from segue.pipeline.process import (
    Reading,
    close,
    fail,
    faults,
    is_refused,
    settle_entries,
    state_of,
)
from segue.pipeline.record import Recorder
from segue.pipeline.refold import (
    UNKNOWN,
    add_fact,
    awaiting,
    doubts,
    identities_of,
    note,
    project,
    refold,
)
from segue.pipeline.shared import foresee
from segue.pipeline.transact import Disturbed, Draft
from segue.store.records import FactRow, RevisionConflict, Step


@dataclass(slots=True)
class Again:
    """What became of entries that were processed anew.

    Attributes:
        otherwise: entries that say something else than before, to the pks of the persons
            whom they concern.
        failed: entries that cannot be applied now, with what is wrong. Of one that was
            applied before, all stays as it was.
    """

    otherwise: dict[int, set[int]] = field(default_factory=dict)
    failed: dict[int, list[Issue]] = field(default_factory=dict)


@dataclass(slots=True)
class _Taken:
    """A reading whose facts are in the place of its old ones."""

    reading: Reading
    mapped: Mapped
    recorder: Recorder
    old: Sequence[FactRow]
    identities: list[str]
    awaited: set[tuple[str, str]]
    found: list[Affected] = field(default_factory=list)
    last_of: list[Affected] = field(default_factory=list)


def fold_again(draft: Draft, readings: Sequence[Reading]) -> Again:
    """Make the steps of entries that were processed before.

    The last entry that speaks of a person has what changes of them; its Provenance names
    the others.

    Args:
        draft: an empty one. A patient one takes all entries together.
        readings: in the order in which they came.

    Raises:
        Disturbed: one of them fails; a draft that is not patient takes them one by one.
    """
    draft.again = True
    result = Again()
    said: dict[int, list[FactRow]] = {}
    for row in draft.reader.people.facts_of_entries([one.entry.id for one in readings]):
        said.setdefault(row.entry, []).append(row)
    spoken = {identity for one in readings for identity in one.identities}
    draft.load(spoken | {row.identity for rows in said.values() for row in rows})
    foresee(draft, [fact for one in readings if one.mapped for fact in one.mapped.facts])
    if draft.unfinished.patient:
        try:
            _fold(draft, readings, said, result)
        except RevisionConflict:
            raise
        except Exception as error:
            raise Disturbed from error
        return result
    for reading in readings:
        old = said.get(reading.entry.id, [])
        try:
            with draft.attempt({*reading.identities, *(row.identity for row in old)}):
                _fold(draft, [reading], said, result)
        except RevisionConflict:
            raise
        except Exception as error:  # noqa: BLE001 - one entry must not hold up the others
            _refuse(draft, reading, faults(error), result, applied=bool(old))
    return result


def _fold(
    draft: Draft, readings: Iterable[Reading], said: dict[int, list[FactRow]], result: Again
) -> None:
    taken = [
        one
        for reading in readings
        if (one := _take(draft, reading, said.get(reading.entry.id, ()), result)) is not None
    ]
    whom = [_whom(draft, one) for one in taken]
    everybody: dict[int, Affected] = {}
    for pk in dict.fromkeys(pk for pks in whom for pk in pks):
        if pk not in everybody and draft.charts[pk].into is None:
            note(everybody, refold(draft, draft.charts[pk]))
    everybody = {pk: one for pk, one in everybody.items() if one.chart.into is None}
    # A fold anew may divide a person, or find others who share the facts.
    whom = [_whom(draft, one) for one in taken]
    for one in taken:
        for was in one.found:
            if (now := everybody.get(draft.chart(was.chart.pk).pk)) is not None:
                now.after |= was.after - {now.chart.pk}
                now.notice = now.notice or was.notice
    left = dict(everybody)
    for one, pks in zip(reversed(taken), reversed(whom), strict=True):
        one.last_of = [left.pop(pk) for pk in pks if pk in left]
    if taken:
        taken[-1].last_of += left.values()
    for one, pks in zip(taken, whom, strict=True):
        if not _says_the_same(one):
            result.otherwise[one.reading.entry.id] = set(pks)
    for one, pks in zip(taken, whom, strict=True):
        _write(draft, one, [everybody[pk] for pk in pks if pk in everybody], result)


def _take(draft: Draft, reading: Reading, old: Sequence[FactRow], result: Again) -> _Taken | None:
    """Put what an entry says now in the place of what it said before."""
    mapped, state = reading.mapped, state_of(reading)
    if mapped is None or state in {"failed", "quarantined"}:
        _refuse(draft, reading, [], result, applied=bool(old))
        return None
    if is_refused(draft, reading):
        _refuse(draft, reading, [UNKNOWN], result, applied=bool(old))
        return None
    step = Step(reading.cause, issues=list(reading.issues), state=state)
    identities = [*identities_of(mapped.facts), *(row.identity for row in old)]
    awaited = awaiting(filter(None, map(draft.person, reading.identities)))
    recorder = Recorder(draft, step, history=reading.history)
    one = _Taken(reading, mapped, recorder, old, identities, awaited)
    draft.void(reading.entry.id)
    for fact in mapped.facts:
        one.found += add_fact(draft, fact)
    step.facts += [draft.unfinished.pack(fact, reading.entry.id) for fact in mapped.facts]
    return one


def _refuse(
    draft: Draft, reading: Reading, issues: Sequence[Issue], result: Again, *, applied: bool
) -> None:
    result.failed[reading.entry.id] = [*reading.issues, *issues]
    if not applied:
        fail(draft, reading, issues, state_of(reading) if not issues else "failed")


def _whom(draft: Draft, one: _Taken) -> list[int]:
    """Pks of the persons whom an entry speaks of, or spoke of."""
    charts = [chart for name in one.identities if (chart := draft.person(name)) is not None]
    return list(dict.fromkeys(chart.pk for chart in charts))


def _says_the_same(one: _Taken) -> bool:
    """Whether an entry says what it said before, by whatever rules."""
    now = {fact.id: _plain(unpack(pack(fact, one.reading.entry.id))) for fact in one.mapped.facts}
    return now == {row.id: _plain(unpack(row)) for row in one.old}


def _plain(fact: Fact) -> Fact:
    return replace(fact, mapping="", rules=[])


def _write(draft: Draft, one: _Taken, found: Sequence[Affected], result: Again) -> None:
    recorder, step, mapped = one.recorder, one.recorder.step, one.mapped
    for affected in found:
        step.issues += doubts(affected, mapped.facts)
    for affected in one.last_of:
        stirred = project(recorder, affected)
        coordinate_person(recorder, affected.chart, stirred=stirred)
    own = {affected.chart.pk for affected in one.last_of}
    others = [
        str(entry)
        for entry, pks in result.otherwise.items()
        if entry != one.reading.entry.id and not own.isdisjoint(pks)
    ]
    forward = found[0].chart if found and not one.old else None
    close(recorder, one.reading, mapped, forward=forward, again=others)
    settle_entries(draft, mapped, found, one.awaited)
