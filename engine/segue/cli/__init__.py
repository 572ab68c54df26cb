"""The command `segue`: run it, look inside it, ask it why."""

import sys
from typing import Annotated

import typer

from segue import __version__
from segue.cli.check import check
from segue.cli.clock import clock
from segue.cli.db import app as db
from segue.cli.explain import explain
from segue.cli.inbox import app as inbox
from segue.cli.map import app as mapping
from segue.cli.outbox import app as outbox
from segue.cli.output import Failure
from segue.cli.person import app as person
from segue.cli.run import run
from segue.cli.stay import app as stay

app = typer.Typer(
    name="segue",
    help=(
        "A FHIR-native integration engine for case management.\n\n"
        "`segue run` starts it; the other commands look inside. Tables by default, "
        "--json on each. Exit codes: 0 fine, 1 something in the input or the state is "
        "wrong, 2 usage or configuration, 3 engine, database or file out of reach."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.command("run")(run)
app.command("check")(check)
app.command("clock")(clock)
app.command("explain")(explain)
app.add_typer(mapping, name="map")
app.add_typer(inbox, name="inbox")
app.add_typer(outbox, name="outbox")
app.add_typer(stay, name="stay")
app.add_typer(person, name="person")
app.add_typer(db, name="db")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"segue {__version__}")
        raise typer.Exit


@app.callback()
def segue(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line; failures end as one line and an exit code."""
    try:
        app()
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        sys.exit(failure.code)
