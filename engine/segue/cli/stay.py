"""`segue stay`: what is known of a visit, and how it came to be known."""

from pathlib import Path
from typing import Annotated, Any

import typer

from segue.care.timeline import Timeline, Told
from segue.cli.output import UNREACHABLE, WRONG, Config, Failure, Json, print_json, print_table
from segue.cli.reach import reached
from segue.model.instants import rfc3339

app = typer.Typer(
    help="What is known of a visit, and how it came to be known.", no_args_is_help=True
)
COLUMNS = {
    "learnt": "learnt", "occurred": "occurred", "event": "event", "site": "by",
    "control_id": "control id", "what": "what it changed",
}  # fmt: skip


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
        try:
            found = history_of(hub(config, parts), visit)
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
    print_table(COLUMNS, [_row(one) for one in found.told])


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
                "undone": one.undone.text if one.undone else None,
                "doubts": one.doubts,
            }
            for one in found.told
        ],
    }


def _row(one: Told) -> dict[str, Any]:
    said = "; ".join(one.changed) or "nothing new"
    if one.undone is not None:
        said += f" [undone {one.undone.text}]"
    if one.doubts:
        said += f" [{'; '.join(one.doubts)}]"
    return {
        "learnt": rfc3339(one.learnt),
        "occurred": one.occurred.text,
        "event": f"{one.event} {one.title}",
        "site": one.site,
        "control_id": one.control_id,
        "what": said,
    }
