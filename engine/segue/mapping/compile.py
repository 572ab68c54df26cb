"""Segment maps and placements to programs and plans, once, when a mapping set is loaded.

All names are looked up and all faults are found here; the code that a message runs
through is written when it is first needed (`segue.mapping.generate`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from segue.mapping.actions import Work, comes_again, work_of
from segue.mapping.fields import (
    EVERYWHERE,
    CompileError,
    Condition,
    KeyReader,
    compile_condition,
    compile_key,
    fields_of_key,
    split_field,
)
from segue.mapping.functions import CHOICES, ONE_OF_ALL, STANDING, also_reads
from segue.mapping.generate import Listener, listener
from segue.mapping.language import SINGLETONS, MessageMap, Placement, Rule, SegmentMap
from segue.mapping.tables import Tools
from segue.mapping.widths import FUNCTION, Width

ANCHORS = frozenset({"PID", "PV1", "PR1", "IN1"})
"""Segments that `after:` may name."""


LAST = 1_000
"""Stands for a field after all others: what is read from several fields, or from elsewhere."""


class Reader(NamedTuple):
    """Who reads a field.

    Attributes:
        rules: ordinals of the rules that look at it.
        behind: fields that are taken instead of it where they are valued.
    """

    rules: frozenset[int]
    behind: frozenset[int]


@dataclass(slots=True)
class Program:
    """A segment map, compiled.

    Attributes:
        fields: rules by number of the field that they read.
        loose: rules on other segments' fields, or on the first of several.
        hear: what makes something of a segment; written when it is first called.
        width: how many fields it looks at, with number 0.
        reads: fields of the own segment that any rule, key or condition reads.
        readers: the same to the rules that read them, see `Reader`.
        reads_elsewhere: the same of other segments.
        joins_scope: scope of the map that it joins.
        adds: elements whose items add up, if a resource is told of more than once.
        limits: what the fields have room for; what is beyond is kept.
    """

    map: SegmentMap
    segment: str
    type: str
    scope: str
    within: str
    singleton: bool
    joins: str
    key: KeyReader | None
    fields: Mapping[int, Sequence[Work]]
    loose: Sequence[Work]
    defaults: dict[str, Any]
    needs: tuple[str, ...]
    reads: frozenset[int]
    reads_elsewhere: frozenset[tuple[str, int]]
    joins_scope: str
    adds: frozenset[str]
    readers: Mapping[int, Reader]
    limits: Mapping[int, Width]
    hear: Listener = field(init=False)
    hear_traced: Listener = field(init=False)
    width: int = field(init=False)

    def __post_init__(self) -> None:
        """Leave the writing of code until it is needed: most maps are not, mostly."""
        numbers = {n for works in self.fields.values() for w in works for n in _own(w)}
        self.width = 1 + max(numbers | {n for w in self.loose for n in _own(w)}, default=0)

        def first(*given: Any) -> None:
            self.hear = self._listener(traced=False)
            self.hear(*given)

        def first_traced(*given: Any) -> None:
            self.hear_traced = self._listener(traced=True)
            self.hear_traced(*given)

        self.hear, self.hear_traced = first, first_traced

    def _listener(self, *, traced: bool) -> Listener:
        return listener(
            self.map, self, self.key, self.fields, self.loose, limits=self.limits, traced=traced
        )


def _own(work: Work) -> list[int]:
    """Fields of the map's own segment that a rule looks at first."""
    places = (split_field(path) for path in work.rule.sources)
    return [number for segment, number, _, _ in places if segment == work.segment]


def _without(count: int, reads: Collection[int]) -> tuple[int, ...]:
    return tuple(n for n in range(1, count) if n not in reads)


@dataclass(slots=True)
class Option:
    """One placement of a segment: where it holds, and the programs.

    Attributes:
        reads: fields that are read; reads_without_visit: that are, of a message that
            speaks of no visit.
        first_only: fields of whose repetitions only the first is used.
        readers: what rules read, and that is not said elsewhere; see `Reader`.
        readers_without_visit: the same, as for `reads_without_visit`.
        beside: fields that rules look at only for others, or only instead of others.
        width: how many fields the programs look at, with number 0.
    """

    placement: Placement
    condition: Condition | None
    programs: tuple[Program, ...]
    reads: frozenset[int]
    reads_without_visit: frozenset[int]
    first_only: frozenset[int]
    readers: Mapping[int, Reader]
    readers_without_visit: Mapping[int, Reader]
    beside: tuple[int, ...]
    width: int = field(init=False)
    _others: dict[tuple[bool, int], tuple[int, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """The programs are given one list of fields, long enough for all of them."""
        self.width = max((program.width for program in self.programs), default=0)

    def unread(self, count: int, *, about_visit: bool) -> tuple[int, ...]:
        """The numbers below `count` that no rule reads."""
        known = self._others.get((about_visit, count))
        if known is None:
            reads = self.reads if about_visit else self.reads_without_visit
            known = self._others[about_visit, count] = _without(count, reads)
        return known


@dataclass(slots=True)
class Plan:
    """What happens to each segment of a message structure.

    Attributes:
        options: name of a segment to its placements, the most particular one first.
        structural: fields that nothing need be made of.
        anchors: segments that placements ask about; followed: those whose nearest one
            before is read by rules of others.
        snapshot: segments that list all there is, at a site that sends them so.
        lent: fields that only rules of other segments read, by segment.
        personal: segments that speak of the patient alone, whatever stands around them;
            with the maps that must have made something, or parts of them say nothing.
    """

    name: str
    options: dict[str, tuple[Option, ...]] = field(default_factory=dict)
    structural: dict[str, frozenset[int]] = field(default_factory=dict)
    personal: dict[str, tuple[str, ...]] = field(default_factory=dict)
    anchors: frozenset[str] = ANCHORS
    followed: frozenset[str] = frozenset()
    snapshot: frozenset[str] = frozenset()
    lent: dict[str, frozenset[int]] = field(default_factory=dict)
    _kept: dict[tuple[str, int], tuple[int, ...]] = field(init=False, default_factory=dict)

    def kept(self, name: str, count: int) -> tuple[int, ...]:
        """The numbers below `count` that nothing is made of, of a segment without maps."""
        known = self._kept.get((name, count))
        if known is None:
            known = _without(count, self.structural.get(name, ()))
            self._kept[name, count] = known
        return known


def compile_map(segment_map: SegmentMap, tools: Tools) -> tuple[Program, list[tuple[Rule, str]]]:
    """Compile a segment map; faults come back with their rule."""
    faults: list[tuple[Rule, str]] = []
    own = segment_map.segment
    required = {*segment_map.defaults, *segment_map.needs}
    fields: dict[int, list[Work]] = {}
    loose: list[Work] = []
    reads: set[tuple[str, int]] = set()
    written: dict[str, int] = {}
    for rule in segment_map.rules.values():
        if rule.to.endswith("[x]") and (rule.verb != "using" or rule.target not in CHOICES):
            names = ", ".join(sorted(CHOICES))
            faults.append((rule, f"to {rule.to}: only these functions choose a type: {names}."))
            continue
        segment, number, _, _ = split_field(rule.sources[0])
        # Of two rules for one element the later one in the file holds, whatever their fields.
        after = max(written.get(rule.to, 0), number if segment == own else LAST)
        direct = len(rule.sources) == 1 and segment == own and (rule.each or after == number)
        written[rule.to] = number if direct else LAST
        try:
            work = work_of(rule, own, tools, direct=direct)
        except CompileError as error:
            faults.append((rule, str(error)))
            continue
        work.required = rule.to.partition("#")[0].partition(".")[0] in required
        reads.update(split_field(path)[:2] for path in rule.sources)
        reads.update(split_field(path)[:2] for path in rule.where)
        reads.update((own, n) for n in also_reads(rule.target, rule.options))
        if rule.target in STANDING:
            reads.add(("", 0))  # what came before decides
        if direct:
            fields.setdefault(number, []).append(work)
        else:
            loose.append(work)
    for parts in segment_map.key:
        for part in parts:
            reads.update(split_field(path)[:2] for path in fields_of_key(part))
    try:
        key = compile_key(segment_map.key, own, tools)
    except CompileError as error:
        key = None
        stand_in = next(iter(segment_map.rules.values()), None)
        if stand_in is not None:
            faults.append((stand_in, str(error)))
    adds = Counter(filter(None, (_list(work) for work in [*loose, *chain(*fields.values())])))
    for work in chain(*fields.values(), loose):
        work.adds = adds[_list(work)] > 1
    for works in fields.values():
        works[0].again = comes_again([work.rule for work in works]) and not any(
            work.adds or "{" in work.to for work in works
        )
    readers: dict[int, list[tuple[int, set[int]]]] = {}
    for work in chain(*fields.values(), loose):
        rule, before = work.rule, set[int]()
        beside = {split_field(path)[:2] for path in rule.where}
        beside |= {(own, n) for n in also_reads(rule.target, rule.options)}
        for segment, number in (split_field(path)[:2] for path in rule.sources):
            if segment == own:
                behind = set() if (own, number) in beside else before - {number}
                readers.setdefault(number, []).append((rule.ordinal, set(behind)))
                before.add(number)
        for segment, number in beside:
            if segment == own:
                readers.setdefault(number, []).append((rule.ordinal, set()))
    program = Program(
        map=segment_map,
        segment=own,
        type=segment_map.type,
        scope=segment_map.scope,
        within=segment_map.within,
        singleton=segment_map.type in SINGLETONS,
        joins=segment_map.joins or "",
        key=key,
        fields=fields,
        loose=loose,
        defaults=segment_map.defaults,
        needs=tuple(segment_map.needs),
        reads=frozenset(n for s, n in reads if s == own),
        reads_elsewhere=frozenset((s, n) for s, n in reads if s != own),
        joins_scope=segment_map.scope,
        adds=frozenset(adds),
        readers={
            number: Reader(
                frozenset(ordinal for ordinal, _ in found),
                frozenset.intersection(*(frozenset(behind) for _, behind in found)),
            )
            for number, found in readers.items()
        },
        limits=_limits(own, chain(*fields.values(), loose), tools),
    )
    return program, faults


def _limits(segment: str, works: Iterable[Work], tools: Tools) -> dict[int, Width]:
    """What the fields have room for that rules look at, where that can be said."""
    read_as: dict[int, list[str]] = {}
    for work in works:
        for path in work.rule.sources:
            place, number, component, _ = split_field(path)
            if place == segment:
                named = read_as.setdefault(number, [])
                if work.rule.verb != "through" and not component:
                    named.append(work.rule.target if work.rule.verb == "as" else FUNCTION)
    found = {number: tools.widths.of(segment, number, named) for number, named in read_as.items()}
    return {number: width for number, width in found.items() if width is not None}


def _list(work: Work) -> str:
    """The element that a rule for lists adds to; "" where that hangs on the message."""
    return work.to if work.rule.each and "{" not in work.to else ""


def compile_plan(
    name: str, messages: Sequence[MessageMap], programs: Mapping[str, Program]
) -> Plan:
    """The plan of a structure: its placements over those of its message type."""
    placements: dict[str, Placement] = {}
    structural: dict[str, set[int]] = {}
    for message in messages:
        placements.update(message.placements)
        for path in message.structural:
            segment, number, _, _ = split_field(path)
            structural.setdefault(segment, set()).add(number)
    elsewhere: dict[str, set[int]] = {}
    placed = {name for placement in placements.values() for name in placement.use}
    for program in (programs[name] for name in placed if name in programs):
        for segment, number in program.reads_elsewhere:
            elsewhere.setdefault(segment, set()).add(number)
    plan = Plan(name, structural={name: frozenset(numbers) for name, numbers in structural.items()})
    grouped: dict[str, list[Option]] = {}
    for placement in placements.values():
        chosen = tuple(programs[name] for name in placement.use if name in programs)
        own = structural.get(placement.segment, set())
        always = {0, *own}
        other = elsewhere.get(placement.segment, set())
        reads = always | other
        lent = other - always
        reads |= {split_field(path)[1] for path in placement.where}
        without_maps = always | ({2} if placement.segment == "PV1" else set())
        without = {*without_maps}
        for program in chosen:
            reads |= program.reads
            if program.type != "Encounter":
                without |= program.readers.keys()
        lent -= set().union(*(program.reads for program in chosen))
        if lent and placement.segment not in EVERYWHERE:
            plan.lent[placement.segment] = plan.lent.get(placement.segment, frozenset()) | lent
        known = always | (other if placement.segment in EVERYWHERE else lent)
        readers = _readers(chosen, known)
        grouped.setdefault(placement.segment, []).append(
            Option(
                placement,
                compile_condition(placement.where, placement.segment),
                chosen,
                frozenset(reads),
                frozenset(without if any(p.type == "Encounter" for p in chosen) else reads),
                _first_only(chosen) | own,
                readers,
                _readers([p for p in chosen if p.type != "Encounter"], without_maps | other),
                _beside(chosen, readers),
            )
        )
    used = {p.map.name: p for options in grouped.values() for o in options for p in o.programs}
    read = {name for program in used.values() for name, _ in program.reads_elsewhere}
    plan.followed = frozenset(read - EVERYWHERE - {""})
    plan.anchors = ANCHORS | {p.after for p in placements.values() if p.after}
    for segment, options in grouped.items():
        # A placement that says more is tried first; otherwise the order of the file holds.
        options.sort(key=lambda o: (o.condition is None, o.placement.after is None))
        plan.options[segment] = tuple(options)
        if _personal(segment, options):
            joins = {p.joins for option in options for p in option.programs if p.joins}
            plan.personal[segment] = tuple(sorted(joins))
    return plan


def _readers(programs: Sequence[Program], known: Collection[int]) -> dict[int, Reader]:
    found: dict[int, list[Reader]] = {}
    for program in programs:
        for number, reader in program.readers.items():
            if number not in known:
                found.setdefault(number, []).append(reader)
    return {
        number: Reader(
            frozenset(chain(*(one.rules for one in readers))),
            frozenset.intersection(*(one.behind for one in readers)),
        )
        for number, readers in found.items()
    }


def _beside(programs: Sequence[Program], readers: Mapping[int, Reader]) -> tuple[int, ...]:
    own = {n for p in programs for works in p.fields.values() for w in works for n in _own(w)}
    own |= {n for p in programs for w in p.loose for n in _own(w)}
    return tuple(sorted(n for n, reader in readers.items() if n not in own or reader.behind))


def _first_only(programs: Sequence[Program]) -> frozenset[int]:
    once: set[int] = set()
    every: set[int] = set()
    for program in programs:
        for number, works in program.fields.items():
            all_read = any(
                work.rule.each or (work.whole and work.rule.target not in ONE_OF_ALL)
                for work in works
            )
            (every if all_read else once).add(number)
    return frozenset(once - every)


def _personal(segment: str, options: Sequence[Option]) -> bool:
    programs = [program for option in options for program in option.programs]
    conditions = [split_field(path)[0] for option in options for path in option.placement.where]
    return (
        all(option.placement.after is None for option in options)
        and all(name == segment for name in conditions)
        and not any(
            p.type == "Encounter"
            or p.reads_elsewhere
            or "visit" in {p.scope, p.joins_scope}
            or (p.within == "visit" and not p.singleton)
            for p in programs
        )
    )
