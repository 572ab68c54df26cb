"""One segment through its programs: what it says by itself.

What a segment says hangs on nothing but its text and on whose it is, so it can be
remembered and said again: the messages of a patient repeat PID, NK1, AL1, IN1 and GT1
word for word. `segue.mapping.walk` puts together what all segments of a patient say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from segue.hl7v2.message import NULL, Segment
from segue.mapping.compile import Option, Program, resource_id
from segue.mapping.context import Step
from segue.mapping.fields import Elements
from segue.mapping.language import Rule
from segue.mapping.values import Run
from segue.model.facts import Fragment, Scope
from segue.model.identity import stable_id
from segue.model.issues import Issue


@dataclass(slots=True, eq=False)
class Part:
    """What one program made of a segment.

    Attributes:
        key: type and id; the id of the patient's and of the visit's resource is "".
        joins: name of the map whose resource this adds to; "" where it has its own.
        told: what the segment says, without defaults.
        whole: the resource as it stands if nobody said anything of it before; None
            where it is added to another one, or where it lacks what it needs.
    """

    program: Program
    key: tuple[str, str]
    scope: Scope
    told: Elements
    joins: str = ""
    whole: Fragment | None = None


@dataclass(slots=True, eq=False)
class Said:
    """What one segment says. Shared by all messages that repeat it: never changed.

    Attributes:
        person, stay: whether some part belongs to the person, to the visit.
        makes: names of the maps that made a resource here, to `Type/id`.
        fired: ordinals of the rules that fired.
        unread: number and raw text of populated fields that no rule reads.
        unmapped: the same by name, `PV2-8`, of the first segment of its name.
    """

    parts: list[Part] = field(default_factory=list)
    person: bool = False
    stay: bool = False
    makes: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    fired: list[int] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    directory: dict[str, Fragment] = field(default_factory=dict)
    unread: list[tuple[int, str]] = field(default_factory=list)
    unmapped: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Hearing:
    """How a segment is listened to.

    Attributes:
        standing: maps that made a resource before, to `Type/id`; what joins needs it.
        trace: what each rule did is added here, where asked for.
        number: which segment of its name.
    """

    run: Run
    about_visit: bool
    standing: dict[str, str]
    trace: list[Step] | None = None
    number: int = 1

    def hear(self, segment: Segment, option: Option | None, structural: frozenset[int]) -> Said:
        """What a segment says, through the programs of a placement."""
        run = self.run
        said = Said()
        outer = run.issues, run.directory, run.details, run.labels, run.fired
        # What the programs note goes to this segment alone.
        run.issues, run.directory, run.details = said.issues, said.directory, said.details
        run.labels, run.fired = said.labels, said.fired
        run.fields = fields = segment.fields
        run.made = {}
        reads = structural
        populated = [n for n, raw in enumerate(fields) if raw]
        if option is not None:
            reads = option.reads if self.about_visit else option.reads_without_visit
            for program in option.programs:
                if program.type != "Encounter" or self.about_visit:
                    self._through(program, populated, said)
        run.issues, run.directory, run.details, run.labels, run.fired = outer
        if not reads.issuperset(populated):
            said.unread = unread(fields, reads)
            said.unmapped = {f"{segment.name}-{n}": raw for n, raw in said.unread}
        return said

    def _through(self, program: Program, populated: list[int], said: Said) -> None:
        run = self.run
        name = program.map.name
        key = program.key(run.fields, run) if program.key is not None else ""
        if program.singleton or program.joins:
            if program.joins and program.joins not in self.standing:
                return
            if key:
                run.made["key"] = f"key/{stable_id('key', key)}"
            scope = _scope(program.joins_scope if program.joins else program.scope, self)
            if program.singleton:
                scope = "visit" if program.type == "Encounter" else "person"
            told = self._fill(program, populated, (program.type, ""))
            if told:
                _add(said, Part(program, (program.type, ""), scope, told, program.joins))
            return
        if program.key is not None and not key:
            fields, blank = run.fields, run.blank
            if any(n < len(fields) and fields[n].strip(blank) for n in program.actions):
                self._incomplete(program, "identifying field")
            return
        place = (program.type, resource_id(program, run, key))
        run.made[name] = reference = f"{place[0]}/{place[1]}"
        told = self._fill(program, populated, place)
        if not told:
            del run.made[name]
            return
        part = Part(program, place, _scope(program.scope, self), told)
        defaults = program.defaults
        elements = add({**defaults}, told, program.adds) if defaults else told
        missing = next((need for need in program.needs if not _has(elements, need)), None)
        if missing is not None:
            self._incomplete(program, missing)
        if missing is None and len(elements) > len(defaults):
            part.whole = Fragment(*place, part.scope, elements)
            said.makes[name] = reference
        else:
            run.made.pop(name, None)
        _add(said, part)

    def _incomplete(self, program: Program, what: str) -> None:
        self.run.report(
            "warning",
            "incomplete",
            program.segment,
            f"no {what}; the {program.type} is left out",
            f"{program.map.place.layer}/{program.map.name}",
        )

    def _fill(self, program: Program, populated: list[int], place: tuple[str, str]) -> Elements:
        out: Elements = {}
        if self.trace is not None:
            self._fill_traced(program, populated, place, out)
            return out
        run = self.run
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
        return out

    def _fill_traced(
        self, program: Program, populated: list[int], place: tuple[str, str], out: Elements
    ) -> None:
        run = self.run
        fields, blank = run.fields, run.blank
        kind, id_ = place
        resource = f"{kind}/{id_}"
        if program.joins:
            resource = self.standing[program.joins]
        elif program.singleton:
            owner = run.identity if kind == "Patient" else run.visit
            resource = f"{kind}/{stable_id(kind, owner) if owner else ''}"
        for n in populated:
            raw, null = fields[n], not fields[n].strip(blank)
            if null and NULL not in raw:
                continue
            actions = (program.nulls if null else program.actions).get(n, ())
            for rule, act in zip(program.rules.get(n, ()), actions, strict=True):
                self._traced(rule, raw, act, resource, program, out)
        for rule, read, act, clear in program.loose:
            raw = read(fields, run)
            if raw.strip(blank):
                self._traced(rule, raw, act, resource, program, out)
            elif NULL in raw:
                self._traced(rule, raw, clear, resource, program, out)

    def _traced(
        self,
        rule: Rule,
        raw: str,
        act: Callable[[str, Run, Elements], None],
        resource: str,
        program: Program,
        out: Elements,
    ) -> None:
        run = self.run
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
            resource=resource,
            element="",
            value=None,
        )
        assert self.trace is not None
        for element, value in told.items():
            self.trace.append(replace(step, element=element, value=value))
        add(out, fresh, program.adds)


def add(out: Elements, told: Elements, adds: frozenset[str]) -> Elements:
    """Say more of a resource: items of the lists in `adds` are added, all else replaces."""
    for element, value in told.items():
        if element in adds and value and (held := out.get(element)):
            out[element] = held + value
        else:
            out[element] = value
    return out


def unread(fields: list[str], reads: frozenset[int]) -> list[tuple[int, str]]:
    """Number and raw text of the fields that hold something and are not among those read."""
    return [
        (n, raw)
        for n, raw in enumerate(fields)
        if raw and n and n not in reads and raw.strip('^~&\\ "\t')
    ]


def _add(said: Said, part: Part) -> None:
    said.parts.append(part)
    if part.scope == "visit":
        said.stay = True
    else:
        said.person = True


def _scope(scope: str, hearing: Hearing) -> Scope:
    return "visit" if scope == "visit" and hearing.about_visit else "person"


def _has(elements: Elements, need: str) -> bool:
    if elements.get(need):
        return True
    prefix = need + "#"
    return any(value for element, value in elements.items() if element.startswith(prefix))
