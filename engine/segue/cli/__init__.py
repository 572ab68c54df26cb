"""The command `segue`: run it, look inside it, ask it why."""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from segue import __version__
from segue.cli.output import Failure

COMMANDS: Final = {
    "run": "run:run",
    "check": "check:check",
    "clock": "clock:clock",
    "explain": "explain:explain",
    "map": "map:app",
    "inbox": "inbox:app",
    "outbox": "outbox:app",
    "stay": "stay:app",
    "person": "person:app",
    "db": "db:app",
}
"""Each command, in the order of `--help`, to the module of this package and the name there."""

MARKUP: Final = "markdown"


class _Commands(Mapping[str, Any]):
    """Imports a command when it is asked for: all of them together take half a second."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"segue.cli.{module}"), attribute)
        alone = typer.Typer(rich_markup_mode=MARKUP)
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=name)
        else:
            alone.command(name)(found)
        return get_group(alone).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    name="segue",
    cls=_Group,
    help=(
        "A FHIR-native integration engine for case management.\n\n"
        "`segue run` starts it; the other commands look inside. Tables by default, "
        "--json on each. Exit codes: 0 fine, 1 something in the input or the state is "
        "wrong, 2 usage or configuration, 3 engine, database or file out of reach."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=MARKUP,
)


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
