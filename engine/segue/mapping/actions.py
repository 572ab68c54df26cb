"""A rule made ready: its datatype, table or function bound, its condition compiled.

Here is also what the code that is written of it (`segue.mapping.generate`) calls.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from segue.hl7v2.message import NULL
from segue.mapping.context import Wanted
from segue.mapping.directory import DATATYPES
from segue.mapping.fields import (
    CompileError,
    Condition,
    Elements,
    FieldReader,
    compile_condition,
    first_of,
    pick,
    split_field,
)
from segue.mapping.functions import CHOICES, DEPENDENT, FUNCTIONS, WHOLE, also_reads
from segue.mapping.language import Place, Rule
from segue.mapping.tables import NOTHING, Convert, Tools, through
from segue.mapping.values import MEMO_LIMIT, Beside, Made, Run
from segue.model.facts import Fragment
from segue.model.hints import did_you_mean

Read = Callable[[str, Run, Elements], None]
"""What the rules of a field do with it as sent."""

TIMES = frozenset({"DT", "DTM", "TS", "moment", "instant"})
"""Datatypes whose value hangs on the message's own offset, too."""

_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")

OWN = frozenset(
    {"CX", "EI", "EI_reference", "SSN", "DLN", "XPN", "XPN_text", "XAD", "XTN", "text_address"}
)
"""Datatypes of what is a patient's, or a visit's, own."""


def converter(rule: Rule, tools: Tools) -> Convert:
    """The datatype, table or function of a rule, with its options bound."""
    options = dict(rule.options)
    if rule.verb == "through":
        table = tools.tables.get(rule.target)
        if table is None:
            raise CompileError(
                f"{rule.sources[0]} through {rule.target}: no table '{rule.target}'."
                + did_you_mean(rule.target, tools.tables)
            )
        gives, default = options.pop("gives", None), options.pop("default", None)
        if options:
            raise CompileError(
                f"with {next(iter(options))}: no option of a table. Known: default, gives."
            )
        if rule.unknown == "keep" and (gives or table.gives) == "code":
            raise CompileError(
                "unknown: keep would put a v2 code into a required binding. "
                "Write omit, default or task."
            )
        return through(table, tools, rule.unknown, gives, default)
    known = DATATYPES if rule.verb == "as" else FUNCTIONS
    factory = known.get(rule.target)
    word = "datatype" if rule.verb == "as" else "function"
    if factory is None:
        raise CompileError(
            f"{rule.sources[0]} {rule.verb} {rule.target}: no {word} '{rule.target}'."
            + did_you_mean(rule.target, known)
        )
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in names and not open_ended:
            raise CompileError(
                f"with {name}: no option of {rule.target}.{did_you_mean(name, names)}"
            )
    for name in names:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            raise CompileError(f"{rule.target} needs the option '{name}' under `with:`.")
    try:
        return factory(tools, **options)
    except TypeError as error:
        # The function hands its options on, to a datatype that does not know one of them.
        found = _UNEXPECTED.search(str(error))
        text = f"'{found[1]}' is none of a datatype" if found else "one does not fit"
        raise CompileError(f"{rule.target}: with: the option {text}.") from None
    except (KeyError, ValueError) as error:
        raise CompileError(f"{rule.target}: with: {error}") from None


@dataclass(slots=True)
class Work:
    """A rule, ready to be written as code.

    Attributes:
        segment: of the map that the rule belongs to.
        to: the element, with the label that tells the rules for a list apart.
        convert: the datatype, table or function, with its options bound.
        read: how the field is read, where it is none of the map's own segment, or one of
            several; None: the code reads it.
        holds: the condition of `when:`.
        part: component and subcomponent that `convert` gets; None: the whole field.
        whole: `convert` gets all repetitions at once.
        remembers: `convert` looks after repetitions and problems itself.
        choices: type to element, of `value[x]`.
        again: what is made of the field is worth remembering.
        adds: another rule may tell of the same list.
        required: the resource must have the element, so that HL7 null cannot delete it.
    """

    rule: Rule
    segment: str
    to: str
    convert: Convert
    read: FieldReader | None = None
    holds: Condition | None = None
    part: tuple[int, int] | None = None
    whole: bool = False
    remembers: bool = False
    choices: dict[str, str] = field(default_factory=dict)
    again: bool = False
    adds: bool = False
    required: bool = False


def work_of(rule: Rule, segment: str, tools: Tools, *, direct: bool) -> Work:
    """Prepare a rule.

    Args:
        rule: as written.
        segment: of its map.
        tools: the tables.
        direct: whether it reads one field of that segment, in its turn.

    Raises:
        CompileError: it names what is not there.
    """
    _, _, component, subcomponent = split_field(rule.sources[0])
    work = Work(rule, segment, element_of(rule), converter(rule, tools))
    work.whole = rule.verb == "using" and rule.target in WHOLE
    if rule.to.endswith("[x]"):
        work.choices = {kind: rule.to[:-3] + kind for kind in CHOICES[rule.target]}
    others = () if _depends(rule) else also_reads(rule.target, rule.options)
    if others:
        work.convert = _remembering(work, others)
        work.remembers = True
    if not direct:
        work.read = first_of(rule.sources, segment)
    elif component:
        work.part = (component, subcomponent)
    work.holds = compile_condition(rule.where, segment)
    return work


def element_of(rule: Rule) -> str:
    """The element that a rule fills; of a list the part that is this rule's."""
    plain = "#" in rule.to or rule.to == "labels" or rule.to.startswith("details.")
    return f"{rule.to}#{rule.name}" if rule.each and not plain else rule.to


def report(run: Run, rule: Rule) -> None:
    """Note the problems that a rule has met."""
    run.odd = True
    for severity, code, text in run.found:
        run.report(severity, code, rule.sources[0], text, rule.label)
    run.found.clear()
    if run.asked:
        run.wanted += [Wanted(*one, rule.sources[0], rule.label) for one in run.asked]
        run.asked.clear()


def each_of(convert: Convert, raw: str, run: Run) -> list[Any] | None:
    """What the repetitions of a field become, None where that is nothing."""
    found = [
        value
        for repetition in raw.split(run.repetition)
        if repetition and (value := convert(repetition, run)) is not None and value is not NOTHING
    ]
    return found or None


def part_of(raw: str, run: Run, each: bool, component: int, sub: int) -> str:
    """A component of the first repetition, or of each; null only if all are null."""
    raws = raw.split(run.repetition) if each else [run.first(raw)]
    picked = [pick(one, run, component, sub) for one in raws]
    if run.subcomponent in raw and not sub:
        picked = [one.replace(run.subcomponent, run.component) for one in picked]
    if picked == [NULL]:
        return NULL
    return run.repetition.join(one for one in picked if one and one != NULL)


def learn(read: Read, memo: int, raw: str, run: Run) -> Made:
    """What the rules of a field make of it, remembered if nothing was odd about it."""
    outer = run.details, run.labels, run.fired
    elements: Elements = {}
    details: dict[str, Any] = {}
    labels: list[str] = []
    ordinals: list[int] = []
    run.details, run.labels, run.fired = details, labels, ordinals
    run.timed, run.odd, run.touched = False, False, []
    read(raw, run, elements)
    run.details, run.labels, run.fired = outer
    named = {fragment.id: fragment for fragment in run.touched}
    beside = (details, labels, named) if details or labels or named else None
    made: Made = elements, ordinals, beside
    if not run.timed and not run.odd and run.escape not in raw:
        held = run.memos[memo]
        if len(held) >= MEMO_LIMIT:
            held.clear()
        held[raw] = made
    return made


def say_beside(beside: Beside, run: Run) -> None:
    """Say once more what a field said beside elements."""
    details, labels, named = beside
    if details:
        run.details.update(details)
    if named:
        run.directory.update(named)
    if labels:
        run.labels += [label for label in labels if label not in run.labels]


def comes_again(rules: Sequence[Rule]) -> bool:
    """Whether what the rules of a field make of it is worth remembering by its raw text.

    It must depend on nothing but that and the site, and be no patient's own: classes,
    doctors and places come again, names and numbers of patients hardly do.
    """
    fields = {split_field(path)[:2] for rule in rules for path in (*rule.sources, *rule.where)}
    return len(fields) == 1 and not any(
        _depends(rule)
        or also_reads(rule.target, rule.options)
        or (rule.verb == "as" and rule.target in OWN)
        for rule in rules
    )


def _depends(rule: Rule) -> bool:
    if rule.verb == "as":
        return rule.target in TIMES
    return rule.target in DEPENDENT or rule.options.get("datatype") in TIMES


def _remembering(work: Work, others: tuple[int, ...]) -> Convert:
    """Remember by the field and those that the function looks at besides."""
    rule, plain, whole = work.rule, work.convert, work.whole

    def read(raw: str, run: Run) -> Any:
        value: Any
        if whole or run.repetition not in raw:
            value = plain(raw, run)
        elif rule.each:
            return each_of(plain, raw, run)
        else:
            value = plain(run.first(raw), run)
        return [value] if rule.each and value is not None and value is not NOTHING else value

    def learn(key: tuple[Any, ...], raw: str, run: Run) -> tuple[Any, list[Fragment]]:
        run.timed, run.odd, run.touched = False, False, []
        learnt = (read(raw, run), run.touched)
        run.touched = []  # what is named from here on is no part of it
        if run.found:
            report(run, rule)
        if run.default_delimiters and not run.timed and not run.odd:
            run.remember(key, learnt)
        return learnt

    def convert(raw: str, run: Run) -> Any:
        fields = run.fields
        count = len(fields)
        key = (read, raw, *[fields[n] for n in others if n < count])
        value, touched = run.cache.get(key) or learn(key, raw, run)
        for fragment in touched:
            run.directory[fragment.id] = fragment
        return value

    return convert


def example_work(**keys: Any) -> Work:
    """A rule for examples: it makes a text of `ZZZ-1`."""
    given: dict[str, Any] = {
        "map": "ZZZ_Basic",
        "name": "example",
        "sources": ("ZZZ-1",),
        "each": False,
    }
    given |= {"to": "code", "verb": "as", "target": "ST", "options": {}, "where": {}}
    given |= {"unknown": "omit", "keep_null": False, "because": ""}
    rule = Rule(place=Place("core", "mappings/core/segments/ZZZ_Basic.yaml", 4), **given | keys)
    return work_of(rule, "ZZZ", Tools(), direct=True)
