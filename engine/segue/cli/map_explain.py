"""`segue map explain`: which rule of which layer made what of a field."""

from collections.abc import Iterator
from json import dumps as compact
from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.map_input import (
    Authority,
    Mappings,
    Site,
    Zone,
    issue_row,
    load_mapping,
    messages,
    site_rules,
)
from segue.cli.output import USAGE, WRONG, Failure, Json, print_json
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.parse import parse
from segue.hl7v2.paths import compile_path, split_path
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped, Step
from segue.mapping.load import MappingSet


def explain(
    file: Annotated[Path, typer.Argument(help="A file; its first message is explained.")],
    field: Annotated[str | None, typer.Argument(help="A field, PV1-2; default: all.")] = None,
    site: Site = None,
    mappings: Mappings = None,
    zone: Zone = None,
    authority: Authority = None,
    json: Json = False,
) -> None:
    """Show which rule of which layer made what of a field.

    Example: segue map explain admit.hl7 PV1-2
    """
    asked = None if field is None else _asked(field)
    mapping = load_mapping(site, mappings)
    raw = next(messages([file]))[2]
    try:
        message = parse(raw)
    except Hl7Error as error:
        raise Failure(f"{file}: {error}", WRONG) from None
    rules = site_rules(site, zone, authority)(message)
    mapped = apply(mapping, message, Context(rules, feed="map", received=0), trace=True)
    steps = [_step(mapping, step) for step in mapped.trace or [] if _about(step, asked)]
    for path, what in _keys(mapping, mapped):
        if asked is None or _field(path) == asked:
            steps.insert(0, {"field": path, "rule": "identity.yaml", "value": what})
    left = [name for name in mapped.unmapped if asked is None or name == asked]
    issues = [i for i in mapped.issues if asked is None or _field(i.where) == asked]
    if json:
        found = [issue_row(issue) for issue in issues]
        print_json({"field": field, "steps": steps, "issues": found, "unmapped": left})
        return
    for step in steps:
        typer.echo(_step_text(step))
    for issue in issues:
        typer.echo(f"{issue.where}  {issue.severity}: {issue.text}")
    for name in left:
        typer.echo(f"{name}  no rule reads it; it is kept verbatim in the Provenance")
    if not steps and not issues and not left:
        there = asked is None or compile_path(asked)(message) is not None
        why = "read by the engine itself" if there else "empty in this message"
        typer.echo(f"{asked or file}  {why}")


def _asked(path: str) -> str:
    """The field of a path that a person wrote, `PID-3` of `pid-3(2).4`."""
    try:
        found = split_path(path.upper())
    except Hl7Error as error:
        raise Failure(str(error), USAGE) from None
    return f"{found.segment}-{found.field}"


def _about(step: Step, asked: str | None) -> bool:
    return asked is None or asked in {_field(path) for path in step.field.split("|")}


def _field(path: str) -> str:
    return path.partition(".")[0].strip()


def _step(mapping: MappingSet, step: Step) -> dict[str, Any]:
    shown: dict[str, Any] = {name: getattr(step, name) for name in Step.__slots__}
    if step.verb.startswith("through "):
        shown["table"] = mapping.entry_of(step) or None
    because = next((r.because for r in mapping.rules if r.label == step.rule), "")
    if because:
        shown["because"] = because
    return shown


def _step_text(step: dict[str, Any]) -> str:
    if "element" not in step:
        return f"{step['field']}  {step['rule']}  ->  {step['value']}"
    number = f"({step['number']})" if step["number"] > 1 else ""
    lines = [f"{step['field']}{number}  {step['raw']}"]
    lines.append(f"  {step['rule']}  {step['verb']}  {step['file']}:{step['line']}")
    if step.get("because"):
        lines.append(f"  because {step['because']}")
    if step.get("table"):
        lines.append(f"  {step['table']}")
    value = step["value"]
    if not isinstance(value, str):
        value = "deleted" if value is None else compact(value, ensure_ascii=False)
    apart = step["element"].startswith(("details.", "labels"))
    place = "fact" if apart else step["resource"]
    lines.append(f"  {place}.{step['element']} = {value}")
    return "\n".join(lines)


def _keys(mapping: MappingSet, mapped: Mapped) -> Iterator[tuple[str, str]]:
    for fact in mapped.facts:
        if fact.visit:
            yield " + ".join(mapping.identity.visit[0]), f"visit {fact.visit}"
        yield mapping.identity.fields[0], f"patient {fact.identity}"
