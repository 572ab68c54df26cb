"""Segment maps and placements to programs and plans, once, when a mapping set is loaded.

Per segment map there is a table from field number to the actions that read the field,
so that a message costs one look-up per populated field and nothing per absent one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segue.mapping.actions import Action, compile_rule
from segue.mapping.fields import (
    CompileError,
    Condition,
    FieldReader,
    KeyReader,
    compile_condition,
    compile_key,
    first_of,
    split_field,
)
from segue.mapping.functions import CHOICES, also_reads
from segue.mapping.language import MessageMap, Placement, Rule, SegmentMap
from segue.mapping.tables import Tools
from segue.mapping.values import Run
from segue.model.identity import stable_id

ANCHORS = frozenset({"PID", "PV1", "PR1", "IN1"})
"""Segments that `after:` may name."""


@dataclass(slots=True)
class Program:
    """A segment map, compiled.

    Attributes:
        actions: field number to what reads it; nulls: to what HL7 null does.
        rules: the same as rules, for traces.
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
    actions: dict[int, tuple[Action, ...]]
    nulls: dict[int, tuple[Action, ...]]
    rules: dict[int, tuple[Rule, ...]]
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
    """

    placement: Placement
    condition: Condition | None
    programs: tuple[Program, ...]
    reads: frozenset[int]
    reads_without_visit: frozenset[int]


PATIENT, EVENT, VISIT = 0, 1, 2
"""What a segment speaks of: a patient, also whether there is a visit, also which one."""


@dataclass(slots=True)
class Reading:
    """What the meaning of a segment hangs on, besides its own text.

    Attributes:
        alone: no rule or condition looks at another segment.
        placed: it matters after which segment it stands.
        owner: `PATIENT`, `EVENT` or `VISIT`.
        joins: maps that must have made something, or parts of it say nothing.
    """

    alone: bool = True
    placed: bool = False
    owner: int = PATIENT
    joins: tuple[str, ...] = ()


@dataclass(slots=True)
class Plan:
    """What happens to each segment of a message structure."""

    name: str
    options: dict[str, tuple[Option, ...]] = field(default_factory=dict)
    structural: dict[str, frozenset[int]] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)


def compile_map(segment_map: SegmentMap, tools: Tools) -> tuple[Program, list[tuple[Rule, str]]]:
    """Compile a segment map; faults come back with their rule."""
    faults: list[tuple[Rule, str]] = []
    own = segment_map.segment
    actions: dict[int, list[Action]] = {}
    nulls: dict[int, list[Action]] = {}
    rules: dict[int, list[Rule]] = {}
    loose: list[tuple[Rule, FieldReader, Action, Action]] = []
    reads: set[tuple[str, int]] = set()
    for rule in segment_map.rules.values():
        if rule.to.endswith("[x]") and (rule.verb != "using" or rule.target not in CHOICES):
            names = ", ".join(sorted(CHOICES))
            faults.append((rule, f"to {rule.to}: only these functions choose a type: {names}."))
            continue
        try:
            act, clear = compile_rule(rule, tools)
        except CompileError as error:
            faults.append((rule, str(error)))
            continue
        reads.update(split_field(path)[:2] for path in rule.sources)
        reads.update(split_field(path)[:2] for path in rule.where)
        reads.update((own, n) for n in also_reads(rule.target, rule.options))
        segment, number, _, _ = split_field(rule.sources[0])
        if len(rule.sources) == 1 and segment == own:
            actions.setdefault(number, []).append(act)
            nulls.setdefault(number, []).append(clear)
            rules.setdefault(number, []).append(rule)
        else:
            loose.append((rule, first_of(rule.sources, own), act, clear))
    for parts in segment_map.key:
        for part in parts:
            for path in part.partition(" as ")[0].split("|"):
                reads.add(split_field(path.strip())[:2])
    try:
        key = compile_key(segment_map.key, own, tools)
    except CompileError as error:
        key = None
        stand_in = next(iter(segment_map.rules.values()), None)
        if stand_in is not None:
            faults.append((stand_in, str(error)))
    program = Program(
        map=segment_map,
        segment=own,
        type=segment_map.type,
        scope=segment_map.scope,
        within=segment_map.within,
        singleton=segment_map.type in ("Patient", "Encounter"),
        joins=segment_map.joins or "",
        key=key,
        actions={n: tuple(a) for n, a in actions.items()},
        nulls={n: tuple(a) for n, a in nulls.items()},
        rules={n: tuple(r) for n, r in rules.items()},
        loose=tuple(loose),
        defaults=segment_map.defaults,
        needs=tuple(segment_map.needs),
        reads=frozenset(n for s, n in reads if s == own),
        reads_elsewhere=frozenset((s, n) for s, n in reads if s != own),
        joins_scope=segment_map.scope,
        adds=frozenset(
            rule.to if "#" in rule.to else f"{rule.to}#{rule.name}"
            for rule in segment_map.rules.values()
            if rule.each and "{" not in rule.to
        ),
    )
    return program, faults


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
                frozenset(without),
            )
        )
    for segment, options in grouped.items():
        # A placement that says more is tried first; otherwise the order of the file holds.
        options.sort(key=lambda o: (o.condition is None, o.placement.after is None))
        plan.options[segment] = tuple(options)
        plan.readings[segment] = _reading(segment, options)
    return plan


def _reading(segment: str, options: Sequence[Option]) -> Reading:
    programs = [program for option in options for program in option.programs]
    owner = PATIENT
    if any(p.within == "visit" and not p.singleton for p in programs):
        owner = VISIT
    elif any(p.type == "Encounter" or "visit" in {p.scope, p.joins_scope} for p in programs):
        owner = EVENT
    return Reading(
        alone=not any(p.reads_elsewhere for p in programs)
        and all(split_field(path)[0] == segment for o in options for path in o.placement.where),
        placed=any(option.placement.after is not None for option in options),
        owner=owner,
        joins=tuple(sorted({p.joins for p in programs if p.joins})),
    )


def resource_id(program: Program, run: Run, key: str) -> str:
    """The id of what a program makes: type, owner and key."""
    if program.within == "none":
        return stable_id(program.type, key)
    owner = (run.visit or run.identity) if program.within == "visit" else run.identity
    return stable_id(program.type, owner, key)
