"""Segment maps and placements to programs and plans, once, when a mapping set is loaded.

Per segment map there is a table from field number to the actions that read the field,
so that a message costs one look-up per populated field and nothing per absent one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from segue.mapping.actions import Action, comes_again, compile_rule
from segue.mapping.fields import (
    CompileError,
    Condition,
    FieldReader,
    KeyReader,
    compile_condition,
    compile_key,
    fields_of_key,
    first_of,
    split_field,
)
from segue.mapping.functions import CHOICES, STANDING, WHOLE, also_reads
from segue.mapping.language import MessageMap, Placement, Rule, SegmentMap
from segue.mapping.tables import Tools
from segue.mapping.values import Run
from segue.model.identity import stable_id

ANCHORS = frozenset({"PID", "PV1", "PR1", "IN1"})
"""Segments that `after:` may name."""


LAST = 1_000
"""Stands for a field after all others: what is read from several fields, or from elsewhere."""


class Reader(NamedTuple):
    """What reads a field.

    Attributes:
        memo: number of the memo that keeps what was made of the field; -1: none does.
        rules: as written, for traces.
        actions: what each does with content; clears: what with HL7 null.
    """

    memo: int
    rules: tuple[Rule, ...]
    actions: tuple[Action, ...]
    clears: tuple[Action, ...]


@dataclass(slots=True)
class Program:
    """A segment map, compiled.

    Attributes:
        readers: by number of the field.
        loose: actions on other segments' fields or on the first of several.
        reads: fields of the own segment that any rule, key or condition reads.
        reads_elsewhere: the same of other segments.
        joins_scope: scope of the map that it joins.
        adds: elements whose items add up, if a resource is told of more than once.
    """

    map: SegmentMap
    segment: str
    type: str
    scope: str
    within: str
    singleton: bool
    joins: str
    key: KeyReader | None
    readers: dict[int, Reader]
    loose: tuple[tuple[Rule, FieldReader, Action, Action], ...]
    defaults: dict[str, Any]
    needs: tuple[str, ...]
    reads: frozenset[int]
    reads_elsewhere: frozenset[tuple[str, int]]
    joins_scope: str
    adds: frozenset[str]


@dataclass(slots=True)
class Option:
    """One placement of a segment: where it holds, and the programs.

    Attributes:
        reads: fields that are read; reads_without_visit: that are, of a message that
            speaks of no visit.
        first_only: fields of whose repetitions only the first is used.
    """

    placement: Placement
    condition: Condition | None
    programs: tuple[Program, ...]
    reads: frozenset[int]
    reads_without_visit: frozenset[int]
    first_only: frozenset[int]


@dataclass(slots=True)
class Plan:
    """What happens to each segment of a message structure.

    Attributes:
        options: name of a segment to its placements, the most particular one first.
        structural: fields that nothing need be made of.
        anchors: segments that placements ask about; followed: those whose nearest one
            before is read by rules of others.
        snapshot: segments that list all there is, at a site that sends them so.
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


def compile_map(segment_map: SegmentMap, tools: Tools) -> tuple[Program, list[tuple[Rule, str]]]:
    """Compile a segment map; faults come back with their rule."""
    faults: list[tuple[Rule, str]] = []
    own = segment_map.segment
    readers: dict[int, list[tuple[Rule, Action, Action]]] = {}
    loose: list[tuple[Rule, FieldReader, Action, Action]] = []
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
            act, clear = compile_rule(rule, tools, own, picked=not direct)
        except CompileError as error:
            faults.append((rule, str(error)))
            continue
        reads.update(split_field(path)[:2] for path in rule.sources)
        reads.update(split_field(path)[:2] for path in rule.where)
        reads.update((own, n) for n in also_reads(rule.target, rule.options))
        if rule.target in STANDING:
            reads.add(("", 0))  # what came before decides
        if direct:
            readers.setdefault(number, []).append((rule, act, clear))
        else:
            loose.append((rule, first_of(rule.sources, own), act, clear))
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
    adds = Counter(filter(None, map(_key, segment_map.rules.values())))
    program = Program(
        map=segment_map,
        segment=own,
        type=segment_map.type,
        scope=segment_map.scope,
        within=segment_map.within,
        singleton=segment_map.type in ("Patient", "Encounter"),
        joins=segment_map.joins or "",
        key=key,
        readers={n: _reader(read, adds) for n, read in readers.items()},
        loose=tuple(loose),
        defaults=segment_map.defaults,
        needs=tuple(segment_map.needs),
        reads=frozenset(n for s, n in reads if s == own),
        reads_elsewhere=frozenset((s, n) for s, n in reads if s != own),
        joins_scope=segment_map.scope,
        adds=frozenset(adds),
    )
    return program, faults


def _key(rule: Rule) -> str:
    """The element that a rule for lists adds to; "" where that hangs on the message."""
    if not rule.each or "{" in rule.to:
        return ""
    return rule.to if "#" in rule.to else f"{rule.to}#{rule.name}"


def _reader(read: Sequence[tuple[Rule, Action, Action]], adds: Mapping[str, int]) -> Reader:
    rules, actions, clears = zip(*read, strict=True)
    again = comes_again(rules) and not any(
        "{" in rule.to or adds.get(_key(rule), 0) > 1 for rule in rules
    )
    return Reader(rules[0].ordinal if again else -1, rules, actions, clears)


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
    for program in programs.values():
        for segment, number in program.reads_elsewhere:
            elsewhere.setdefault(segment, set()).add(number)
    plan = Plan(name, structural={name: frozenset(numbers) for name, numbers in structural.items()})
    grouped: dict[str, list[Option]] = {}
    for placement in placements.values():
        chosen = tuple(programs[name] for name in placement.use if name in programs)
        always = {0, *structural.get(placement.segment, ())}
        reads = always | elsewhere.get(placement.segment, set())
        reads |= {split_field(path)[1] for path in placement.where}
        without = always | ({2} if placement.segment == "PV1" else set())
        for program in chosen:
            reads |= program.reads
            if program.type != "Encounter":
                without |= program.reads
        grouped.setdefault(placement.segment, []).append(
            Option(
                placement,
                compile_condition(placement.where, placement.segment),
                chosen,
                frozenset(reads),
                frozenset(without if any(p.type == "Encounter" for p in chosen) else reads),
                _first_only(chosen),
            )
        )
    used = {p.map.name: p for options in grouped.values() for o in options for p in o.programs}
    read = {name for program in used.values() for name, _ in program.reads_elsewhere}
    plan.followed = frozenset(read - {"PID", "PV1", "MSH", "EVN", ""})
    plan.anchors = ANCHORS | {p.after for p in placements.values() if p.after}
    for segment, options in grouped.items():
        # A placement that says more is tried first; otherwise the order of the file holds.
        options.sort(key=lambda o: (o.condition is None, o.placement.after is None))
        plan.options[segment] = tuple(options)
        if _personal(segment, options):
            joins = {p.joins for option in options for p in option.programs if p.joins}
            plan.personal[segment] = tuple(sorted(joins))
    return plan


def _first_only(programs: Sequence[Program]) -> frozenset[int]:
    once: set[int] = set()
    every: set[int] = set()
    for program in programs:
        for number, reader in program.readers.items():
            all_read = any(
                r.each or (r.verb == "using" and r.target in WHOLE) for r in reader.rules
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


def resource_id(program: Program, run: Run, key: str) -> str:
    """The id of what a program makes: type, owner and key."""
    if program.within == "none":
        return stable_id(program.type, key)
    if program.within == "site":
        return stable_id(program.type, run.site.name, key)
    owner = (run.visit or run.identity) if program.within == "visit" else run.identity
    return stable_id(program.type, owner, key)
