"""`segue clock`: when is it due, and why."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from segue.cli.output import USAGE, Failure, Json, print_json


def clock(
    code: Annotated[str, typer.Argument(help="Clock code, such as C-1 (TCM contact).")],
    anchor: Annotated[str, typer.Option(help="Instant with offset: 2026-07-02T14:00:00-04:00.")],
    zone: Annotated[str, typer.Option(help="IANA zone of the facility.")],
    due_zone: Annotated[
        str | None, typer.Option(help="IANA zone of the practice; default: the facility's.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the due instant of a clock and each day that led to it.

    Example: segue clock C-1 --anchor 2026-07-02T14:00:00-04:00 --zone America/New_York
    """
    from segue.care.clocks import ClockError, derive, shipped

    rows = shipped()
    if code not in rows:
        known = ", ".join(rows)
        raise Failure(f"{code}: no such clock. Known: {known}", USAGE)
    try:
        instant = datetime.fromisoformat(anchor)
    except ValueError:
        raise Failure(f"--anchor {anchor}: no RFC 3339 instant", USAGE) from None
    if instant.tzinfo is None:
        raise Failure(f"--anchor {anchor}: needs an offset, such as -04:00", USAGE)
    zones = []
    for name in (zone, due_zone or zone):
        try:
            zones.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError):
            raise Failure(f"{name}: no IANA time zone, such as America/New_York", USAGE) from None
    try:
        derivation = derive(code, instant, zones[0], zones[1], clocks=rows).as_json()
    except ClockError as error:
        raise Failure(str(error), USAGE) from None
    if json:
        print_json(derivation)
        return
    typer.echo(f"{code}  anchor {derivation['anchor']}  ({derivation['zone']})")
    for step in derivation["steps"]:
        mark = f"day {step['n']}" if step.get("counts") else "  –"
        typer.echo(f"  {step['date']}  {mark:7} {step.get('why', '')}")
    typer.echo(f"opens {derivation['opens']}\ndue   {derivation['due']}")
    typer.echo(f"source {derivation['source']}")
