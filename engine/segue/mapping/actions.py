"""A rule as closures: what it does with content, and what HL7 null does."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from segue.hl7v2.message import NULL
from segue.mapping.context import Wanted
from segue.mapping.directory import DATATYPES
from segue.mapping.fields import (
    CompileError,
    Condition,
    Elements,
    compile_condition,
    pick,
    split_field,
)
from segue.mapping.functions import CHOICES, DEPENDENT, FUNCTIONS, WHOLE, also_reads
from segue.mapping.language import Rule
from segue.mapping.source import did_you_mean
from segue.mapping.tables import NOTHING, Convert, Tools, through
from segue.mapping.values import Run
from segue.model.facts import Fragment

Action = Callable[[str, Run, Elements], None]
Sink = Callable[[Elements, Run, Any], None]

TIMES = frozenset({"DT", "DTM", "TS", "moment", "instant"})
"""Datatypes whose value hangs on the message's own offset, too."""

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
    except (KeyError, TypeError, ValueError) as error:
        raise CompileError(f"{rule.target}: option {error} cannot be used.") from None


def compile_rule(
    rule: Rule, tools: Tools, own: str, *, picked: bool = False
) -> tuple[Action, Action]:
    """A rule as two closures: one for content, one for HL7 null.

    Args:
        rule: as written.
        tools: the tables.
        own: the segment of the rule's map.
        picked: whether the component was taken out of the field before.
    """
    convert = converter(rule, tools)
    _, _, component, subcomponent = split_field(rule.sources[0])
    put = _sink(rule)
    ordinal, each = rule.ordinal, rule.each
    whole = rule.verb == "using" and rule.target in WHOLE
    if each:
        convert = _values(convert, whole)
    single = not each and not whole

    def read(raw: str, run: Run) -> Any:
        value = convert(run.first(raw) if single and run.repetition in raw else raw, run)
        if run.found:
            report(run)
        return value

    def report(run: Run) -> None:
        run.odd = True
        for severity, code, text in run.found:
            run.report(severity, code, rule.sources[0], text, rule.label)
        run.found.clear()
        if run.asked:
            run.wanted += [Wanted(*one, rule.sources[0], rule.label) for one in run.asked]
            run.asked.clear()

    def act(raw: str, run: Run, out: Elements) -> None:
        value = convert(run.first(raw) if single and run.repetition in raw else raw, run)
        if run.found:
            report(run)
        if value is not None:
            put(out, run, None if value is NOTHING else value)
            run.fired.append(ordinal)

    def clear(raw: str, run: Run, out: Elements) -> None:
        if not rule.keep_null:
            put(out, run, None)
            run.fired.append(ordinal)

    others = () if _depends(rule) else also_reads(rule.target, rule.options)
    plain = _remembering(ordinal, read, put, others) if others else act
    if component and not picked:
        plain = _of_part(plain, clear, each, component, subcomponent)
    if rule.where:
        holds = compile_condition(rule.where, own)
        assert holds is not None
        return _guarded(plain, holds), _guarded(clear, holds)
    return plain, clear


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
    return rule.target in (TIMES if rule.verb == "as" else DEPENDENT)


def _values(convert: Convert, whole: bool) -> Convert:
    def values(raw: str, run: Run) -> Any:
        if whole or run.repetition not in raw:
            value = convert(raw, run)
            return None if value is None else NOTHING if value is NOTHING else [value]
        found = [
            value
            for repetition in raw.split(run.repetition)
            if repetition and (value := convert(repetition, run)) is not None
        ]
        return found or None

    return values


def _remembering(ordinal: int, read: Convert, put: Sink, others: tuple[int, ...]) -> Action:
    """Remember by the field and those that the function looks at besides."""

    def learn(key: tuple[Any, ...], raw: str, run: Run) -> tuple[Any, list[Fragment]]:
        run.timed, run.odd, run.touched = False, False, []
        learnt = (read(raw, run), run.touched)
        if run.default_delimiters and not run.timed and not run.odd:
            run.remember(key, learnt)
        return learnt

    def act(raw: str, run: Run, out: Elements) -> None:
        fields = run.fields
        count = len(fields)
        key = (read, raw, *[fields[n] for n in others if n < count])
        value, touched = run.cache.get(key) or learn(key, raw, run)
        for fragment in touched:
            run.directory[fragment.id] = fragment
        if value is not None:
            put(out, run, None if value is NOTHING else value)
            run.fired.append(ordinal)

    return act


def _of_part(plain: Action, clear: Action, each: bool, component: int, sub: int) -> Action:
    def part(raw: str, run: Run, out: Elements) -> None:
        raws = raw.split(run.repetition) if each else [run.first(raw)]
        picked = [pick(r, run, component, sub) for r in raws]
        if run.subcomponent in raw and not sub:
            picked = [p.replace(run.subcomponent, run.component) for p in picked]
        if picked == [NULL]:
            clear(raw, run, out)
        elif content := [p for p in picked if p and p != NULL]:
            plain(run.repetition.join(content), run, out)

    return part


def _guarded(action: Action, holds: Condition) -> Action:
    def guarded(raw: str, run: Run, out: Elements) -> None:
        if holds(run.fields, run):
            action(raw, run, out)

    return guarded


def _sink(rule: Rule) -> Sink:
    to = rule.to
    if to.startswith("details."):
        detail = to.removeprefix("details.")

        null = None if rule.target == "moment" else ""

        def into_details(out: Elements, run: Run, value: Any) -> None:
            run.details[detail] = null if value is None else value

        return into_details
    if to == "labels":

        def into_labels(out: Elements, run: Run, value: Any) -> None:
            if value and value not in run.labels:
                run.labels.append(value)

        return into_labels
    if to.endswith("[x]"):
        base = to[:-3]
        names = {kind: base + kind for kind in CHOICES[rule.target]}

        def choose(out: Elements, run: Run, value: Any) -> None:
            kind, chosen = value if value is not None else ("", None)
            for name, element in names.items():
                out[element] = chosen if name == kind else None

        return choose
    if rule.each and "#" not in to:
        to = f"{to}#{rule.name}"
    if "{" in to:
        return _labelled(to)
    if rule.each:

        def extend(out: Elements, run: Run, value: Any) -> None:
            held = out.get(to)
            out[to] = held + value if held and value else value

        return extend

    def put(out: Elements, run: Run, value: Any) -> None:
        out[to] = value

    return put


def _labelled(to: str) -> Sink:
    element, _, label = to.partition("#")
    name = label.strip("{}")

    def put(out: Elements, run: Run, value: Any) -> None:
        made = run.made.get(name, "")
        out[f"{element}#{made.rpartition('/')[2]}"] = value

    return put
