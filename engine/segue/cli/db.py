"""`segue db`: the schema."""

import typer

from segue.cli.output import UNREACHABLE, Config, Failure, Json, print_json
from segue.cli.run import read_settings

app = typer.Typer(help="The database's schema.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(config: Config = None, json: Json = False) -> None:
    """Create or upgrade the schema; safe to run again.

    `segue run` does this itself for the embedded store. Over PostgreSQL run it once
    before the engines of a new version start.
    """
    from segue.bootstrap import Unreachable, upgrade_schema

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
