"""`segue map test`: the cases beside the maps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from segue.cli.map_input import warn_of
from segue.cli.output import USAGE, WRONG, Failure, Json, print_json
from segue.mapping.cases import CaseResult, find_cases, read_case, run_case
from segue.mapping.load import MappingSet, load, shipped
from segue.mapping.source import Fault, MappingError
from segue.model.hints import did_you_mean


def run_all(
    path: Annotated[
        Path | None, typer.Argument(help="A case, or a folder of them; default: all shipped.")
    ] = None,
    json: Json = False,
) -> None:
    """Run the cases beside the maps.

    Example: segue map test mappings/sites/example
    """
    root = _root(path)
    files = find_cases(path.resolve() if path else root)
    if not files:
        raise Failure(f"{path or root}: no cases/*.yaml here", USAGE)
    results = list(run_cases(files, root))
    failed = [result for result in results if result.failures]
    if json:
        items = [
            {
                "case": r.case.name,
                "passed": not r.failures,
                "failures": [str(f) for f in r.failures],
            }
            for r in results
        ]
        print_json({"items": items, "total": len(items), "failed": len(failed)})
    else:
        for result in failed:
            for failure in result.failures:
                typer.echo(str(failure))
        typer.echo(f"{len(results)} cases, {len(failed)} failed")
    if failed:
        raise typer.Exit(WRONG)


def run_cases(files: Sequence[Path], root: Path) -> Iterator[CaseResult]:
    """Run case files; `root` is the folder `mappings` that they lie in."""
    from segue.pipeline.alone import fold_alone

    loaded: dict[str | None, MappingSet] = {}
    core = root / "core" if (root / "core").is_dir() else shipped() / "core"
    for file in files:
        try:
            case = read_case(file, root)
            if case.site not in loaded:
                loaded[case.site] = load(core, [root], case.site)
                warn_of(loaded[case.site])
        except MappingError as error:
            raise Failure(str(error), USAGE) from None
        if case.site is not None and len(loaded[case.site].layers) == 1:
            known = [folder.name for folder in (root / "sites").glob("*") if folder.is_dir()]
            hint = did_you_mean(case.site, known)
            document = case.document
            text = f"site: no folder sites/{case.site}.{hint}"
            raise Failure(str(Fault(document.file, document.line("site"), text)), USAGE)
        yield run_case(case, loaded[case.site], fold_alone)


def _root(path: Path | None) -> Path:
    """The folder `mappings` around a case."""
    if path is not None:
        for folder in (path.resolve(), *path.resolve().parents):
            if (folder / "core").is_dir() or (folder / "sites").is_dir():
                return folder
        return path if path.is_dir() else path.parent
    local = Path("mappings")
    return local.resolve() if local.is_dir() else shipped()
