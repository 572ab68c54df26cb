"""`segue outbox`: what is to be sent, what was, and what a person decides about the rest."""

from typing import Annotated, Any

import typer

from segue.cli.output import (
    USAGE,
    WRONG,
    Config,
    Failure,
    Json,
    print_facts,
    print_json,
    print_page,
    print_table,
)
from segue.cli.reach import instant, reached
from segue.cli.run import read_settings
from segue.model.hints import did_you_mean
from segue.model.instants import rfc3339
from segue.store.listings import DeliveryFilter, ListedDelivery

app = typer.Typer(
    help="What is to be sent, what was, and deciding about the rest.", no_args_is_help=True
)
STATES = ("waiting", "delayed", "blocked", "sent", "dead", "dropped")
COLUMNS = {
    "id": "id", "created": "created", "destination": "destination", "what": "what",
    "version": "version", "form": "form", "state": "state", "attempts": "tries",
    "error.text": "error",
}  # fmt: skip

Ids = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID]...", help="Numbers of deliveries, as in the list."),
]
State = Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")]
Name = Annotated[str, typer.Argument(metavar="DESTINATION", help="Name of the destination.")]
To = Annotated[str | None, typer.Option("--destination", help="Name of the destination.")]
Because = Annotated[str, typer.Option(help="Why; kept with the delivery.")]


@app.command("list")
def list_(
    config: Config = None,
    state: State = None,
    destination: To = None,
    since: Annotated[str | None, typer.Option(help="Created at or after (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Created before (RFC 3339).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="How many at most.")] = 50,
    after: Annotated[int | None, typer.Option(help="`next` of the page before.")] = None,
    json: Json = False,
) -> None:
    """List deliveries, newest first; never their content.

    Example: segue outbox list --destination pcpb --state dead
    """
    asked = _filter(None, state, destination, since, until)
    with reached(config) as parts:
        page = parts.deliveries.page(asked, after=after, limit=limit)
    items = [item(found) for found in page.items]
    print_page(COLUMNS, items, page.next, page.total, json=json)


@app.command("show")
def show(
    delivery: Annotated[int, typer.Argument(metavar="ID", help="Number of the delivery.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Show one delivery with its receipt or its last error, and why it was dropped or retried."""
    with reached(config) as parts:
        found = parts.deliveries.get(delivery)
    if found is None:
        raise Failure(f"{delivery}: no such delivery; `segue outbox list` shows the numbers", WRONG)
    shown = item(found) | {"because": found.because}
    if json:
        print_json(shown)
        return
    for name in ("receipt", "error"):
        said = (shown[name] or {}).values()
        shown[name] = " ".join(str(one) for one in said if one is not None)
    print_facts(shown)


@app.command("retry")
def retry(
    because: Because,
    deliveries: Ids = None,
    config: Config = None,
    state: State = None,
    destination: To = None,
    json: Json = False,
) -> None:
    """Try deliveries again that are delayed, dead or dropped.

    Example: segue outbox retry --destination pcpb --state dead --because "they are back"
    """
    from segue.cli.reach import wall_us

    asked = _named(deliveries, state, destination)
    with reached(config) as parts:
        count = parts.deliveries.retry(asked, because, wall_us())
    _said("retried", count, json=json)


@app.command("drop")
def drop(
    because: Because,
    deliveries: Ids = None,
    config: Config = None,
    state: State = None,
    destination: To = None,
    json: Json = False,
) -> None:
    """Give deliveries up; what waited behind them goes on.

    Example: segue outbox drop 77 --because "entered by hand"
    """
    asked = _named(deliveries, state, destination)
    with reached(config) as parts:
        count = parts.deliveries.drop(asked, because)
    _said("dropped", count, json=json)


@app.command("pause")
def pause(
    destination: Name,
    because: Annotated[str, typer.Option(help="Why; `segue outbox paused` tells it.")],
    config: Config = None,
) -> None:
    """Send nothing to a destination for now; what is for it waits, in its order."""
    from segue.cli.reach import wall_us

    _known(config, destination)
    with reached(config) as parts:
        parts.deliveries.pause(destination, because, wall_us())
    typer.echo(f"{destination} is paused; `segue outbox resume {destination}` ends it")


@app.command("resume")
def resume(destination: Name, config: Config = None) -> None:
    """Send to a paused destination again."""
    with reached(config) as parts:
        if destination not in parts.deliveries.paused():
            raise Failure(f"{destination} is not paused", WRONG)
        parts.deliveries.resume(destination)
    typer.echo(f"{destination} is sent to again within seconds")


@app.command("paused")
def paused(config: Config = None, json: Json = False) -> None:
    """List the destinations that are paused, since when and why."""
    with reached(config) as parts:
        found = parts.deliveries.paused()
    items = [
        {"destination": name, "since": rfc3339(since), "because": because}
        for name, (because, since) in sorted(found.items())
    ]
    if json:
        print_json({"items": items, "total": len(items)})
        return
    if not items:
        typer.echo("no destination is paused")
        return
    print_table({"destination": "destination", "since": "since", "because": "because"}, items)


def _known(config: Config, destination: str) -> None:
    names = read_settings(config).destinations
    if destination not in names:
        raise Failure(f"no destination {destination!r}.{did_you_mean(destination, names)}", USAGE)


def item(found: ListedDelivery) -> dict[str, Any]:
    """A delivery as the lists show it."""
    queued, delivery = found.queued, found.queued.delivery
    error = None
    if found.error is not None and found.state != "sent":
        category, status, text = found.error
        error = {"category": category, "status": status, "text": text}
    receipt = None
    if found.sent is not None:
        receipt = {
            "at": rfc3339(found.sent),
            "status": found.status,
            "message": found.message,
        }
    return {
        "id": str(queued.id),
        "destination": delivery.destination,
        "lane": f"{delivery.lane:x}",
        "cause": delivery.cause,
        "what": delivery.what,
        "version": delivery.version,
        "form": "fhir" if delivery.form in ("fhir", "alert") else "hl7v2",
        "state": found.state,
        "attempts": found.attempts,
        "created": rfc3339(queued.created),
        "not_before": rfc3339(found.not_before) if found.not_before is not None else None,
        "sent": rfc3339(found.sent) if found.sent is not None else None,
        "receipt": receipt,
        "error": error,
    }


def _said(word: str, count: int, *, json: bool) -> None:
    if json:
        print_json({word: count})
    else:
        typer.echo(f"{count} {word}")
    if not count:
        raise typer.Exit(WRONG)


def _named(ids: list[int] | None, state: str | None, destination: str | None) -> DeliveryFilter:
    """The deliveries that a decision is about; never all, because nothing was said."""
    if not ids and state is None and destination is None:
        raise Failure(
            "which deliveries? Name them by ID, --state or --destination; "
            "`segue outbox list` shows them",
            USAGE,
        )
    return _filter(ids, state, destination, None, None)


def _filter(
    ids: list[int] | None,
    state: str | None,
    destination: str | None,
    since: str | None,
    until: str | None,
) -> DeliveryFilter:
    if state is not None and state not in STATES:
        raise Failure(f"--state {state}: expected one of {', '.join(STATES)}", USAGE)
    return DeliveryFilter(
        ids=tuple(ids or ()),
        state=state,  # type: ignore[arg-type]
        destination=destination,
        since=instant(since, "--since"),
        until=instant(until, "--until"),
    )
