"""`segue map`: try the mapping on files, ask why, run its cases. Needs no engine."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from segue.cli.output import UNREACHABLE, USAGE, WRONG, Failure, Json, print_json
from segue.hl7v2.batch import split
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.message import Message
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.cases import CaseResult, find_cases, read_case, run_case
from segue.mapping.context import Context, Mapped, SiteRules, Step
from segue.mapping.coverage import coverage, share, spans
from segue.mapping.differences import differences
from segue.mapping.load import MappingSet, load, shipped
from segue.mapping.source import MappingError

app = typer.Typer(
    help="Try the mapping on files, ask why a field became what it did, run its cases.",
    no_args_is_help=True,
)

Files = Annotated[list[Path], typer.Argument(help="Files of HL7 v2 messages; - is standard input.")]
Site = Annotated[str | None, typer.Option(help="Site whose layers apply; default: core alone.")]
Mappings = Annotated[
    list[Path] | None,
    typer.Option(help="Folder with sites/<site> and vendors/<name>; may be repeated."),
]
Zone = Annotated[str | None, typer.Option(help="IANA zone of times without an offset.")]
Authority = Annotated[
    str | None, typer.Option(help="Assigning authority of the site; default: MSH-4.")
]


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
    mapping = _load(site, mappings)
    wrong, shown = False, []
    for file, index, raw in _messages(files):
        result = _applied(mapping, raw, _site(site, zone, authority))
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


@app.command()
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
    mapping = _load(site, mappings)
    raw = next(_messages([file]))[2]
    try:
        message = parse(raw)
    except Hl7Error as error:
        raise Failure(f"{file}: {error}", WRONG) from None
    rules = _site(site, zone, authority)(message)
    mapped = apply(mapping, message, Context(rules, feed="map", received=0), trace=True)
    steps = [_step(mapping, step) for step in mapped.trace or [] if _about(step, field)]
    for path, what in _keys(mapping, mapped):
        if field is None or _field(path) == _field(field):
            steps.insert(0, {"field": path, "rule": "identity.yaml", "value": what})
    asked = None if field is None else _field(field)
    left = [name for name in mapped.unmapped if asked is None or name == asked]
    issues = [i for i in mapped.issues if asked is None or _field(i.where) == asked]
    if json:
        found = [_issue(issue) for issue in issues]
        print_json({"field": field, "steps": steps, "issues": found, "unmapped": left})
        return
    for step in steps:
        typer.echo(_step_text(step))
    for issue in issues:
        typer.echo(f"{issue.where}  {issue.severity}: {issue.text}")
    for name in left:
        typer.echo(f"{name}  no rule reads it; it is kept verbatim in the Provenance")
    if not steps and not issues and not left:
        typer.echo(f"{field or file}  empty in this message, or read by the engine itself")


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
    mapping = _load(site, mappings)
    rows = coverage(mapping, _read_all(mapping, files or [], _site(site, None, None)))
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
    for _, _, raw in _messages(files):
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
    found = differences(_load(None, mappings), _load(site, mappings))
    if json:
        print_json({"items": [one._asdict() for one in found], "total": len(found)})
        return
    for one in found:
        typer.echo(f"{one.change:8} {one.what:10} {one.name}  {one.where}".rstrip())
        for word, text in (("was", one.before), ("is", one.after), ("because", one.because)):
            if text:
                typer.echo(f"  {word:8} {text}")
    typer.echo(f"{len(found)} differences")


@app.command("test")
def run_all(
    path: Annotated[
        Path | None, typer.Argument(help="A case, or a folder of them; default: all shipped.")
    ] = None,
    json: Json = False,
) -> None:
    """Run the cases beside the maps.

    Example: segue map test mappings/sites/example
    """
    root = _root(path)
    files = find_cases(path.resolve() if path else root)
    if not files:
        raise Failure(f"{path or root}: no cases/*.yaml here", USAGE)
    results = list(run_cases(files, root))
    failed = [result for result in results if result.failures]
    if json:
        items = [
            {
                "case": r.case.name,
                "passed": not r.failures,
                "failures": [str(f) for f in r.failures],
            }
            for r in results
        ]
        print_json({"items": items, "total": len(items), "failed": len(failed)})
    else:
        for result in failed:
            for failure in result.failures:
                typer.echo(str(failure))
        typer.echo(f"{len(results)} cases, {len(failed)} failed")
    if failed:
        raise typer.Exit(WRONG)


def run_cases(files: Sequence[Path], root: Path) -> Iterator[CaseResult]:
    """Run case files; `root` is the folder `mappings` that they lie in."""
    loaded: dict[str | None, MappingSet] = {}
    core = root / "core" if (root / "core").is_dir() else shipped() / "core"
    for file in files:
        try:
            case = read_case(file, root)
            if case.site not in loaded:
                loaded[case.site] = load(core, [root], case.site)
        except MappingError as error:
            raise Failure(str(error), USAGE) from None
        yield run_case(case, loaded[case.site], fold_alone)


def fold_alone(mapped: Sequence[Mapped]) -> list[dict[str, Any]]:
    """All resources that an empty store would hold after these messages alone."""
    from segue.care.assemble import resources
    from segue.care.fold import fold_visit
    from segue.care.person import fold_person, note_visit
    from segue.care.view import CareSetting

    facts = [fact for one in mapped for fact in one.facts]
    persons: dict[str, list[Any]] = {}
    joined: dict[str, str] = {}
    for fact in facts:
        keys = [key for key in (*fact.links, fact.prior) if key]
        home = next((joined[key] for key in keys if key in joined), fact.identity)
        for key in keys:
            joined[key] = home
        persons.setdefault(home, []).append(fact)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for told in persons.values():
        person = fold_person(told)
        visits = {}
        for key in dict.fromkeys(fact.visit for fact in told if fact.visit):
            visits[key] = fold_visit(fact for fact in told if fact.visit == key)
            person = note_visit(person, visits[key])
        for resource in resources(person, visits, CareSetting(sites={})):
            found[resource["resourceType"], resource["id"]] = resource
    for one in mapped:
        for fragment in one.directory:
            resource = {"resourceType": fragment.type, "id": fragment.id, **fragment.elements}
            found.setdefault((fragment.type, fragment.id), resource)
    return list(found.values())


def _load(site: str | None, mappings: list[Path] | None) -> MappingSet:
    try:
        loaded = load(shipped() / "core", mappings or [Path("mappings")], site)
    except MappingError as error:
        raise Failure(str(error), USAGE) from None
    if site is not None and len(loaded.layers) == 1:
        where = ", ".join(f"{folder}/sites/{site}" for folder in mappings or [Path("mappings")])
        raise Failure(f"--site {site}: no such folder {where}", USAGE)
    return loaded


def _site(
    site: str | None, zone: str | None, authority: str | None
) -> Callable[[Message], SiteRules]:
    try:
        known = ZoneInfo(zone) if zone else None
    except (ZoneInfoNotFoundError, ValueError):
        raise Failure(
            f"--zone {zone}: no IANA time zone, such as America/New_York", USAGE
        ) from None

    def rules(message: Message) -> SiteRules:
        own = authority or message.get("MSH-4") or "default"
        return SiteRules(name=site or "default", authority=own, zone=known)

    return rules


def _messages(files: Sequence[Path]) -> Iterator[tuple[str, int, bytes]]:
    for file in files:
        try:
            raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise Failure(f"{file}: {error.strerror}", UNREACHABLE) from None
        for index, message in enumerate(split(raw).messages or [raw]):
            yield str(file), index, message


def _applied(
    mapping: MappingSet, raw: bytes, rules: Callable[[Message], SiteRules]
) -> dict[str, Any]:
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
        "issues": [_issue(issue) for issue in (*message.issues, *mapped.issues)],
        "unmapped": mapped.unmapped,
    }


def _issue(issue: Any) -> dict[str, str]:
    return {
        "severity": issue.severity,
        "code": issue.code,
        "where": issue.where,
        "rule": issue.rule,
        "text": issue.text,
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


def _field(path: str) -> str:
    return path.partition(".")[0].strip()


def _about(step: Step, field: str | None) -> bool:
    return field is None or _field(field) in {_field(path) for path in step.field.split("|")}


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
    value = "deleted" if step["value"] is None else step["value"]
    apart = step["element"].startswith(("details.", "labels"))
    place = "fact" if apart else step["resource"]
    lines.append(f"  {place}.{step['element']} = {value}")
    return "\n".join(lines)


def _keys(mapping: MappingSet, mapped: Mapped) -> Iterator[tuple[str, str]]:
    for fact in mapped.facts:
        if fact.visit:
            yield " + ".join(mapping.identity.visit[0]), f"visit {fact.visit}"
        yield mapping.identity.fields[0], f"patient {fact.identity}"


def _root(path: Path | None) -> Path:
    """The folder `mappings` around a case."""
    if path is not None:
        for folder in (path.resolve(), *path.resolve().parents):
            if (folder / "core").is_dir() or (folder / "sites").is_dir():
                return folder
        return path if path.is_dir() else path.parent
    local = Path("mappings")
    return local.resolve() if local.is_dir() else shipped()
