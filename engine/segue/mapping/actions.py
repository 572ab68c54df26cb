"""A rule as closures: what it does with content, and what HL7 null does."""

import inspect
from collections.abc import Callable
from typing import Any

from segue.hl7v2.message import NULL
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
from segue.mapping.values import MEMO_LIMIT, Run
from segue.model.facts import Fragment

Action = Callable[[str, Run, Elements], None]
Sink = Callable[[Elements, Run, Any], None]

TIMES = frozenset({"DT", "DTM", "TS", "moment"})
"""Datatypes whose value hangs on the message's own offset, too."""


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


def compile_rule(rule: Rule, tools: Tools) -> tuple[Action, Action]:
    """A rule as two closures: one for content, one for HL7 null.

    What a rule makes of a field is remembered by the raw text, where it depends on
    nothing but that and the site; classes, doctors, places and addresses come again.
    """
    convert = converter(rule, tools)
    _, _, component, subcomponent = split_field(rule.sources[0])
    put = _sink(rule)
    ordinal, each = rule.ordinal, rule.each
    whole = rule.verb == "using" and rule.target in WHOLE
    whole_value = _values(convert, whole) if each else _value(convert, whole)

    def read(raw: str, run: Run) -> Any:
        value = whole_value(raw, run)
        if run.found:
            run.odd = True
            for severity, code, text in run.found:
                run.report(severity, code, rule.sources[0], text, rule.label)
            run.found.clear()
        return value

    def clear(raw: str, run: Run, out: Elements) -> None:
        if not rule.keep_null:
            put(out, run, None)
            run.fired.append(ordinal)

    dependent = rule.target in (TIMES if rule.verb == "as" else DEPENDENT)
    others = also_reads(rule.target, rule.options)
    if others and not dependent:
        plain = _fresh(ordinal, _with_fields(read, others), put)
    elif dependent:
        plain = _fresh(ordinal, read, put)
    else:
        plain = _remembering(rule, read, put)
    if component:
        plain = _of_part(plain, clear, each, component, subcomponent)
    if rule.where:
        holds = compile_condition(rule.where, split_field(rule.sources[0])[0])
        assert holds is not None
        return _guarded(plain, holds), _guarded(clear, holds)
    return plain, clear


def _value(convert: Convert, whole: bool) -> Convert:
    def value(raw: str, run: Run) -> Any:
        if not whole and run.repetition in raw:
            raw = run.first(raw)
        return convert(raw, run)

    return value


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


def _with_fields(read: Convert, others: tuple[int, ...]) -> Convert:
    """Remember by the field and those that the function looks at besides."""

    def remembered(raw: str, run: Run) -> Any:
        fields = run.fields
        count = len(fields)
        key = (read, raw, *[fields[n] for n in others if n < count])
        known = run.cache.get(key)
        if known is None:
            run.timed, run.odd, run.touched = False, False, []
            value = read(raw, run)
            if not run.default_delimiters or run.timed or run.odd:
                return value
            known = run.remember(key, (value, run.touched))
        value, touched = known
        for fragment in touched:
            run.directory[fragment.id] = fragment
        return value

    return remembered


def _fresh(ordinal: int, read: Convert, put: Sink) -> Action:
    def act(raw: str, run: Run, out: Elements) -> None:
        value = read(raw, run)
        if value is not None:
            put(out, run, None if value is NOTHING else value)
            run.fired.append(ordinal)

    return act


def _remembering(rule: Rule, read: Convert, put: Sink) -> Action:
    ordinal = rule.ordinal

    def learn(raw: str, run: Run) -> tuple[Any, list[Fragment]]:
        run.timed, run.odd, run.touched = False, False, []
        learnt = (read(raw, run), run.touched)
        if not run.odd and not run.timed and run.escape not in raw:
            memo = run.memos[ordinal]
            if len(memo) >= MEMO_LIMIT:
                memo.clear()
            memo[raw] = learnt
        return learnt

    def act(raw: str, run: Run, out: Elements) -> None:
        value, touched = run.memos[ordinal].get(raw) or learn(raw, run)
        if value is None:
            return
        for fragment in touched:
            run.directory[fragment.id] = fragment
        put(out, run, value)
        run.fired.append(ordinal)

    key = f"{rule.to}#{rule.name}" if rule.each and "#" not in rule.to else rule.to
    if rule.to == "labels" or rule.to.startswith("details.") or rule.to[-1] in "]}":
        return act

    def fill(raw: str, run: Run, out: Elements) -> None:
        value, touched = run.memos[ordinal].get(raw) or learn(raw, run)
        if value is not None:
            if touched:
                for fragment in touched:
                    run.directory[fragment.id] = fragment
            out[key] = value
            run.fired.append(ordinal)

    def extend(raw: str, run: Run, out: Elements) -> None:
        value, touched = run.memos[ordinal].get(raw) or learn(raw, run)
        if value is not None:
            if touched:
                for fragment in touched:
                    run.directory[fragment.id] = fragment
            if key in out:
                put(out, run, value)
            else:
                out[key] = value
            run.fired.append(ordinal)

    return extend if rule.each else fill


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
