"""One segment through its programs: what it says by itself.

What a segment says of the patient hangs on nothing but its text and on whose it is, so
it can be remembered and said again: the messages of a patient repeat PID, NK1, AL1, IN1
and GT1 word for word. `segue.mapping.walk` puts together what all segments say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from segue.hl7v2.message import Segment
from segue.mapping.compile import Option, Plan, Program
from segue.mapping.context import Step
from segue.mapping.fields import Elements
from segue.mapping.language import Rule
from segue.mapping.values import Run
from segue.model.facts import Fragment, Scope
from segue.model.identity import stable_id
from segue.model.issues import Issue

Part = tuple[Program, tuple[str, str], Scope, Elements, Fragment | None]
"""What one program made of a segment.

Type and id of the resource, where the id of the patient's and of the visit's is ""; its
scope; what the segment says, without defaults; and the resource as it stands if nobody
said anything of it before, None where it is added to another one or lacks something.
"""

Before = tuple[dict[str, Any], int, dict[str, Fragment]]
"""Details, count of labels, and directory before a rule."""

_EMPTY = [""] * 256
_BLANK = '^~&\\ "\t'


class Said(NamedTuple):
    """All that one segment says. Shared by all messages that repeat it: never changed.

    Attributes:
        makes: names of the maps that made a resource here, to `Type/id`.
        fired: ordinals of the rules that fired.
        unread: number and raw text of populated fields that no rule reads.
    """

    parts: list[Part]
    makes: dict[str, str]
    fired: list[int]
    directory: dict[str, Fragment]
    details: dict[str, Any]
    labels: list[str]
    issues: list[Issue]
    unread: list[tuple[int | str, str]]

    def again(self, run: Run) -> None:
        """Say once more what is said beside resources."""
        run.fired += self.fired
        if self.directory:
            run.directory.update(self.directory)
        if self.details:
            run.details.update(self.details)
        if self.labels:
            run.labels += [label for label in self.labels if label not in run.labels]
        for issue in self.issues:
            run.report(issue.severity, issue.code, issue.where, issue.text, issue.rule)


@dataclass(slots=True)
class Hearing:
    """How the segments of a patient are listened to.

    Attributes:
        standing: maps that made a resource before, to `Type/id`; what joins needs it.
        trace: what each rule did is added here, where asked for.
        number: which segment of its name.
        incomplete: programs that made nothing, for something they need was not said.
    """

    run: Run
    plan: Plan
    about_visit: bool
    standing: dict[str, str]
    trace: list[Step] | None = None
    number: int = 1
    incomplete: list[Program] = field(default_factory=list)

    def _kept(self, option: Option, count: int) -> list[int]:
        """The fields that nobody reads, with those of programs that made nothing of them."""
        kept = set(self.plan.kept(option.placement.segment, count))
        for program in option.programs:
            if program not in self.incomplete and (program.type != "Encounter" or self.about_visit):
                kept -= program.reads
        return sorted(kept)

    def hear(
        self, segment: Segment, option: Option | None
    ) -> tuple[list[Part], list[tuple[int | str, str]]]:
        """What a segment says of resources, and its fields that no rule reads.

        What a field has beyond its datatype is among them, as `3.13`.
        """
        run, about_visit = self.run, self.about_visit
        run.fields = fields = segment.fields
        run.made = {}
        count = len(fields)
        if option is None:
            return [], unread(fields, self.plan.kept(segment.name, count))
        parts: list[Part] = []
        filled = fields if count >= option.width else fields + _EMPTY[count : option.width]
        self.incomplete.clear()
        begun = len(run.fired)
        for program in option.programs:
            if about_visit or program.type != "Encounter":
                if self.trace is None:
                    program.hear(self, run, fields, filled, parts)
                else:
                    program.hear_traced(self, run, fields, filled, parts)
        if self.incomplete:
            left = unread(fields, self._kept(option, count))
        else:
            left = unread(fields, option.unread(count, about_visit=about_visit))
        for n in option.beside:
            if n < count and fields[n]:
                run.doubted.append(n)
        if run.doubted or run.left:
            left = self._unused(option, begun, filled, left)
        if run.repetition in segment.line:
            left += left_out(fields, option.first_only, run)
        if run.surplus:
            whole = {n for n, _ in left}
            left += [one for one in dict(run.surplus).items() if _number(one[0]) not in whole]
            run.surplus.clear()
        return parts, left

    def _unused(
        self, option: Option, begun: int, fields: list[str], left: list[tuple[int | str, str]]
    ) -> list[tuple[int | str, str]]:
        """What is left with the fields that rules read here, and made nothing of."""
        run = self.run
        readers = option.readers if self.about_visit else option.readers_without_visit
        fired = run.fired[begun:]
        numbers = {*run.left}
        for n in run.doubted:
            if n in readers:
                rules, behind = readers[n]
                if rules.isdisjoint(fired) or (behind and any(fields[one] for one in behind)):
                    numbers.add(n)
        run.doubted.clear()
        run.left.clear()
        return sorted([*left, *unread(fields, numbers - {n for n, _ in left})])

    def learn(self, segment: Segment, option: Option | None) -> Said:
        """All that a segment says, to say it again."""
        run = self.run
        outer = run.issues, run.directory, run.details, run.labels, run.fired, self.standing
        said = Said([], {}, [], {}, {}, [], [], [])
        run.issues, run.directory, run.details = said.issues, said.directory, said.details
        run.labels, run.fired = said.labels, said.fired
        self.standing = {**self.standing}
        parts, fields = self.hear(segment, option)
        said.makes.update((n, m) for n, m in self.standing.items() if outer[-1].get(n) != m)
        run.issues, run.directory, run.details, run.labels, run.fired, self.standing = outer
        said.parts.extend(parts)
        said.unread.extend(fields)
        return said

    def make(
        self, program: Program, place: tuple[str, str], told: Elements, parts: list[Part]
    ) -> None:
        """Let a resource of its own be what a segment says of it, if that is enough."""
        run, name = self.run, program.map.name
        if not told:
            del run.made[name]
            return
        scope = self.scope(program.scope)
        defaults = program.defaults
        elements = {**defaults, **told} if defaults else told
        whole = None
        for need in program.needs:
            if not (elements.get(need) or _has(elements, need)):
                self.lacks(program, need)
                break
        else:
            if len(elements) > len(defaults):
                whole = Fragment(*place, scope, elements)
                self.standing[name] = run.made[name]
        if whole is None:
            del run.made[name]
        parts.append((program, place, scope, told, whole))

    def register(self, program: Program, place: tuple[str, str], told: Elements) -> None:
        """Enter what a segment says of a thing that is nobody's into the directory."""
        named = self.run.directory.get(place[1])
        elements = {**program.defaults, **(named.elements if named else {}), **told}
        said = {name: value for name, value in elements.items() if value is not None}
        self.run.directory[place[1]] = Fragment(*place, "directory", said)

    def scope(self, scope: str) -> Scope:
        """Whose a resource is: nothing is a visit's where there is none."""
        return "visit" if scope == "visit" and self.about_visit else "person"

    def lacks(self, program: Program, what: str) -> None:
        """Note that a segment says too little for its resource."""
        self.incomplete.append(program)
        self.run.report(
            "warning",
            "incomplete",
            program.segment,
            f"no {what}; the {program.type} is left out",
            f"{program.map.place.layer}/{program.map.name}",
        )

    # --- traces --------------------------------------------------------------------------

    def resource(self, program: Program, place: tuple[str, str]) -> str:
        """`Type/id` of what a program makes or adds to."""
        kind, id_ = place
        if program.joins:
            return self.standing[program.joins]
        if program.singleton:
            owner = self.run.identity if kind == "Patient" else self.run.visit
            id_ = stable_id(kind, owner) if owner else ""
        return f"{kind}/{id_}"

    def before(self) -> Before:
        """What a rule finds beside elements."""
        run = self.run
        return dict(run.details), len(run.labels), dict(run.directory)

    def step(
        self,
        rule: Rule,
        raw: str,
        resource: str,
        before: Before,
        fresh: Elements,
    ) -> None:
        """Write down what a rule made of a field, and of what it names by the way."""
        run, (details, labels, directory) = self.run, before
        told = dict(fresh)
        told |= {f"details.{k}": v for k, v in run.details.items() if details.get(k) != v}
        if len(run.labels) > labels:
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
        self.trace += [replace(step, element=name, value=value) for name, value in told.items()]
        for id_, fragment in run.directory.items():
            if directory.get(id_) is not fragment:
                named = replace(step, resource=f"{fragment.type}/{id_}")
                self.trace += [
                    replace(named, element=name, value=value)
                    for name, value in fragment.elements.items()
                ]


def _number(place: str) -> int:
    return int(place.partition(".")[0].partition("(")[0])


def unread(fields: list[str], numbers: Iterable[int]) -> list[tuple[int | str, str]]:
    """Number and raw text of those of the fields that have content."""
    return [(n, raw) for n in numbers if (raw := fields[n]) and raw.strip(_BLANK)]


def left_out(fields: list[str], numbers: frozenset[int], run: Run) -> list[tuple[int | str, str]]:
    """Those of the fields that hold more repetitions than the one that is used."""
    mark, blank = run.repetition, run.blank
    return [
        (n, fields[n])
        for n in sorted(numbers)
        if n < len(fields)
        and mark in fields[n]
        and len({one for one in fields[n].split(mark) if one.strip(blank)}) > 1
    ]


def _has(elements: Elements, need: str) -> bool:
    if elements.get(need):
        return True
    prefix = need + "#"
    return any(value for element, value in elements.items() if element.startswith(prefix))
