"""What the commands of `segue map` share: messages of files, mappings, a site by options."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from segue.cli.output import UNREACHABLE, USAGE, Failure
from segue.hl7v2.batch import split
from segue.hl7v2.message import Message
from segue.mapping.context import SiteRules
from segue.mapping.load import MappingSet, load, shipped
from segue.mapping.source import MappingError
from segue.model.issues import Issue
from segue.model.zones import time_zone

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


def load_mapping(site: str | None, mappings: list[Path] | None) -> MappingSet:
    """The core with the layers of a site; of a site that has none, a failure."""
    try:
        loaded = load(shipped() / "core", mappings or [Path("mappings")], site)
    except MappingError as error:
        raise Failure(str(error), USAGE) from None
    if site is not None and len(loaded.layers) == 1:
        where = ", ".join(f"{folder}/sites/{site}" for folder in mappings or [Path("mappings")])
        raise Failure(f"--site {site}: no such folder {where}", USAGE)
    warn_of(loaded)
    return loaded


def warn_of(mapping: MappingSet) -> None:
    """Say on standard error what probably is not meant so."""
    for doubt in mapping.doubts:
        typer.echo(f"warning: {doubt}", err=True)


def site_rules(
    site: str | None, zone: str | None, authority: str | None
) -> Callable[[Message], SiteRules]:
    """The rules of the site that a message comes from, as the options say."""
    try:
        known = time_zone(zone) if zone else None
    except ValueError as error:
        raise Failure(f"--zone: {error}", USAGE) from None

    def rules(message: Message) -> SiteRules:
        own = authority or message.get("MSH-4") or "default"
        return SiteRules(name=site or "default", authority=own, zone=known)

    return rules


def messages(files: Sequence[Path]) -> Iterator[tuple[str, int, bytes]]:
    """Each message of files and their batches: file, number in it, text."""
    for file in files:
        try:
            raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise Failure(f"{file}: {error.strerror}", UNREACHABLE) from None
        for index, message in enumerate(split(raw).messages or [raw]):
            yield str(file), index, message


def issue_row(issue: Issue) -> dict[str, str]:
    """An issue as `--json` has it."""
    return {
        "severity": issue.severity,
        "code": issue.code,
        "where": issue.where,
        "rule": issue.rule,
        "text": issue.text,
    }
