"""`segue clock`: when is it due, and why."""

from typing import Annotated

import typer

from segue.cli.output import USAGE, Failure, Json, print_json
from segue.cli.reach import aware
from segue.model.zones import time_zone


def clock(
    code: Annotated[
        str,
        typer.Argument(help="Clock, such as C-1 (TCM contact); an unknown one lists all."),
    ],
    anchor: Annotated[str, typer.Option(help="Instant with offset: 2026-07-02T14:00:00-04:00.")],
    zone: Annotated[str, typer.Option(help="IANA zone of the facility.")],
    due_zone: Annotated[
        str | None, typer.Option(help="IANA zone of the practice; default: the facility's.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the due instant of a clock and each day that led to it: which count, and why.

    Example: segue clock C-1 --anchor 2026-07-02T14:00:00-04:00 --zone America/New_York
    """
    from segue.care.clocks import derive, shipped

    rows = shipped()
    begin = aware(anchor, "--anchor")
    try:
        zones = time_zone(zone), time_zone(due_zone or zone)
        derivation = derive(code, begin, *zones, clocks=rows).as_json()
    except ValueError as error:
        raise Failure(str(error.args[0]), USAGE) from None
    if json:
        print_json(derivation)
        return
    typer.echo(f"{code}  anchor {derivation['anchor']}  ({derivation['zone']})")
    for step in derivation["steps"]:
        mark = f"day {step['n']}" if step.get("counts") else "  –"
        typer.echo(f"  {step['date']}  {mark:7} {step.get('why', '')}")
    typer.echo(f"opens {derivation['opens']}\ndue   {derivation['due']}")
    for source in derivation["source"].split(", "):
        typer.echo(f"source {source}: {rows.sources[source]}")
