"""Writes docs/reference from the code; `make reference`. A test compares the two."""

import io
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"


def pages() -> dict[str, str]:
    """File name to text of every generated page."""
    return {
        "commands.md": commands(),
        "clocks.md": clocks(),
        "warnings.md": warnings(),
        "events.md": events(),
        "mapping-functions.md": functions(),
        "mapping-language.schema.json": language(),
        "search-parameters.md": search_parameters(),
        "timeline.svg": timeline_picture(),
    }


def commands() -> str:
    """Every `--help`."""
    import typer.rich_utils
    from rich.console import Console
    from typer.main import get_command

    from segue.cli import app

    out = ["# Commands\n\nGenerated from the code; `segue COMMAND --help` prints the same.\n"]

    def show(command: Any, path: str) -> None:
        import click

        context = click.Context(command, info_name=path)
        buffer = io.StringIO()
        console = Console(file=buffer, width=88, no_color=True, force_terminal=False)
        original = typer.rich_utils._get_rich_console
        typer.rich_utils._get_rich_console = lambda *_a, **_k: console  # type: ignore[assignment]
        try:
            text = command.get_help(context) or buffer.getvalue()
        finally:
            typer.rich_utils._get_rich_console = original
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        out.append(f"## `{path}`\n\n```text\n{lines}\n```\n")
        for name, child in getattr(command, "commands", {}).items():
            show(child, f"{path} {name}")

    show(get_command(app), "segue")
    return "\n".join(out)


def clocks() -> str:
    """The clock table."""
    from segue.care.clocks import shipped

    rows = [
        "# Clocks\n\nRows of `fhir_profiles/clocks.yaml`. `segue clock CODE --anchor … --zone …` "
        "shows how a due date comes about. *Hard* clocks are of statutes and measures: they fail "
        "when their time is over and the site's evidence lag too.\n",
        "| code | clock | anchor | counts | day 0 | hard | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for code, clock in shipped().items():
        hard = "yes" if clock.hard else "no"
        rows.append(
            f"| {code} | {clock.title} | {clock.anchor} | {clock.n} × {clock.unit} | "
            f"{clock.day0} | {hard} | {clock.source} |"
        )
    rows += ["", "| source | what it is |", "|---|---|"]
    rows += [f"| {key} | {title} |" for key, title in shipped().sources.items()]
    return "\n".join(rows) + "\n"


def warnings() -> str:
    """Codes of the repairs that reading makes."""
    from segue.care.doubts import DOUBTS
    from segue.hl7v2.normalise import WARNINGS

    rows = [
        "# Warnings\n\nWhat reading repairs, and says so: the `code` of an issue.\n",
        "| code | meaning |",
        "|---|---|",
        *(f"| `{code}` | {text} |" for code, text in sorted(WARNINGS.items())),
        "\n## Of the fold\n\nWhat a message says against others of the same person or visit. It is "
        "applied as the text says.\n",
        "| code | field | what is made of it |",
        "|---|---|---|",
        *(f"| `{code}` | {field} | {text} |" for code, (field, text) in sorted(DOUBTS.items())),
    ]
    return "\n".join(rows) + "\n"


def events() -> str:
    """The trigger events and what each does."""
    from segue.model.events import EVENTS, MEANINGS
    from segue.model.notes import NOTES

    rows = [
        "# Trigger events\n\nWhat each ADT event does to visit and person.\n",
        "| event | name | structure | effect | about a visit | cancels |",
        "|---|---|---|---|---|---|",
    ]
    for code, event in EVENTS.items():
        cancels = " ".join(event.cancels)
        about = "yes" if event.about_visit else "no"
        rows.append(
            f"| {code} | {event.title} | {event.structure} | {event.effect} | {about} | {cancels} |"
        )
    rows += ["\n## Effects\n", "| effect | what happens |", "|---|---|"]
    rows += [f"| {effect} | {text} |" for effect, text in MEANINGS.items()]
    rows += [
        "\n## Messages beside ADT\n",
        "They say something of a patient, or of a visit, and move nobody.\n",
        "| message | name | a visit that only they name |",
        "|---|---|---|",
    ]
    rows += [f"| {one.type}^{one.code} | {one.title} | {one.visit} |" for one in NOTES.values()]
    return "\n".join(rows) + "\n"


def functions() -> str:
    """Functions that a mapping rule may call with `using:`."""
    from segue.mapping import functions as module

    rows = ["# Mapping functions\n\nWhat a rule may call with `using:`.\n"]
    for name, function in sorted(module.FUNCTIONS.items()):
        doc = (function.__doc__ or "").strip()
        lines = "\n".join(line.removeprefix("    ") for line in doc.splitlines())
        rows.append(f"## `{name}`\n\n```text\n{lines}\n```\n")
    return "\n".join(rows)


def language() -> str:
    """The JSON Schema of mapping files, for editors."""
    from segue.mapping.language import json_schema

    return json.dumps(json_schema(), indent=2) + "\n"


def search_parameters() -> str:
    """Search parameters by resource type."""
    from segue.fhir.search.parameters import parameters

    rows = [
        "# Search parameters\n\nBeside `_id`, `_lastUpdated`, `_tag`, `_security`, `_profile`, "
        "`_source`, `_text` and `_content`,\nwhich every type has. What is not in the index is "
        "read from the bodies that the other\nconditions leave; see "
        "[searching](../searching.md).\n",
        "| type | parameter | kind | answered by |",
        "|---|---|---|---|",
    ]
    for one in parameters():
        place = "index" if one.indexed else "bodies"
        rows.append(f"| {one.type} | `{one.code}` | {one.kind} | {place} |")
    return "\n".join(rows) + "\n"


def timeline_picture() -> str:
    """The history of a cancelled discharge: each message is learnt four minutes late."""
    from datetime import datetime

    from segue.care.timeline import timeline
    from segue.care.timeline_picture import svg
    from segue.hl7v2.parse import parse
    from segue.mapping.apply import apply
    from segue.mapping.context import Context, SiteRules
    from segue.mapping.load import load, shipped
    from segue.model.instants import microseconds

    mapping, site = load(shipped() / "core", [], None), SiteRules("hospa", "HOSPA")
    facts = []
    for number, line in enumerate(_STAY.strip().splitlines(), 1):
        event, occurred, recorded, kind, place, end = line.split("|")
        stay = ["PV1", "1", kind, f"{place}^^^HOSPA", "E", *[""] * 14, "V79001^^^HOSPA^VN"]
        stay += [*[""] * 16, "01", *[""] * 8, f"{end}-0400"] if end else []
        message = "\r".join(
            [
                rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|{recorded}-0400||ADT^{event}|{number}|P|2.5.1",
                f"EVN|{event}|{recorded}-0400||||{occurred}-0400",
                "PID|1||100234^^^HOSPA^MR||DOE^JANE||19550214|F",
                "|".join(stay),
            ]
        )
        at = datetime.strptime(f"{recorded}-0400", "%Y%m%d%H%M%S%z")
        received = microseconds(at) + 240_000_000
        facts += apply(mapping, parse(message.encode()), Context(site, "adt", received)).facts
    return svg(timeline(facts, "HOSPA|V79001")) + "\n"


_STAY = """
A01|20260629100000|20260629100000|I|4W^1^1|
A02|20260701090000|20260701090000|I|CCU^2^1|
A03|20260702140000|20260702143100|I|CCU^2^1|20260702140000
A13|20260702140000|20260702173800|I|CCU^2^1|
A02|20260630080000|20260703070000|I|5E^4^1|
A03|20260706112000|20260706112000|I|CCU^2^1|20260706112000
"""
"""Event, EVN-6, EVN-2, PV1-2, PV1-3 and PV1-45 of each message of the picture."""


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
