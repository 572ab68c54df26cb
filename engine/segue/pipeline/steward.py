"""What a steward decides about who is who: an unmerge.

It is recorded as a fact like those of messages, so that it has its place among them in
whatever order they come, and is part of the record: replay and rebuild keep it.
"""

from dataclasses import dataclass

from segue.care.identity import UNMERGE, parted, standing
from segue.model.changes import Cause
from segue.model.facts import Fact
from segue.model.identity import stable_id
from segue.model.instants import Moment, rfc3339
from segue.pipeline.charts import Chart
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.engine import Hub
from segue.pipeline.facts import pack
from segue.pipeline.kin import Affected
from segue.pipeline.record import Recorder
from segue.pipeline.refold import add_fact, note, project
from segue.pipeline.transact import Draft, transact
from segue.store.records import Step


class NotMergedError(Exception):
    """There is nothing to part; the text says why and what to do."""


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
        fact = _fact(reference, identity, end, because, now)
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
    for found in affected.values():
        if found.chart.into is None:
            project(recorder, found)
            coordinate_person(recorder, found.chart)
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


def _fact(reference: str, identity: str, other: str, because: str, now: Moment) -> Fact:
    return Fact(
        id=stable_id("Fact", reference, identity),
        site="",
        authority=identity.partition("|")[0],
        control_id=reference,
        digest="",
        event=UNMERGE,
        occurred=now,
        recorded=now,
        sent=now,
        received=now.us,
        identity=identity,
        links=[identity],
        prior=other,
        details={"because": because},
    )
