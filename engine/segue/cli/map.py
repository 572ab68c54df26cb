"""`segue map`: try the mapping on files, ask why, run its cases. Needs no engine."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.map_explain import explain
from segue.cli.map_input import (
    Authority,
    Files,
    Mappings,
    Site,
    Zone,
    issue_row,
    load_mapping,
    messages,
    site_rules,
)
from segue.cli.map_test import run_all
from segue.cli.output import USAGE, WRONG, Failure, Json, print_json
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.message import Message
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped, SiteRules
from segue.mapping.coverage import coverage, share, spans
from segue.mapping.differences import differences
from segue.mapping.load import MappingSet

app = typer.Typer(
    help="Try the mapping on files, ask why a field became what it did, run its cases.",
    no_args_is_help=True,
)


@app.command("apply")
def apply_files(
    files: Files,
    site: Site = None,
    mappings: Mappings = None,
    zone: Zone = None,
    authority: Authority = None,
    format: Annotated[str, typer.Option(help="text or ndjson.")] = "text",  # noqa: A002
    json: Json = False,
) -> None:
    """Show the resources that each message alone would make, and what it left over.

    Example: segue map apply admit.hl7 --format ndjson
    """
    if format not in ("text", "ndjson"):
        raise Failure(f"--format {format}: write text or ndjson", USAGE)
    mapping = load_mapping(site, mappings)
    wrong, shown = False, []
    for file, index, raw in messages(files):
        result = _applied(mapping, raw, site_rules(site, zone, authority))
        line = {"file": file, "index": index, **result}
        wrong = wrong or any(issue["severity"] == "error" for issue in line["issues"])
        if json:
            shown.append(line)
        elif format == "ndjson":
            _write_line(line)
        else:
            _write_text(line)
    if json:
        print_json({"items": shown})
    if wrong:
        raise typer.Exit(WRONG)


app.command("explain")(explain)


@app.command("coverage")
def show_coverage(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Messages to count; without, only the rules.")
    ] = None,
    site: Site = None,
    mappings: Mappings = None,
    json: Json = False,
) -> None:
    """Show by segment which fields the rules read, which the HL7 guide maps, which are kept.

    Example: segue map coverage adt/*.hl7
    """
    mapping = load_mapping(site, mappings)
    rows = coverage(mapping, _read_all(mapping, files or [], site_rules(site, None, None)))
    if json:
        items = [
            {
                "segment": row.segment,
                "standard": row.standard,
                "mapped": row.mapped,
                "guide": row.guide,
                "guide_only": row.guide_only,
                "populated": {str(n): count for n, count in sorted(row.populated.items())},
                "kept": {str(n): count for n, count in sorted(row.kept.items())},
            }
            for row in rows
        ]
        print_json({"items": items, "total": len(items), "share": share(rows)})
        return
    typer.echo("segment  standard  mapped  guide  populated  kept verbatim, by field")
    for row in rows:
        if files and not row.populated:
            continue
        left = spans(row.kept) if files else ""
        only = f"  (guide: {spans(row.guide_only)})" if row.guide_only else ""
        typer.echo(
            f"{row.segment:7}  {row.standard:8}  {len(row.mapped):6}  {len(row.guide):5}  "
            f"{len(row.populated):9}  {left}{only}".rstrip()
        )
    part = share(rows)
    if part is not None:
        typer.echo(f"{part:.1%} of the populated fields are mapped, the others are kept verbatim")


def _read_all(
    mapping: MappingSet, files: Sequence[Path], rules: Callable[[Message], SiteRules]
) -> Iterator[tuple[Message, Mapped]]:
    for _, _, raw in messages(files):
        try:
            message = parse(raw)
        except Hl7Error:
            continue
        yield message, apply(mapping, message, Context(rules(message), feed="map", received=0))


@app.command()
def diff(
    site: Annotated[str, typer.Argument(help="The site whose layers are compared.")],
    mappings: Mappings = None,
    json: Json = False,
) -> None:
    """Show what a site's mapping has otherwise than the core, and why.

    Example: segue map diff example
    """
    found = differences(load_mapping(None, mappings), load_mapping(site, mappings))
    if json:
        print_json({"items": [one._asdict() for one in found], "total": len(found)})
        return
    for one in found:
        typer.echo(f"{one.change:8} {one.what:10} {one.name}  {one.where}".rstrip())
        for word, text in (("was", one.before), ("is", one.after), ("because", one.because)):
            if text:
                typer.echo(f"  {word:8} {text}")
    typer.echo(f"{len(found)} differences")


app.command("test")(run_all)


def _applied(
    mapping: MappingSet, raw: bytes, rules: Callable[[Message], SiteRules]
) -> dict[str, Any]:
    from segue.pipeline.alone import fold_alone

    try:
        message = parse(raw)
    except Hl7Error as error:
        issue = {"severity": "error", "code": "unreadable", "where": "MSH", "rule": ""}
        return {
            "control_id": None,
            "event": None,
            "structure": None,
            "resources": [],
            "issues": [{**issue, "text": str(error)}],
            "unmapped": [],
        }
    mapped = apply(mapping, message, Context(rules(message), feed="map", received=0))
    return {
        "control_id": message.control_id or None,
        "event": message.event or None,
        "structure": message.structure or None,
        "resources": fold_alone([mapped]),
        "issues": [issue_row(issue) for issue in (*message.issues, *mapped.issues)],
        "unmapped": mapped.unmapped,
    }


def _write_line(line: dict[str, Any]) -> None:
    from segue.fhir.canonical import dumps

    sys.stdout.write(dumps(line) + "\n")


def _write_text(line: dict[str, Any]) -> None:
    kinds = [resource["resourceType"] for resource in line["resources"]]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    event = line["event"] or "unreadable"
    typer.echo(f"{line['file']}[{line['index']}]  {event}  {line['control_id'] or '-'}")
    typer.echo(f"  {counts or 'no resources'}")
    for issue in line["issues"]:
        rule = f"  ({issue['rule']})" if issue["rule"] else ""
        typer.echo(f"  {issue['severity']}  {issue['where']}  {issue['text']}{rule}")
    if line["unmapped"]:
        typer.echo(f"  kept verbatim: {', '.join(line['unmapped'])}")
