"""A segment map as Python: straight-line code, compiled when the map is first used.

What a rule says is known when it is read; only the fields are not. So for each map one
function is written that looks at the fields one after the other and does with each just
what its rules say: no table of closures is walked, nothing is looked up by name. Each line
of the code stands for the line of the mapping file that its rule is written in, so that a
traceback through it names file and line of the rule. `Writer.fill` shows an example.

The variant for traces differs only in that each rule says into a dict of its own, which is
then written down, and in that nothing is remembered.
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from segue.hl7v2.message import NULL
from segue.mapping.actions import Work, each_of, learn, part_of, report, say_beside
from segue.mapping.fields import KeyReader, add, split_field
from segue.mapping.language import SINGLETONS, Place, SegmentMap
from segue.mapping.tables import NOTHING
from segue.mapping.values import Run
from segue.mapping.widths import Width
from segue.model.identity import stable_id

Listener = Callable[[Any, Run, list[str], list[str], list[Any]], None]
"""Hears a segment: by whom, the run, its fields, the same filled up with "", and the parts."""

Line = tuple[str, int]
"""A line of code, and the line of the mapping file that it stands for."""
Block = list[Line]

_ALIASES = (
    ("blank", "run.blank"),
    ("doubted", "run.doubted"),
    ("fired", "run.fired"),
    ("memos", "run.memos"),
    ("rep", "run.repetition"),
    ("comp", "run.component"),
    ("sub", "run.subcomponent"),
)


def indented(block: Iterable[Line]) -> Block:
    """The block one step further in."""
    return [("    " + text, line) for text, line in block]


def assign(work: Work, out: str, value: str | None) -> list[str]:
    """Code that puts a value, or the null that deletes, where a rule says.

    Args:
        work: the rule.
        out: name of the dict of elements.
        value: name of the value; None for HL7 null.

    >>> from segue.mapping.actions import example_work
    >>> assign(example_work(to="details.class"), "out", None)
    ["run.details['class'] = ''"]
    >>> assign(example_work(to="status"), "out", "value")
    ["out['status'] = value"]
    """
    rule, to = work.rule, work.to
    if to == "labels":
        if value is None:
            return []
        return [f"if {value} and {value} not in run.labels:", f"    run.labels.append({value})"]
    if to.startswith("details."):
        null = None if rule.target == "moment" else ""
        put = repr(null) if value is None else value
        return [f"run.details[{to.removeprefix('details.')!r}] = {put}"]
    if work.choices:
        if value is None:
            return [f"{out}[{element!r}] = None" for element in work.choices.values()]
        return [
            f"{out}[{element!r}] = {value}[1] if {value}[0] == {kind!r} else None"
            for kind, element in work.choices.items()
        ]
    if "{" in to:
        element, _, label = to.partition("#")
        made = f"run.made.get({label.strip('{}')!r}, '').rpartition('/')[2]"
        return [f"{out}[{element + '#'!r} + {made}] = {value}"]
    if rule.each and value is not None and work.adds:
        return [
            f"held = {out}.get({to!r})",
            f"{out}[{to!r}] = held + {value} if held and {value} else {value}",
        ]
    return [f"{out}[{to!r}] = {value}"]


class Writer:
    """Writes the functions of one map.

    Args:
        name: of the map. place: where it is written; rules of other layers are elsewhere.
        traced: whether each rule says into a dict of its own, which is written down.
        names: what the code calls, by name; it grows.
        limits: what fields have room for; what is beyond it goes to `run.surplus`.
    """

    def __init__(
        self,
        name: str,
        place: Place,
        *,
        traced: bool,
        names: dict[str, Any],
        limits: Mapping[int, Width] | None = None,
    ) -> None:
        self.name, self.place, self.traced, self.names = name, place, traced, names
        self.limits = limits or {}
        self.out = "fresh" if traced else "out"
        names.update(NULL=NULL, NOTHING=NOTHING, stable_id=stable_id, each_of=each_of)
        names.update(part_of=part_of, report=report, learn=learn, say_beside=say_beside)

    def fill(self, fields: Mapping[int, Sequence[Work]], loose: Sequence[Work]) -> Block:
        r"""What all rules of the map say, into `out`.

        Args:
            fields: the rules by number of the field that they read.
            loose: rules on fields of other segments, or on the first of several.

        >>> from segue.mapping.actions import example_work
        >>> work = example_work(each=True, to="name", verb="as", target="XPN")
        >>> writer = Writer("ZZZ_Basic", work.rule.place, traced=False, names={})
        >>> print("\n".join(text for text, _ in writer.fill({1: [work]}, [])))
        raw = f[1]
        if raw:
            if raw[0] not in blank or raw.strip(blank):
                if rep in raw:
                    value = each_of(C0, raw, run)
                else:
                    value = C0(raw, run)
                    if value is not None:
                        value = [value]
                if run.found:
                    report(run, R0)
                if value is not None:
                    out['name#example'] = value
                    fired.append(0)
                else:
                    doubted.append(1)
            elif NULL in raw:
                out['name#example'] = None
                fired.append(0)
        """
        block: Block = []
        for number in sorted(fields):
            works = fields[number]
            at, memo = self._at(works[0]), works[0].rule.ordinal
            block += [(f"raw = f[{number}]", at), ("if raw:", at)]
            content = self._beyond(number, at) + self._field(works)
            if self.traced or not works[0].again:
                block += indented(content)
                continue
            # What is said of doctors, places and codes comes again.
            name = f"{self.name}_{number}"
            self.names[f"M{memo}"] = self.function(name, "raw, run, out", content)
            block += indented(
                (text, at)
                for text in (
                    f"told = memos[{memo}].get(raw) or learn(M{memo}, {memo}, raw, run)",
                    "if told[0]:",
                    "    out.update(told[0])",
                    "if told[1]:",
                    "    fired += told[1]",
                    "else:",
                    f"    doubted.append({number})",
                    "if told[2] is not None:",
                    "    say_beside(told[2], run)",
                )
            )
        for number in sorted(self.limits.keys() - fields.keys()):
            at = self.place.line
            block += [(f"raw = f[{number}]", at), ("if raw:", at)]
            block += indented(self._beyond(number, at))
        for work in loose:
            at = self._at(work)
            sources = [split_field(path)[:2] for path in work.rule.sources]
            if all(segment == work.segment for segment, _ in sources):
                numbers = dict.fromkeys(number for _, number in sources)
                block.append((f"if {' or '.join(f'f[{n}]' for n in numbers)}:", at))
            else:
                block.append(("if True:", at))
            read = self._name("L", work, work.read)
            block += [(f"    raw = {read}(fields, run)", at), ("    if raw:", at)]
            block += indented(indented(self._field([work])))
        return block

    def _beyond(self, number: int, at: int) -> Block:
        """A look at whether a field holds more than its datatype has."""
        width = self.limits.get(number)
        if width is None:
            return []
        name = f"W_{number}"
        self.names[name] = width
        more = f" and raw.count(comp) >= {width.components}" if width.components > 1 else ""
        return [
            (f"if comp in raw{more} or sub in raw:", at),
            (f"    run.exceed(raw, {number}, {name})", at),
        ]

    def function(self, name: str, arguments: str, block: Block, file: str = "") -> Any:
        """Compile a function; its lines are those of the mapping file."""
        text = "\n".join(text for text, _ in block)
        used = [(alias, source) for alias, source in _ALIASES if alias in text]
        start = block[0][1]
        head: Block = [(f"def {name}({arguments}):", start)]
        if used:
            left, right = (", ".join(pair[i] for pair in used) for i in (0, 1))
            head.append((f"    {left} = {right}", start))
        lines = head + indented(block)
        tree = ast.parse("\n".join(text for text, _ in lines))
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt | ast.expr | ast.arg | ast.keyword):
                node.lineno = node.end_lineno = lines[node.lineno - 1][1]
                node.col_offset = node.end_col_offset = 0
        exec(compile(tree, file or self.place.file, "exec"), self.names)  # noqa: S102 - our own text
        return self.names[name]

    def _at(self, work: Work) -> int:
        """The line of the map's own file that stands for a rule."""
        place = work.rule.place
        return place.line if place.file == self.place.file else self.place.line

    def _name(self, prefix: str, work: Work, value: object) -> str:
        """A name in the code for what belongs to a rule."""
        name = f"{prefix}{work.rule.ordinal}"
        self.names[name] = value
        return name

    def _field(self, works: Sequence[Work]) -> Block:
        """What the rules of a field do with `raw`."""
        content: Block = []
        null: Block = []
        for work in works:
            content += self._rule(work, self._content(work))
            null += self._rule(work, self._clear(work))
        at = self._at(works[0])
        lines: Block = [("if raw[0] not in blank or raw.strip(blank):", at), *indented(content)]
        if null:
            lines += [("elif NULL in raw:", at), *indented(null)]
        return lines

    def _rule(self, work: Work, block: Block) -> Block:
        """A rule under its condition, written down where that is wanted."""
        at = work.rule.place.line
        if block and work.holds is not None:
            test = f"if {self._name('W', work, work.holds)}(run.fields, run):"
            block = [(test, at), *indented(block)]
            block += [(text, at) for text in ("else:", *(f"    {one}" for one in _doubt(work)))]
        if block and work.rule.place.file != self.place.file:
            # Code has one file: what a site says otherwise is a function of its own.
            name = f"{self.name}_otherwise_{len(self.names)}"
            self.function(name, f"raw, run, {self.out}", block, work.rule.place.file)
            block = [(f"{name}(raw, run, {self.out})", self._at(work))]
        if block and self.traced:
            at = self._at(work)
            rule = self._name("R", work, work.rule)
            block = [
                ("fresh, before = {}, hearing.before()", at),
                *block,
                (f"hearing.step({rule}, raw, resource, before, fresh)", at),
                ("add(out, fresh, PROGRAM.adds)", at),
            ]
        return block

    def _content(self, work: Work) -> Block:
        """What a rule does with content."""
        at = work.rule.place.line
        if work.part is None:
            return [(text, at) for text in self._act(work, "raw")]
        lines = [f"picked = part_of(raw, run, {work.rule.each}, *{work.part})"]
        null = [text for text, _ in self._clear(work)]
        if null:
            lines += ["if picked == NULL:", *("    " + text for text in null)]
        act = self._act(work, "picked")
        lines += ["if picked and picked != NULL:", *("    " + text for text in act)]
        lines += ["elif picked != NULL:", *("    " + text for text in _doubt(work))]
        return [(text, at) for text in lines]

    def _act(self, work: Work, raw: str) -> list[str]:
        rule = work.rule
        convert = self._name("C", work, work.convert)
        value = f"{convert}({raw}, run)"
        some = "value is not None"
        if rule.verb == "using":
            some += " and value is not NOTHING"
        lines = [f"value = {value}"]
        if not work.remembers:
            if rule.each:
                lines += [f"if {some}:", "    value = [value]"]
                if not work.whole:
                    many = f"    value = each_of({convert}, {raw}, run)"
                    lines = [f"if rep in {raw}:", many, "else:", *("    " + t for t in lines)]
            elif not work.whole:
                lines = [f"value = {convert}(run.first({raw}) if rep in {raw} else {raw}, run)"]
            lines += ["if run.found:", f"    report(run, {self._name('R', work, rule)})"]
        lines.append("if value is not None:")
        if rule.verb == "using":
            nothing = "('', None)" if work.choices else "None"
            lines += ["    if value is NOTHING:", f"        value = {nothing}"]
        lines += ["    " + text for text in assign(work, self.out, "value")]
        lines += [f"    fired.append({rule.ordinal})", "else:"]
        return [*lines, *("    " + text for text in _doubt(work))]

    def _clear(self, work: Work) -> Block:
        """What a rule does with HL7 null."""
        if work.rule.keep_null or work.required:
            return []
        lines = [*assign(work, self.out, None), f"fired.append({work.rule.ordinal})"]
        return [(text, work.rule.place.line) for text in lines]


def _doubt(work: Work) -> list[str]:
    """Code for a rule that makes nothing of what it reads."""
    places = (split_field(path)[:2] for path in work.rule.sources)
    own = dict.fromkeys(n for segment, n in places if segment == work.segment)
    return [f"doubted.append({number})" for number in own] or ["pass"]


def listener(
    segment_map: SegmentMap,
    program: object,
    key: KeyReader | None,
    fields: Mapping[int, Sequence[Work]],
    loose: Sequence[Work],
    *,
    limits: Mapping[int, Width] | None = None,
    traced: bool = False,
) -> Listener:
    """Write and compile what a map makes of a segment.

    Args:
        segment_map: the map.
        program: of the map; the code only hands it on.
        key: reads what identifies the resource.
        fields, loose: see `Writer.fill`.
        limits: see `Writer`.
        traced: for a trace.
    """
    name, kind, joins = segment_map.name, segment_map.type, segment_map.joins
    names: dict[str, Any] = {"PROGRAM": program, "KEY": key, "add": add}
    writer = Writer(name, segment_map.place, traced=traced, names=names, limits=limits)
    singleton = kind in SINGLETONS
    lines: list[str] = []
    directory = segment_map.scope == "directory"
    if directory:
        some = " or ".join(f"f[{n}]" for n in sorted(fields)) or "False"
        lines += [f"if not ({some}):", "    return"]
    if joins:
        lines += [f"if {joins!r} not in hearing.standing:"]
        lines += [f"    run.doubted += {sorted(fields)}", "    return"]
    read_key = "key = KEY(fields, run)" if key is not None else "key = ''"
    after = "hearing.make(PROGRAM, place, out, parts)"
    if singleton or joins:
        if any("{key}" in rule.to for rule in segment_map.rules.values()):
            made = "run.made['key'] = 'key/' + stable_id('key', key)"
            lines += [read_key, "if key:", f"    {made}"]
        lines.append(f"place = ({kind!r}, '')")
        scope = "'visit'" if kind == "Encounter" else "'person'"
        if joins and not singleton:
            scope = "hearing.scope(PROGRAM.joins_scope)"
        after = f"if out: parts.append((PROGRAM, place, {scope}, out, None))"
    else:
        lines.append(read_key)
        if key is not None:
            filled = " or ".join(f"f[{n}].strip(run.blank)" for n in sorted(fields)) or "False"
            missing = "hearing.lacks(PROGRAM, 'identifying field')"
            lines += ["if not key:", f"    if {filled}:", f"        {missing}", "    return"]
        owner = {"none": "", "site": "run.site.name, ", "visit": "run.visit or run.identity, "}
        whose = owner.get(segment_map.within, "run.identity, ")
        lines.append(f"place = ({kind!r}, stable_id({kind!r}, {whose}key))")
        if directory:
            after = "hearing.register(PROGRAM, place, out)"
        else:
            lines.append(f"run.made[{name!r}] = {kind + '/'!r} + place[1]")
    if traced:
        lines.append("resource = hearing.resource(PROGRAM, place)")
    lines.append("out = {}")
    at = segment_map.place.line
    block: Block = [(text, at) for text in lines]
    block += writer.fill(fields, loose)
    block.append((after, at))
    return writer.function(name, "hearing, run, fields, f, parts", block)  # type: ignore[no-any-return]
