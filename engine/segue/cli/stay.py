"""`segue stay`: what is known of a visit, and how it came to be known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from segue.care.timeline import Timeline, Told
from segue.cli.output import UNREACHABLE, WRONG, Config, Failure, Json, print_json
from segue.cli.reach import reached
from segue.model.instants import Moment, instant_of, rfc3339

app = typer.Typer(
    help="What is known of a visit, and how it came to be known.", no_args_is_help=True
)


@app.command("show")
def show(
    visit: Annotated[
        str, typer.Argument(metavar="VISIT", help="Visit number, or AUTHORITY|NUMBER.")
    ],
    svg: Annotated[Path | None, typer.Option(help="Also draw it into this file.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show the history of a visit: what occurred when, when it was learnt, what it changed.

    In the order in which the messages came. What a cancel struck out is marked.
    """
    from segue.care.timeline_picture import svg as draw
    from segue.cli.reach import hub
    from segue.pipeline.histories import AmbiguousError, history_of

    with reached(config) as parts:
        engine = hub(config, parts)
        try:
            found = history_of(engine, visit)
        except AmbiguousError as error:
            raise Failure(str(error), WRONG) from None
    if found is None:
        raise Failure(f"{visit}: no message has told of this visit", WRONG)
    if svg is not None:
        try:
            svg.write_text(draw(found), encoding="utf-8")
        except OSError as error:
            raise Failure(f"{svg}: {error.strerror}", UNREACHABLE) from None
    if json:
        print_json(as_json(found))
        return
    state = found.state
    ends = state.end.text if state.end else "open"
    begins = state.start.text if state.start else "?"
    typer.echo(f"{state.key}  Encounter/{state.encounter}  {state.status}  {begins} – {ends}")
    site = engine.setting.sites.get(state.site)
    zone = site.zone if site is not None and site.zone is not None else ZoneInfo("UTC")
    typer.echo(f"{'learnt':18}{'occurred':18}times of {zone.key}")
    for one in found.told:
        typer.echo("\n".join(_lines(one, zone)))


def as_json(found: Timeline) -> dict[str, Any]:
    """A history as `--json` prints it."""
    state = found.state
    return {
        "visit": state.key,
        "numbers": state.numbers,
        "encounter": f"Encounter/{state.encounter}",
        "status": state.status,
        "begins": state.start.text if state.start else None,
        "ends": state.end.text if state.end else None,
        "told": [
            {
                "event": one.event,
                "title": one.title,
                "site": one.site,
                "control_id": one.control_id,
                "occurred": one.occurred.text,
                "recorded": one.recorded.text,
                "learnt": rfc3339(one.learnt),
                "changed": one.changed,
                "late": one.late,
                "undone": one.undone.text if one.undone else None,
                "undone_by": one.undone_by or None,
                "doubts": one.doubts,
            }
            for one in found.told
        ],
    }


def _lines(one: Told, zone: ZoneInfo) -> Iterator[str]:
    """A message: when, what and by whom; below it what it changed, a line each."""
    learnt, occurred = _clock(one.learnt, zone), _at(one.occurred, zone)
    late = "  came late" if one.late else ""
    yield f"{learnt:18}{occurred:18}{one.event} {one.title} ({one.site}, {one.control_id}){late}"
    said = one.changed or ["nothing new"]
    if one.undone is not None:
        said = [*said, f"UNDONE by {one.undone_by}, recorded {_at(one.undone, zone)}"]
    for text in (*said, *(f"NOTE: {doubt}" for doubt in one.doubts)):
        yield f"{'':36}{text}"


def _at(moment: Moment, zone: ZoneInfo) -> str:
    """In a zone; a date that was sent without a time of day stays that."""
    if "T" not in moment.text:
        return moment.text
    return _clock(moment.us, zone)


def _clock(us: int, zone: ZoneInfo) -> str:
    return instant_of(us).astimezone(zone).strftime("%Y-%m-%d %H:%M")
