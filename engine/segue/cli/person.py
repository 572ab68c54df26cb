"""`segue person`: who is who, and parting persons that were taken for one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.output import WRONG, Config, Failure, Json, print_json, print_table
from segue.cli.reach import reached

if TYPE_CHECKING:
    from segue.pipeline.hub import Hub

app = typer.Typer(
    help="Who is who, and parting persons that were taken for one.", no_args_is_help=True
)

Identity = Annotated[
    str, typer.Argument(metavar="IDENTITY", help="AUTHORITY|NUMBER, such as 'HOSPA|100999'.")
]


@app.command("unmerge")
def unmerge(
    identity: Identity,
    because: Annotated[str, typer.Option(help="Why; kept with the decision.")],
    kept: Annotated[
        str | None,
        typer.Option("--from", help="The identity that it was merged into, if several are."),
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Part an identity from the person that it was merged into.

    Both are as if the merge had never been; what came since is on the side of the
    patient or visit that it is about. Whoever was told of the merge is told of this.
    """
    from segue.cli.reach import hub
    from segue.pipeline.steward import NotMergedError
    from segue.pipeline.steward import unmerge as run

    with reached(config) as parts:
        try:
            done = run(hub(config, parts), identity, kept, because)
        except NotMergedError as error:
            raise Failure(str(error), WRONG) from None
    if json:
        print_json({"patients": list(done.patients), "resources": done.resources})
        return
    typer.echo(f"Patient/{done.patients[0]} and Patient/{done.patients[1]} are two persons again")
    typer.echo(f"{done.resources} resources written")


Person = Annotated[
    str, typer.Argument(help="AUTHORITY|NUMBER, or Patient/ID, of a person that is known.")
]
Because = Annotated[str, typer.Option(help="Why; kept with the decision.")]
COLUMNS = {
    "id": "task", "one": "one", "other": "other", "probability": "probability",
    "agreement": "agreement", "against": "against",
}  # fmt: skip


@app.command("matches")
def matches(config: Config = None, json: Json = False) -> None:
    """List the pairs of Patients that may be one person and wait for a decision."""
    from segue.pipeline.matching import reviews

    with reached(config) as parts, parts.store.read() as reader:
        items = [_item(task) for task in reviews(reader)]
    if json:
        print_json({"items": items, "next": None, "total": len(items)})
        return
    if not items:
        typer.echo("no question is open")
        return
    print_table(COLUMNS, items)


@app.command("link")
def link(
    one: Person, other: Person, because: Because, config: Config = None, json: Json = False
) -> None:
    """Let two be one person; `segue person unmerge` takes it back."""
    from segue.pipeline.steward import link as run

    done = _decide(
        config, one, other, "linked", lambda hub: run(hub, one, other, because, decided=True)
    )
    if json:
        print_json({"linked": bool(done)})
        return
    typer.echo("one person now" if done else "they were one person already")


@app.command("distinct")
def distinct(
    one: Person, other: Person, because: Because, config: Config = None, json: Json = False
) -> None:
    """Let two persons stay two: matching links them no more, and asks no more."""
    from segue.pipeline.steward import keep_apart as run

    _decide(config, one, other, "distinct", lambda hub: run(hub, one, other, because))
    if json:
        print_json({"distinct": True})
        return
    typer.echo("kept apart")


def _decide(
    config: Path | None, one: str, other: str, what: str, act: "Callable[[Hub], object]"
) -> object:
    """Do what was decided, and close the question about the two if there is one."""
    from segue.cli.reach import hub
    from segue.pipeline.matching import closing
    from segue.pipeline.steward import CannotLinkError

    with reached(config) as parts:
        engine = hub(config, parts)
        try:
            close = closing(engine, one, other, what)
            done = act(engine)
            close()
        except CannotLinkError as error:
            raise Failure(str(error), WRONG) from None
    return done


def _item(task: dict[str, Any]) -> dict[str, Any]:
    told = {one["type"]["text"]: one for one in task.get("input", ())}
    texts = {name: one.get("valueString", "") for name, one in told.items()}
    return {
        "id": task["id"],
        "one": task["focus"]["reference"],
        "other": told["candidate"]["valueReference"]["reference"],
        **{name: texts.get(name, "") for name in ("probability", "agreement", "against")},
    }
