"""`segue person`: who is who, and parting persons that were taken for one."""

from typing import Annotated

import typer

from segue.cli.output import WRONG, Config, Failure, Json, print_json
from segue.cli.reach import reached

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
