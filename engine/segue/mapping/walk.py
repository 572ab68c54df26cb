"""The segments of one patient, and what they say together: the fragments of a fact.

What a segment said before, of the same patient, is looked up instead of worked out;
so is what the same segments said together. The results are then the very same objects,
by which the floors above see without comparing that nothing new was said.
"""

from collections.abc import Iterable
from typing import NamedTuple

from segue.hl7v2.message import Segment
from segue.mapping.compile import ANCHORS, Option, Plan, Reading
from segue.mapping.context import Step
from segue.mapping.fields import Elements
from segue.mapping.memo import Recent
from segue.mapping.said import Hearing, Part, Said, add
from segue.mapping.values import Run
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id

MOST_SEGMENTS = (9_000, 2_500, 2_500)
"""Segments that a mapping remembers for a site, about 4 kB each.

Of a patient, of an event, of a visit: the latter two change with most messages, and
must not push out what the patient's next message repeats.
"""
MOST_TOGETHER = 3_000
"""The same of what segments say together, which is mostly made of the former."""

_UNREAD = Reading()


class Memory(NamedTuple):
    """What was said before.

    Attributes:
        said: for `PATIENT`, `EVENT` and `VISIT`, by text of the segment and by what
            else it hangs on.
        together: by owner and by what its segments said, in order.
    """

    said: tuple[Recent[tuple[str, str, str, str], Said], ...]
    together: Recent[tuple[object, ...], list[Fragment]]


def memory() -> Memory:
    """An empty one."""
    return Memory(tuple(Recent(most) for most in MOST_SEGMENTS), Recent(MOST_TOGETHER))


def walk(
    plan: Plan,
    run: Run,
    fact: Fact,
    segments: list[Segment],
    unmapped: dict[str, str],
    *,
    known: Memory | None,
    trace: list[Step] | None = None,
) -> None:
    """Map the segments of a patient group into a fact.

    Args:
        plan: of the message's structure.
        run: with identity and visit of the group; the fact's details, labels and rules
            are left there.
        fact: gets its fragments.
        segments: in order.
        unmapped: gets name and value of populated fields that no rule reads.
        known: None: work everything out.
        trace: what each rule did, where asked for; nothing is then looked up.
    """
    about_visit = fact.about_visit
    heard: list[Said] = []
    standing: dict[str, str] = {}
    hearing = Hearing(run, about_visit, standing, trace)
    # By PATIENT, EVENT and VISIT; a carriage return is in no part of these.
    patient = f"{plan.name}\r{run.offset}\r{fact.identity}"
    event = f"{patient}\r{about_visit}"
    owners = patient, event, f"{event}\r{fact.visit}"
    remembers = known is not None and trace is None
    counts: dict[str, int] = {}
    anchor = ""
    for segment in segments:
        name = segment.name
        counts[name] = number = counts.get(name, 0) + 1
        if name in ANCHORS:
            anchor = name
        reading = plan.readings.get(name, _UNREAD)
        said = None
        # Escapes may hang on the message's character set.
        if remembers and reading.alone and run.escape not in segment.line:
            place = (
                segment.line,
                owners[reading.owner],
                anchor if reading.placed else "",
                ",".join([n for n in reading.joins if n in standing]) if reading.joins else "",
            )
            said = known.said[reading.owner].get(place)  # type: ignore[union-attr]
        else:
            place = None
        if said is None:
            hearing.number = number
            option = _option(plan.options.get(name), anchor, segment, run)
            said = hearing.hear(segment, option, plan.structural.get(name, frozenset()))
            if place is not None:
                known.said[reading.owner].put(place, said)  # type: ignore[union-attr]
        heard.append(said)
        if said.makes:
            standing.update(said.makes)
        if said.unread:
            if number == 1:
                unmapped.update(said.unmapped)
            else:
                unmapped.update((f"{name}[{number}]-{n}", raw) for n, raw in said.unread)
    _note(heard, run)
    recall = known.together if remembers else None  # type: ignore[union-attr]
    fact.person = _together(
        ("Patient", fact.identity), [said for said in heard if said.person], "person", recall
    )
    if about_visit:
        fact.stay = _together(
            ("Encounter", fact.visit or ""), [said for said in heard if said.stay], "visit", recall
        )


def _note(heard: Iterable[Said], run: Run) -> None:
    """What segments say beside resources."""
    details, labels, fired, directory = run.details, run.labels, run.fired, run.directory
    for said in heard:
        fired += said.fired
        if said.details:
            details.update(said.details)
        if said.directory:
            directory.update(said.directory)
        if said.labels:
            labels += [label for label in said.labels if label not in labels]
        for issue in said.issues:
            run.report(issue.severity, issue.code, issue.where, issue.text, issue.rule)


def _option(
    options: tuple[Option, ...] | None, anchor: str, segment: Segment, run: Run
) -> Option | None:
    for option in options or ():
        after = option.placement.after
        if (after is None or after == anchor) and (
            option.condition is None or option.condition(segment.fields, run)
        ):
            return option
    return None


def _together(
    owner: tuple[str, str],
    heard: list[Said],
    scope: str,
    known: Recent[tuple[object, ...], list[Fragment]] | None,
) -> list[Fragment]:
    """The fragments of a person or a visit; the Patient or Encounter comes first."""
    key = (*owner, *heard)
    made = known.get(key) if known is not None else None
    if made is None:
        made = _fragments(owner, [p for said in heard for p in said.parts if p.scope == scope])
        if known is not None:
            known.put(key, made)
    return made


def _fragments(owner: tuple[str, str], parts: list[Part]) -> list[Fragment]:
    kind, key = owner
    own = stable_id(kind, key) if key else ""
    first = Fragment(kind, own, "person" if kind == "Patient" else "visit", {})
    made: dict[tuple[str, str], Fragment] = {(kind, ""): first}
    joined: dict[str, tuple[str, str]] = {}
    private: set[tuple[str, str]] = set()
    for part in parts:
        place = joined.get(part.joins) if part.joins else part.key
        if place is None:
            continue
        held = made.get(place)
        if held is None:
            if part.whole is not None:
                made[place] = part.whole
                joined[part.program.map.name] = place
        elif not held.elements:
            made[place] = Fragment(held.type, held.id, held.scope, part.told)
        else:
            # What a segment says is shared; the first addition makes a copy.
            elements: Elements = held.elements if place in private else {**held.elements}
            private.add(place)
            add(elements, part.told, part.program.adds)
            made[place] = Fragment(held.type, held.id, held.scope, elements)
    return list(made.values())
