"""`segue inbox`: every message that came in, what became of it, and doing it again."""

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
    progress,
)
from segue.cli.reach import instant, reached
from segue.model.instants import rfc3339
from segue.store.listings import EntryFilter, ListedMessage, ShownMessage

app = typer.Typer(
    help="Every message that came in, what became of it, and doing it again.",
    no_args_is_help=True,
)
STATES = ("waiting", "processed", "parked", "failed", "quarantined", "discarded")
COLUMNS = {
    "id": "id", "received": "received", "feed": "feed", "event": "event",
    "control_id": "control id", "ack": "ack", "state": "state", "reason": "reason",
    "issues": "issues", "changes": "changes", "duplicates": "dup",
}  # fmt: skip

State = Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")]


@app.command("list")
def list_(
    config: Config = None,
    state: State = None,
    feed: Annotated[str | None, typer.Option(help="Name of the feed.")] = None,
    control_id: Annotated[str | None, typer.Option(help="MSH-10.")] = None,
    since: Annotated[str | None, typer.Option(help="Received at or after (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Received before (RFC 3339).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="How many at most.")] = 50,
    after: Annotated[int | None, typer.Option(help="`next` of the page before.")] = None,
    json: Json = False,
) -> None:
    """List messages, newest first; never their content.

    Example: segue inbox list --state failed --since 2026-07-05T00:00:00-04:00
    """
    asked = _filter(state, feed, control_id, since, until)
    with reached(config) as parts:
        page = parts.inbox.messages(asked, after=after, limit=limit)
    items = [item(found) for found in page.items]
    print_page(COLUMNS, items, page.next, page.total, json=json)


@app.command("show")
def show(
    entry: Annotated[int, typer.Argument(metavar="ID", help="Number of the message.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Show one message: its text (which names patients), its issues, and what it changed."""
    with reached(config) as parts:
        found = parts.inbox.show(entry)
    if found is None:
        raise Failure(f"{entry}: no such message; `segue inbox list` shows their numbers", WRONG)
    shown = shown_item(found)
    if json:
        print_json(shown)
        return
    listed = item(found.listed)
    print_facts({heading: listed[key] for key, heading in COLUMNS.items()})
    typer.echo("")
    typer.echo(shown["text"].replace("\r", "\n"))
    for issue in shown["issues"]:
        typer.echo(f"{issue['severity']:8} {issue['code']:20} {issue['where']:12} {issue['text']}")
    for reference in shown["resources"]:
        typer.echo(reference)


@app.command("replay")
def replay(
    entries: Annotated[
        list[int] | None,
        typer.Argument(metavar="[ID]...", help="Numbers of messages, as in the list."),
    ] = None,
    config: Config = None,
    state: State = None,
    feed: Annotated[str | None, typer.Option(help="Name of the feed.")] = None,
    control_id: Annotated[str | None, typer.Option(help="MSH-10.")] = None,
    since: Annotated[str | None, typer.Option(help="Received at or after (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Received before (RFC 3339).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All messages.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the difference.")] = False,
    json: Json = False,
) -> None:
    """Process messages again under today's mapping; only differences are written.

    Name messages by number, by what `segue inbox list` filters by, or --all. What is
    already applied changes nothing and sends nothing; what no worker has come to yet is
    left to the workers. What is quarantined or discarded is replayed only by its number
    or by --state: of a message that was cut off that applies the segments that came whole.

    Example: segue inbox replay --state failed --dry-run
    """
    given = (state, feed, control_id, since, until)
    if sum((bool(entries), any(one is not None for one in given), everything)) != 1:
        raise Failure(
            "which messages? Name them by ID, by filters (--state, --feed, …), or --all: one of "
            "the three; --dry-run first shows what would change",
            USAGE,
        )
    from segue.cli.differences import lines, summary
    from segue.cli.reach import hub
    from segue.pipeline.replay import replay as run

    with reached(config) as parts:
        numbers = entries or list(parts.inbox.numbers(_filter(*given)))
        quiet = json or len(numbers) < 100
        with progress("replaying", quiet=quiet) as (total, advance):
            total(len(numbers))
            result = run(hub(config, parts), numbers, dry_run=dry_run, advance=advance)
    out = result.as_json()
    if json:
        print_json(out)
    else:
        for line in (*lines(out["diffs"]), *summary(out, dry_run=dry_run)):
            typer.echo(line)
    if out["failed"]:
        raise typer.Exit(WRONG)


@app.command("discard")
def discard(
    because: Annotated[str, typer.Option(help="Why; `segue inbox show` tells it.")],
    entries: Annotated[
        list[int] | None,
        typer.Argument(metavar="[ID]...", help="Numbers of messages, as in the list."),
    ] = None,
    config: Config = None,
    state: Annotated[str | None, typer.Option(help="quarantined or failed.")] = None,
    feed: Annotated[str | None, typer.Option(help="Name of the feed.")] = None,
    until: Annotated[str | None, typer.Option(help="Received before (RFC 3339).")] = None,
    json: Json = False,
) -> None:
    """Give up messages that are held back or failed; their text stays in the journal.

    Example: segue inbox discard 42 --because "came whole as 43"
    """
    from segue.cli.reach import hub
    from segue.pipeline.discard import MAY_GO
    from segue.pipeline.discard import discard as run

    if bool(entries) == (state is not None) or (entries and (feed or until)):
        raise Failure("which messages? Name them by ID, or by --state (--feed, --until)", USAGE)
    if state is not None and state not in MAY_GO:
        raise Failure(f"--state {state}: expected one of {', '.join(MAY_GO)}", USAGE)
    with reached(config) as parts:
        numbers = entries or list(parts.inbox.numbers(_filter(state, feed, None, None, until)))
        count = run(hub(config, parts), numbers, because)
    if json:
        print_json({"discarded": count})
    else:
        typer.echo(f"{count} discarded")
    if not count:
        raise typer.Exit(WRONG)


def item(found: ListedMessage) -> dict[str, Any]:
    """A message as the lists show it."""
    entry, envelope = found.entry, found.entry.envelope
    return {
        "id": str(entry.id),
        "received": rfc3339(entry.raw.received),
        "feed": entry.raw.feed,
        "site": envelope.site,
        "kind": "hl7v2",
        "sender": envelope.sender,
        "control_id": envelope.control_id,
        "event": envelope.event,
        "size": found.size,
        "sha256": envelope.digest,
        "ack": entry.ack_code,
        "duplicates": found.duplicates,
        "state": found.state,
        "reason": found.reason,
        "issues": found.issues,
        "changes": found.changes,
        "position": found.position,
    }


def shown_item(found: ShownMessage) -> dict[str, Any]:
    """A message with its text, issues and resources."""
    body = found.listed.entry.raw.body
    return item(found.listed) | {
        "text": body.decode("utf-8", "replace"),
        "issues": [
            {
                "severity": i.severity,
                "code": i.code,
                "where": i.where,
                "rule": i.rule,
                "text": i.text,
            }
            for i in found.issues
        ],
        "resources": [f"{key.reference}/_history/{version}" for key, version in found.versions],
    }


def _filter(
    state: str | None,
    feed: str | None,
    control_id: str | None,
    since: str | None,
    until: str | None,
) -> EntryFilter:
    if state is not None and state not in STATES:
        raise Failure(f"--state {state}: expected one of {', '.join(STATES)}", USAGE)
    return EntryFilter(
        state=state,  # type: ignore[arg-type]
        feed=feed,
        control_id=control_id,
        since=instant(since, "--since"),
        until=instant(until, "--until"),
    )
