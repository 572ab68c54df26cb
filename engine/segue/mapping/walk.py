"""The segments of one patient through their programs, into the fragments of a fact.

One pass over the populated fields of each segment; what no rule reads is noted.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from segue.hl7v2.message import NULL, Segment
from segue.mapping.compile import ANCHORS, Option, Plan, Program, resource_id
from segue.mapping.context import Step
from segue.mapping.fields import Elements
from segue.mapping.language import Rule
from segue.mapping.values import Run
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id

NEW: Any = "new"
"""Scope of a fragment that no fact holds yet."""


class Walk:
    """One patient group of a message on its way to a fact.

    Attributes:
        made: fragments by type and id; the patient's and the visit's have the id "".
        joined: what each map made last; maps that join it add to it.
        trace: what each rule did, where asked for.
        unmapped: name and value of populated fields that no rule read.
    """

    __slots__ = ("fact", "joined", "made", "number", "plan", "run", "trace", "unmapped")

    def __init__(
        self,
        plan: Plan,
        run: Run,
        fact: Fact,
        *,
        trace: list[Step] | None,
        unmapped: dict[str, str],
    ) -> None:
        self.plan = plan
        self.run = run
        self.fact = fact
        self.trace = trace
        self.unmapped = unmapped
        self.joined: dict[str, Fragment] = {}
        self.number = 1
        patient = Fragment("Patient", stable_id("Patient", fact.identity), "person", {})
        self.made: dict[tuple[str, str], Fragment] = {("Patient", ""): patient}
        fact.person.append(patient)
        if fact.about_visit:
            visit = stable_id("Encounter", fact.visit) if fact.visit else ""
            encounter = self.made["Encounter", ""] = Fragment("Encounter", visit, "visit", {})
            fact.stay.append(encounter)

    def through(self, segments: list[Segment]) -> None:
        """Map the segments, in order."""
        run, plan, about_visit = self.run, self.plan, self.fact.about_visit
        counts: dict[str, int] = {}
        anchor = ""
        for segment in segments:
            name = segment.name
            counts[name] = self.number = counts.get(name, 0) + 1
            if name in ANCHORS:
                anchor = name
            run.fields = fields = segment.fields
            option = self._option(plan.options.get(name), anchor)
            if option is None:
                note_unread(
                    segment, plan.structural.get(name, frozenset()), self.unmapped, self.number
                )
                continue
            populated = [n for n, raw in enumerate(fields) if raw]
            run.made = {}
            reads = option.reads
            for program in option.programs:
                if program.type == "Encounter" and not about_visit:
                    reads = self._without_visit(option)
                    continue
                fragment = self._target(program)
                if fragment is None:
                    continue
                if self.trace is None:
                    _fill(program, populated, run, fragment.elements)
                else:
                    self._fill_traced(program, populated, fragment)
                if fragment.scope == NEW:
                    self._keep(program, fragment)
            if not reads.issuperset(populated):
                note_unread(segment, reads, self.unmapped, self.number)

    def _option(self, options: tuple[Option, ...] | None, anchor: str) -> Option | None:
        for option in options or ():
            after = option.placement.after
            if (after is None or after == anchor) and (
                option.condition is None or option.condition(self.run.fields, self.run)
            ):
                return option
        return None

    def _target(self, program: Program) -> Fragment | None:
        """The fragment that a program fills: the patient's, the visit's, a known or new one."""
        run = self.run
        key = program.key(run.fields, run) if program.key is not None else ""
        if program.singleton or program.joins:
            if key:
                run.made["key"] = f"key/{stable_id('key', key)}"
            if program.singleton:
                return self.made[program.type, ""]
            return self.joined.get(program.joins)
        if program.key is not None and not key:
            fields, blank = run.fields, run.blank
            if any(n < len(fields) and fields[n].strip(blank) for n in program.actions):
                self._incomplete(program, "identifying field")
            return None
        fragment_id = resource_id(program, run, key)
        known = self.made.get((program.type, fragment_id))
        if known is None:
            known = Fragment(program.type, fragment_id, NEW, dict(program.defaults))
        run.made[program.map.name] = f"{program.type}/{fragment_id}"
        return known

    def _keep(self, program: Program, fragment: Fragment) -> None:
        """Add a new fragment to the fact, if it has what its resource needs."""
        out, name, fact = fragment.elements, program.map.name, self.fact
        if len(out) == len(program.defaults):
            self.run.made.pop(name, None)
            return
        for need in program.needs:
            if not (out.get(need) or _has(out, need)):
                self.run.made.pop(name, None)
                self._incomplete(program, need)
                return
        visit_scoped = program.scope == "visit" and fact.about_visit
        fragment.scope = "visit" if visit_scoped else "person"
        self.made[fragment.type, fragment.id] = self.joined[name] = fragment
        (fact.stay if visit_scoped else fact.person).append(fragment)

    def _incomplete(self, program: Program, what: str) -> None:
        self.run.report(
            "warning",
            "incomplete",
            program.segment,
            f"no {what}; the {program.type} is left out",
            f"{program.map.place.layer}/{program.map.name}",
        )

    def _without_visit(self, option: Option) -> frozenset[int]:
        """What was read of a segment whose visit maps did not run."""
        segment = option.placement.segment
        reads = {0, *self.plan.structural.get(segment, ())}
        if segment == "PV1":
            reads.add(2)
        for program in option.programs:
            if program.type != "Encounter":
                reads |= program.reads
        return frozenset(reads)

    def _fill_traced(self, program: Program, populated: list[int], fragment: Fragment) -> None:
        run = self.run
        fields, blank = run.fields, run.blank
        for n in populated:
            raw, null = fields[n], not fields[n].strip(blank)
            if null and NULL not in raw:
                continue
            actions = (program.nulls if null else program.actions).get(n, ())
            for rule, act in zip(program.rules.get(n, ()), actions, strict=True):
                self._traced(rule, raw, act, fragment)
        for rule, read, act, clear in program.loose:
            raw = read(fields, run)
            if raw.strip(blank):
                self._traced(rule, raw, act, fragment)
            elif NULL in raw:
                self._traced(rule, raw, clear, fragment)

    def _traced(
        self, rule: Rule, raw: str, act: Callable[[str, Run, Elements], None], fragment: Fragment
    ) -> None:
        run, out = self.run, fragment.elements
        fresh: Elements = {}
        details, labels = dict(run.details), list(run.labels)
        act(raw, run, fresh)
        told = dict(fresh)
        told |= {f"details.{k}": v for k, v in run.details.items() if details.get(k) != v}
        if len(run.labels) > len(labels):
            told["labels"] = run.labels[-1]
        step = Step(
            field=" | ".join(rule.sources),
            number=self.number,
            raw=raw,
            rule=rule.label,
            file=rule.place.file,
            line=rule.place.line,
            verb=f"{rule.verb} {rule.target}",
            resource=f"{fragment.type}/{fragment.id}",
            element="",
            value=None,
        )
        assert self.trace is not None
        for element, value in told.items():
            self.trace.append(replace(step, element=element, value=value))
        for element, value in fresh.items():
            held = out.get(element)
            out[element] = held + value if isinstance(held, list) and value else value


def _fill(program: Program, populated: list[int], run: Run, out: Elements) -> None:
    actions, blank, fields = program.actions, run.blank, run.fields
    for n in populated:
        if n in actions:
            raw = fields[n]
            if raw[0] in blank and not raw.strip(blank):
                if NULL in raw:
                    for clear in program.nulls[n]:
                        clear(raw, run, out)
            else:
                for act in actions[n]:
                    act(raw, run, out)
    for _, read, act, clear in program.loose:
        raw = read(fields, run)
        if raw:
            if raw.strip(blank):
                act(raw, run, out)
            elif NULL in raw:
                clear(raw, run, out)


def _has(out: Elements, need: str) -> bool:
    prefix = need + "#"
    return any(value for element, value in out.items() if element.startswith(prefix))


def note_unread(
    segment: Segment, reads: frozenset[int], unmapped: dict[str, str], number: int = 1
) -> None:
    """Note the populated fields of a segment that are not among those read."""
    name = segment.name if number == 1 else f"{segment.name}[{number}]"
    for n, raw in enumerate(segment.fields):
        if raw and n and n not in reads and raw.strip('^~&\\ "\t'):
            unmapped[f"{name}-{n}"] = raw
