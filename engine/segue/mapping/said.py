"""One segment through its programs: what it says by itself.

What a segment says of the patient hangs on nothing but its text and on whose it is, so
it can be remembered and said again: the messages of a patient repeat PID, NK1, AL1, IN1
and GT1 word for word. `segue.mapping.walk` puts together what all segments say.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from segue.hl7v2.message import NULL, Segment
from segue.mapping.compile import Option, Plan, Program, Reader, resource_id
from segue.mapping.context import Step
from segue.mapping.fields import Elements
from segue.mapping.language import Rule
from segue.mapping.values import MEMO_LIMIT, Made, Run
from segue.model.facts import Fragment, Scope
from segue.model.identity import stable_id
from segue.model.issues import Issue

Part = tuple[Program, tuple[str, str], Scope, Elements, Fragment | None]
"""What one program made of a segment.

Type and id of the resource, where the id of the patient's and of the visit's is ""; its
scope; what the segment says, without defaults; and the resource as it stands if nobody
said anything of it before, None where it is added to another one or lacks something.
"""

NOTHING: frozenset[int] = frozenset()


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
    unread: list[tuple[int, str]]

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

    def _read_by_others(self, option: Option) -> frozenset[int]:
        """The fields that are read, without those of programs that made nothing of them."""
        reads = set(self.plan.structural.get(option.placement.segment, NOTHING))
        for program in option.programs:
            if program not in self.incomplete and (program.type != "Encounter" or self.about_visit):
                reads |= program.reads
        return frozenset(reads)

    def hear(
        self, segment: Segment, option: Option | None
    ) -> tuple[list[Part], list[tuple[int, str]]]:
        """What a segment says of resources, and its fields that no rule reads."""
        run = self.run
        run.fields = fields = segment.fields
        run.made = {}
        populated = [n for n, raw in enumerate(fields) if raw]
        parts: list[Part] = []
        if option is None:
            reads = self.plan.structural.get(segment.name, NOTHING)
        else:
            reads = option.reads if self.about_visit else option.reads_without_visit
            self.incomplete.clear()
            for program in option.programs:
                if program.type != "Encounter" or self.about_visit:
                    self._through(program, populated, parts)
            if self.incomplete:
                reads = self._read_by_others(option)
        left = unread(fields, populated, reads)
        if option is not None and run.repetition in segment.line:
            left += left_out(fields, option.first_only, run)
        return parts, left

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

    def _through(self, program: Program, populated: list[int], parts: list[Part]) -> None:
        run = self.run
        name, kind = program.map.name, program.type
        if program.scope == "directory" and program.readers.keys().isdisjoint(populated):
            return
        key = program.key(run.fields, run) if program.key is not None else ""
        if program.singleton or program.joins:
            if program.joins and program.joins not in self.standing:
                return
            if key:
                run.made["key"] = f"key/{stable_id('key', key)}"
            scope: Scope = "visit" if kind == "Encounter" else "person"
            if program.joins and not program.singleton:
                scope = self._scope(program.joins_scope)
            told = self._fill(program, populated, (kind, ""))
            if told:
                parts.append((program, (kind, ""), scope, told, None))
            return
        if program.key is not None and not key:
            fields, blank = run.fields, run.blank
            if any(n < len(fields) and fields[n].strip(blank) for n in program.readers):
                self._incomplete(program, "identifying field")
            return
        place = (kind, resource_id(program, run, key))
        if program.scope == "directory":
            told = self._fill(program, populated, place)
            named = run.directory.get(place[1])
            elements = {**program.defaults, **(named.elements if named else {}), **told}
            said = {name: value for name, value in elements.items() if value is not None}
            run.directory[place[1]] = Fragment(*place, "directory", said)
            return
        run.made[name] = reference = f"{kind}/{place[1]}"
        told = self._fill(program, populated, place)
        if not told:
            del run.made[name]
            return
        scope = self._scope(program.scope)
        defaults = program.defaults
        elements = {**defaults, **told} if defaults else told
        whole = None
        missing = next((need for need in program.needs if not _has(elements, need)), None)
        if missing is not None:
            self._incomplete(program, missing)
        if missing is None and len(elements) > len(defaults):
            whole = Fragment(*place, scope, elements)
            self.standing[name] = reference
        else:
            del run.made[name]
        parts.append((program, place, scope, told, whole))

    def _scope(self, scope: str) -> Scope:
        return "visit" if scope == "visit" and self.about_visit else "person"

    def _incomplete(self, program: Program, what: str) -> None:
        self.incomplete.append(program)
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
        readers, memos, fields, fired = program.readers, run.memos, run.fields, run.fired
        for n in populated:
            if n not in readers:
                continue
            reader, raw = readers[n], fields[n]
            memo = reader[0]
            if memo < 0:
                _read(reader, raw, run, out)
                continue
            elements, ordinals, beside = memos[memo].get(raw) or _learn(reader, raw, run)
            if elements:
                out.update(elements)
            fired += ordinals
            if beside is not None:
                details, labels, named = beside
                if details:
                    run.details.update(details)
                if named:
                    run.directory.update(named)
                if labels:
                    run.labels += [label for label in labels if label not in run.labels]
        blank = run.blank
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
            reader = program.readers.get(n)
            if reader is not None:
                actions = reader.clears if null else reader.actions
                for rule, act in zip(reader.rules, actions, strict=True):
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


def _read(reader: Reader, raw: str, run: Run, out: Elements) -> None:
    if raw[0] not in run.blank or raw.strip(run.blank):
        for act in reader.actions:
            act(raw, run, out)
    elif NULL in raw:
        for clear in reader.clears:
            clear(raw, run, out)


def _learn(reader: Reader, raw: str, run: Run) -> Made:
    """What a field makes, remembered if nothing was odd about it."""
    outer = run.details, run.labels, run.fired
    elements: Elements = {}
    details: dict[str, Any] = {}
    labels: list[str] = []
    ordinals: list[int] = []
    run.details, run.labels, run.fired = details, labels, ordinals
    run.timed, run.odd, run.touched = False, False, []
    _read(reader, raw, run, elements)
    run.details, run.labels, run.fired = outer
    named = {fragment.id: fragment for fragment in run.touched}
    beside = (details, labels, named) if details or labels or named else None
    made: Made = elements, ordinals, beside
    if not run.timed and not run.odd and run.escape not in raw:
        memo = run.memos[reader.memo]
        if len(memo) >= MEMO_LIMIT:
            memo.clear()
        memo[raw] = made
    return made


def add(out: Elements, told: Elements, adds: frozenset[str]) -> Elements:
    """Say more of a resource: items of the lists in `adds` are added, all else replaces."""
    for element, value in told.items():
        if element in adds and value and (held := out.get(element)):
            out[element] = held + value
        else:
            out[element] = value
    return out


def unread(
    fields: list[str], populated: Iterable[int], reads: frozenset[int]
) -> list[tuple[int, str]]:
    """Number and raw text of the populated fields that are not among those read."""
    return [
        (n, raw)
        for n in populated
        if n not in reads and n and (raw := fields[n]).strip('^~&\\ "\t')
    ]


def left_out(fields: list[str], numbers: frozenset[int], run: Run) -> list[tuple[int, str]]:
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
