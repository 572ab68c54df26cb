"""The segments of one patient, and what they say together: the fragments of a fact.

What a segment said before of the same patient is looked up instead of worked out. If
all that is said of the person was said before, it is the very same list of fragments.
"""

from collections.abc import Mapping
from typing import Any

from segue.hl7v2.message import Segment
from segue.mapping.compile import Option, Plan
from segue.mapping.context import Step
from segue.mapping.fields import add
from segue.mapping.said import Hearing, Part, Said
from segue.mapping.said import unread as unread_of
from segue.mapping.values import Run
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id
from segue.model.memo import Recent

MOST_PATIENTS = 2_500
"""Patients whose segments a mapping remembers for a site, about 20 kB each."""
MOST_LINES = 32
"""Segments of one patient, of which some change."""

Memory = Recent[tuple[str, str | None, str], dict[Any, Any]]
"""By plan, the message's offset and the patient: what segments said, by their text; and
the fragments that came of it, by all of what was said."""


def memory() -> Memory:
    """An empty one."""
    return Memory(MOST_PATIENTS)


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
    patient: dict[Any, Any] = {}
    personal: Mapping[str, tuple[str, ...]] = {}
    if known is not None and trace is None:
        patient = _patient(known, (plan.name, run.offset, fact.identity))
        personal = plan.personal
    standing: dict[str, str] = {}
    hearing = Hearing(run, plan, fact.about_visit, standing, trace)
    run.standing = standing
    heard: list[Said] = []
    person: list[Part] = []
    stay: list[Part] = []
    repeated = True
    counts: dict[str, int] = {}
    anchor, anchors, followed = "", plan.anchors, plan.followed
    listing = Listing(run) if plan.snapshot else None
    lent, offered = plan.lent, list[tuple[str, int, list[str]]]()
    for segment in segments:
        name, line = segment.name, segment.line
        counts[name] = number = counts.get(name, 0) + 1
        if name in anchors:
            anchor = name
        if name in followed:
            run.segments[name] = segment
        joins = personal.get(name)
        # Escapes may hang on the message's character set.
        if joins is not None and run.escape not in line:
            key = (line, *[n for n in joins if n in standing]) if joins else line
            said = patient.get(key)
            if said is None:
                option = _option(plan, anchor, segment, run)
                said = patient[key] = hearing.learn(segment, option)
            said.again(run)
            if said.makes:
                standing.update(said.makes)
            heard.append(said)
            parts = said.parts
            person += parts
            unread = said.unread
        else:
            hearing.number = number
            option = _option(plan, anchor, segment, run)
            parts, unread = hearing.hear(segment, option)
            for part in parts:
                if part[2] == "visit":
                    stay.append(part)
                else:
                    person.append(part)
                    repeated = False
        if unread:
            where = name if number == 1 else f"{name}[{number}]"
            for n, raw in unread:
                unmapped[f"{where}-{n}"] = raw
        if name in lent:
            offered.append((name, number, segment.fields))
        if listing is not None and name in plan.snapshot:
            listing.add(segment, parts)
    if listing is not None:
        listing.tell(run)
    for name, number, fields in offered:
        where = name if number == 1 else f"{name}[{number}]"
        numbers = [n for n in lent[name] if n < len(fields)]
        for n, raw in unread_of(fields, numbers):
            if (name, n, raw) not in run.used:
                unmapped[f"{where}-{n}"] = raw
    run.used.clear()
    owner = ("Patient", fact.identity)
    if repeated and heard:
        # What was said is kept as long as these keys are, so that no id comes again.
        together = tuple(map(id, heard))
        fact.person = patient.get(together) or _fragments(owner, person)
        patient[together] = fact.person
    else:
        fact.person = _fragments(owner, person)
    if fact.about_visit:
        fact.stay = _fragments(("Encounter", fact.visit or ""), stay)


def places(
    plan: Plan,
    run: Run,
    segments: list[Segment],
    unmapped: dict[str, str],
    *,
    trace: list[Step] | None = None,
) -> None:
    """Map segments that speak of places and of no patient (A20) into the directory.

    Args:
        plan, run, segments, unmapped, trace: see `walk`.
    """
    run.standing, run.segments = {}, {segment.name: segment for segment in reversed(segments)}
    run.details, run.labels, run.fired = {}, [], []
    hearing = Hearing(run, plan, False, run.standing, trace)
    counts: dict[str, int] = {}
    for segment in segments:
        name = segment.name
        counts[name] = hearing.number = counts.get(name, 0) + 1
        _, unread = hearing.hear(segment, _option(plan, "", segment, run))
        where = name if hearing.number == 1 else f"{name}[{hearing.number}]"
        unmapped |= {f"{where}-{n}": raw for n, raw in unread}


class Listing:
    """What the segments list of which a site sends all every time.

    A list with a segment that nothing could be made of is no list: it adds, and takes
    nothing away. Segments of nothing but nulls list nothing: all that was goes.
    """

    def __init__(self, run: Run) -> None:
        self._blank = run.blank
        self._listed: dict[str, list[str]] = {}
        self._doubtful: set[str] = set()

    def add(self, segment: Segment, parts: list[Part]) -> None:
        """Take one segment, and what was made of it."""
        made = [f"{key[0]}/{key[1]}" for _, key, _, _, whole in parts if whole is not None]
        self._listed.setdefault(segment.name, []).extend(made)
        # Field 1 of all such segments is their set id.
        if not made and any(raw.strip(self._blank) for raw in segment.fields[2:]):
            self._doubtful.add(segment.name)

    def tell(self, run: Run) -> None:
        """Leave the lists in the details of the fact."""
        if listed := {n: m for n, m in self._listed.items() if n not in self._doubtful}:
            run.details["listed"] = listed


def _patient(known: Memory, place: tuple[str, str | None, str]) -> dict[Any, Any]:
    patient = known.get(place)
    if patient is None:
        patient = {}
        known.put(place, patient)
    elif len(patient) > MOST_LINES:
        patient.clear()
    return patient


def _option(plan: Plan, anchor: str, segment: Segment, run: Run) -> Option | None:
    for option in plan.options.get(segment.name, ()):
        after = option.placement.after
        if (after is None or after == anchor) and (
            option.condition is None or option.condition(segment.fields, run)
        ):
            return option
    return None


def _fragments(owner: tuple[str, str], parts: list[Part]) -> list[Fragment]:
    """The fragments of a person or a visit; the Patient or Encounter comes first."""
    kind, whose = owner
    own = stable_id(kind, whose) if whose else ""
    first = Fragment(kind, own, "person" if kind == "Patient" else "visit", {})
    made: dict[tuple[str, str], Fragment] = {(kind, ""): first}
    joined: dict[str, tuple[str, str]] = {}
    private: set[tuple[str, str]] = set()
    for program, key, _, told, whole in parts:
        place = joined.get(program.joins) if program.joins else key
        if place is None:
            continue
        held = made.get(place)
        if held is None:
            if whole is not None:
                made[place] = whole
                joined[program.map.name] = place
        elif not held.elements:
            made[place] = Fragment(held.type, held.id, held.scope, told)
        else:
            # What a segment says is shared; the first addition makes a copy.
            elements = held.elements if place in private else {**held.elements}
            private.add(place)
            add(elements, told, program.adds)
            made[place] = Fragment(held.type, held.id, held.scope, elements)
    return list(made.values())
