"""What is decided about who is who: a link, an unmerge, two that are to be kept apart.

It is recorded as a fact like those of messages, so that it has its place among them in
whatever order they come, and is part of the record: replay and rebuild keep it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from segue.care.identity import LINK, UNMERGE, parted, standing
from segue.model.changes import Cause
from segue.model.facts import Fact
from segue.model.identity import stable_id
from segue.model.instants import Moment, rfc3339
from segue.pipeline.charts import Chart
from segue.pipeline.compare import parse_key
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.facts import pack
from segue.pipeline.hub import Hub
from segue.pipeline.kin import Affected
from segue.pipeline.record import Recorder
from segue.pipeline.refold import add_fact, note, project
from segue.pipeline.transact import Draft, transact
from segue.store.records import Step


class NotMergedError(Exception):
    """There is nothing to part; the text says why and what to do."""


class CannotLinkError(Exception):
    """The two cannot be linked; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Unmerged:
    """The result of an unmerge.

    Attributes:
        patients: ids of the two Patients that are active again, the survivor's first.
        resources: how many resources of either person were written.
    """

    patients: tuple[str, str]
    resources: int


def unmerge(hub: Hub, gone: str, kept: str | None, because: str) -> Unmerged:
    """Part two identities that were merged or taken for one person.

    Both persons are as if the merge had never been, with what happened since on the
    side of the patient or visit that it is about.

    Args:
        hub: the engine.
        gone: the identity that shall stand for itself again, `HOSPA|100999`.
        kept: the one that it was merged into; None where only one comes into question.
        because: why; kept with the fact.

    Raises:
        NotMergedError: they are not one person, or something else joins them as well.
    """
    done: list[Unmerged] = []

    def compute(draft: Draft) -> None:
        done[:] = [_unmerge(draft, gone, kept, because)]

    transact(hub, compute)
    return done[0]


def link(hub: Hub, one: str, other: str, because: str, *, decided: bool = False) -> bool:
    """Let two identities be one person; whether they were not before.

    Args:
        hub: the engine.
        one, other: identities, `HOSPA|100999`, or `Patient/id`.
        because: why; kept with the fact.
        decided: a person says so, and may overrule what a person has said before.

    Raises:
        CannotLinkError: one of them is not known, or a steward has kept them apart.
    """
    done: list[bool] = []

    def compute(draft: Draft) -> None:
        done[:] = [_link(draft, one, other, because, decided=decided)]

    transact(hub, compute)
    return done[0]


def _link(draft: Draft, one: str, other: str, because: str, *, decided: bool) -> bool:
    first, second = find(draft, one), find(draft, other)
    if first is second:
        return False
    apart = parted(first.person.edges) | parted(second.person.edges)
    ours, theirs = set(first.person.identities), set(second.person.identities)
    kept = [pair for pair in apart if pair & ours and pair & theirs]
    if kept and not decided:
        raise CannotLinkError(f"{one} and {other}: a steward has kept them apart")
    now = Moment(rfc3339(draft.now), draft.now)
    # What parted two of them is overruled between these two.
    pair = sorted(kept[0]) if kept else [first.person.key, second.person.key]
    reference = stable_id("Steward", LINK, *sorted(pair), str(draft.now))
    step = Step(Cause("steward", reference))
    recorder = Recorder(draft, step)
    fact = _fact(LINK, reference, pair[0], pair[1], because, now)
    draft.load(pair)
    found = add_fact(draft, fact)
    step.facts.append(pack(fact, 0, "steward"))
    affected: dict[int, Affected] = {}
    note(affected, found)
    _project(recorder, affected)
    recorder.close()
    return True


def keep_apart(hub: Hub, one: str, other: str, because: str) -> None:
    """Note that two persons are two, whatever they have in common.

    Args:
        hub: the engine.
        one, other: identities, `HOSPA|100999`, or `Patient/id`.
        because: why; kept with the facts.

    Raises:
        CannotLinkError: one of them is not known, or they are one person now.
    """

    def compute(draft: Draft) -> None:
        first, second = find(draft, one), find(draft, other)
        if first is second:
            raise CannotLinkError(f"{one} and {other} are one person: unmerge them instead")
        now = Moment(rfc3339(draft.now), draft.now)
        pair = (first.person.key, second.person.key)
        draft.load(pair)
        reference = stable_id("Steward", UNMERGE, *pair, str(draft.now))
        step = Step(Cause("steward", reference))
        recorder = Recorder(draft, step)
        affected: dict[int, Affected] = {}
        for identity, end in (pair, pair[::-1]):
            fact = _fact(UNMERGE, reference, identity, end, because, now)
            note(affected, add_fact(draft, fact))
            step.facts.append(pack(fact, 0, "steward"))
        _project(recorder, affected)
        recorder.close()

    transact(hub, compute)


def find(draft: Draft, name: str) -> Chart:
    """The person of an identity or of a Patient."""
    if not name.startswith("Patient/"):
        draft.load([name])
        chart = draft.person(name)
    else:
        key = parse_key(name)
        head = draft.reader.heads([key]).get(key)
        chart = None
        if head is not None and head.owner is not None:
            draft.load(pks=[head.owner])
            chart = draft.chart(head.owner)
    if chart is None or not chart.person.key:
        # Of some only another's message has told, as of where a visit was moved from.
        raise CannotLinkError(f"{name}: nobody is known by this")
    return chart


def _project(recorder: Recorder, affected: Mapping[int, Affected]) -> None:
    for found in affected.values():
        if found.chart.into is None:
            project(recorder, found)
            coordinate_person(recorder, found.chart)


def _unmerge(draft: Draft, gone: str, kept: str | None, because: str) -> Unmerged:
    draft.load([gone, *([kept] if kept else [])])
    chart = draft.person(gone)
    if chart is None:
        raise NotMergedError(f"{gone}: no message has named this identity")
    other = kept or _merged_into(chart, gone)
    draft.load([other])
    if gone == other:
        raise NotMergedError(f"{gone}: it cannot be parted from itself; name the other one")
    if draft.person(other) is not chart:
        raise NotMergedError(f"{gone} and {other} are two persons already")
    now = Moment(rfc3339(draft.now), draft.now)
    reference = stable_id("Steward", UNMERGE, gone, other, str(draft.now))
    step = Step(Cause("steward", reference))
    recorder = Recorder(draft, step)
    affected: dict[int, Affected] = {}
    for identity, end in ((other, gone), (gone, other)):
        fact = _fact(UNMERGE, reference, identity, end, because, now)
        note(affected, add_fact(draft, fact))
        step.facts.append(pack(fact, 0, "steward"))
    one, two = draft.person(other), draft.person(gone)
    assert one is not None, "it was found before"
    assert two is not None, "it was found before"
    if one is two:
        joins = [e for e in standing(one.person.edges) if {e.gone, e.kept} & {gone, other}]
        named = ", ".join(sorted(f"{edge.gone} into {edge.kept}" for edge in joins))
        raise NotMergedError(
            f"{gone} and {other} are joined by other merges too: part {named or 'those'} first"
        )
    _project(recorder, affected)
    recorder.close()
    written = len({write.key for write in step.writes if write.key.type != "Provenance"})
    return Unmerged((one.person.patient, two.person.patient), written)


def _merged_into(chart: Chart, gone: str) -> str:
    """The one identity that another one was merged into."""
    person = chart.person
    ends = {edge.kept for edge in standing(person.edges) if edge.gone == gone}
    apart = {end for pair in parted(person.edges) if gone in pair for end in pair}
    ends = (ends or set(person.patients)) - apart - {gone}
    if len(ends) == 1:
        return ends.pop()
    if not ends:
        raise NotMergedError(f"{gone} is a person of its own")
    raise NotMergedError(f"{gone}: name one of {', '.join(sorted(ends))} to part it from")


def _fact(event: str, reference: str, identity: str, other: str, because: str, now: Moment) -> Fact:
    return Fact(
        id=stable_id("Fact", reference, identity),
        site="",
        authority=identity.partition("|")[0],
        control_id=reference,
        digest="",
        event=event,
        occurred=now,
        recorded=now,
        sent=now,
        received=now.us,
        identity=identity,
        links=[identity],
        prior=other,
        details={"because": because},
    )
