"""How commands print and how they end."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

FINE, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit codes of every command."""

MOST_COLUMNS = 1_000
"""Width of a table that goes into a file or a pipe."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="segue.yaml; default: ./segue.yaml if it is there."),
]


class Failure(Exception):  # noqa: N818
    """The command ends: a line for a person and an exit code for a script."""

    def __init__(self, text: str, code: int) -> None:
        self.code = code
        super().__init__(text)


def print_json(value: object) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as a table; in full width where nobody looks, for tools that go by lines.

    Args:
        columns: key in the row to heading, in order; `error.text` is a key within another.
        rows: what `--json` would print, one item each.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row, key) for key in columns))
    console = Console()
    if not console.is_terminal:
        console.width = MOST_COLUMNS
    console.print(table)


def _cell(row: Mapping[str, Any], key: str) -> str:
    value: Any = row
    for name in key.split("."):
        value = (value or {}).get(name)
    return "" if value is None else str(value)


def print_page(
    columns: Mapping[str, str],
    items: Sequence[Mapping[str, Any]],
    following: int | None,
    total: int,
    *,
    json: bool,
) -> None:
    """Print a page of a list, and how many there are in all.

    Args:
        columns: as of `print_table`. items: of the page.
        following: what `--after` takes for the next page, None of the last.
        total: of the whole list.
        json: as JSON, else as a table.
    """
    if json:
        after = str(following) if following is not None else None
        print_json({"items": items, "next": after, "total": total})
        return
    print_table(columns, items)
    sys.stdout.write(f"{len(items)} of {total}\n")


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print what is known of one thing, a line each; `–` is nothing."""
    for name, value in facts.items():
        sys.stdout.write(f"{name:12} {'–' if value in (None, '') else value}\n")


@contextmanager
def progress(
    what: str, *, quiet: bool
) -> Iterator[tuple[Callable[[int], object], Callable[[int], object]]]:
    """A bar for long work: (tells the total, tells how many more are done).

    Args:
        what: the word beside the bar.
        quiet: show nothing, for scripts.
    """
    if quiet:
        yield (lambda _: None), (lambda _: None)
        return
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda total: bar.update(task, total=total),
            lambda count: bar.advance(task, count),
        )
