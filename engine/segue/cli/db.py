"""`segue db`: the schema, and the store made anew from its records."""

from typing import Annotated, Any

import typer

from segue.cli.output import UNREACHABLE, WRONG, Config, Failure, Json, print_json, progress
from segue.cli.run import read_settings

app = typer.Typer(
    help="The database: its schema, and the store made anew from its records.", no_args_is_help=True
)


@app.command("upgrade")
def upgrade(config: Config = None, json: Json = False) -> None:
    """Create or upgrade the schema; safe to run again.

    `segue run` does this itself for the embedded store. Over PostgreSQL run it once
    before the engines of a new version start.
    """
    from segue.bootstrap.stores import Unreachable
    from segue.bootstrap.upkeep import upgrade_schema

    settings = read_settings(config)
    try:
        done = upgrade_schema(settings)
    except Unreachable as error:
        raise Failure(str(error), UNREACHABLE) from None
    if json:
        print_json(done)
        return
    for part, revision in done.items():
        typer.echo(f"{part:8} {revision}")


@app.command("reindex")
def reindex(config: Config = None, json: Json = False) -> None:
    """Put the site's own search parameters into the index, for all that is stored.

    Runs beside the engine; stopped, it goes on where it was. Searches are right all the
    while: until it is done, these parameters are read from the bodies. Start the engine
    with the new parameters first, so that it writes their rows from then on.
    """
    from segue.bootstrap.stores import Unreachable
    from segue.bootstrap.upkeep import NotWritten, reindex_store

    settings = read_settings(config)
    try:
        with progress("indexing", quiet=json) as (total, advance):
            done = reindex_store(settings, total, advance)
    except Unreachable as error:
        raise Failure(str(error), UNREACHABLE) from None
    except NotWritten as error:
        raise Failure(str(error), WRONG) from None
    if json:
        print_json(done)
        return
    typer.echo(f"{done['parameters']} parameters in the index, {done['resources']} resources read")


@app.command("rebuild")
def rebuild(
    config: Config = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="DIRECTORY|URL",
            help="An empty place for the new store; default: a temporary one, only to compare.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make the store anew from the journal and what was stated beside it; compare both.

    Nothing is sent, and the store in use is only read. To use the new one, stop the
    engine, rebuild, put it in the place of the old one, and start again: deliveries that
    were waiting are queued in it.
    """
    from segue.bootstrap.stores import Unreachable
    from segue.bootstrap.upkeep import rebuild_store

    settings = read_settings(config)
    try:
        with progress("rebuilding", quiet=json) as (total, advance):
            result = rebuild_store(settings, into, total, advance)
    except Unreachable as error:
        raise Failure(str(error), UNREACHABLE) from None
    told: dict[str, Any] = {
        "entries": result.entries,
        "missing": result.missing,
        "statements": result.statements,
        "resources": result.resources,
        "deliveries": result.deliveries,
        "different": result.different,
    }
    if json:
        print_json(told)
    else:
        typer.echo(
            f"{result.entries} messages, {result.statements} statements, "
            f"{result.resources} resources of clients, {result.deliveries} deliveries queued"
        )
        for reference in result.different:
            typer.echo(f"differs: {reference}")
        same = "the same as the store in use" if not result.different else "NOT the same"
        typer.echo(f"{into or 'the new store'}: {same}")
    if result.different:
        raise typer.Exit(WRONG)
