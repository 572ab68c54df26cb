"""`segue explain`: which message, which field, which rule made each element."""

import json as jsons
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.output import USAGE, WRONG, Config, Failure, Json, print_json
from segue.cli.reach import reached
from segue.fhir.references import parse_reference

if TYPE_CHECKING:
    from segue.pipeline.lineage import Lineage, Origin

SHOWN = 60
"""Characters of a value in a table; `--json` has all of it."""


def explain(
    resource: Annotated[str, typer.Argument(metavar="TYPE/ID", help="Encounter/7c8c…")],
    element: Annotated[str | None, typer.Argument(help="One element; default: all.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Say which message, field and rule each element of a stored resource comes from.

    The person's messages are read again, each with the mapping that was in force when it
    came; lines of a mapping that is in force no more say which it was.

    Example: segue explain Encounter/365b2a0f80b47cd294c37cb9491be650 class
    """
    from segue.cli.reach import hub
    from segue.pipeline.lineage import NotExplainedError, lineage

    key = parse_reference(resource)
    if key is None:
        raise Failure(f"{resource}: write TYPE/ID, such as Patient/88c7", USAGE)
    with reached(config) as parts:
        try:
            found = lineage(hub(config, parts), key)
        except NotExplainedError as error:
            raise Failure(str(error), WRONG) from None
    told = [one for one in found if element in (None, one.element)]
    if not told:
        raise Failure(f"{resource} has no element {element!r}", WRONG)
    if json:
        print_json({"resource": resource, "elements": [_as_json(one) for one in told]})
        return
    for one in told:
        text = jsons.dumps(one.value, ensure_ascii=False, default=str)
        typer.echo(f"{one.element} = {text[:SHOWN]}{'…' if len(text) > SHOWN else ''}")
        for origin in one.origins:
            typer.echo(f"    {_line(origin)}")
        if one.made:
            typer.echo(f"    made by {one.made}")


def _line(origin: "Origin") -> str:
    step = origin.step
    other = "" if origin.current else f"  (by mapping {origin.mapping[:8]}, not today's)"
    if not origin.known:
        other = "  (mapped then by a mapping that is not kept; this is today's)"
    table = f"  {origin.table}" if origin.table else ""
    return (
        f"{origin.event} {origin.control_id} of {origin.recorded}, message {origin.entry}: "
        f"{step.field}  {step.rule}  {step.verb}  {step.file}:{step.line}{table}{other}"
    )


def _as_json(one: "Lineage") -> dict[str, Any]:
    origins = [
        {
            "entry": str(origin.entry),
            "control_id": origin.control_id,
            "event": origin.event,
            "recorded": origin.recorded,
            "field": origin.step.field,
            "raw": origin.step.raw,
            "rule": origin.step.rule,
            "verb": origin.step.verb,
            "file": origin.step.file,
            "line": origin.step.line,
            "mapping": origin.mapping,
            "table": origin.table or None,
            "current_mapping": origin.current,
            "mapping_kept": origin.known,
        }
        for origin in one.origins
    ]
    value = jsons.loads(jsons.dumps(one.value, default=str))
    return {"element": one.element, "value": value, "origins": origins, "made": one.made}
