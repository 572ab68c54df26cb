"""A site's own search parameters: SearchParameter files in its profiles folder.

A parameter whose expression is a path, with a cast, a filter or an index at most, and
whose kind can be indexed, gets rows at every write; before `segue db reindex` has made
those of what was stored already, it is answered from the bodies, as all others always are.
A file with the code of a parameter that Segue knows replaces it: to have a parameter in
the index, write its definition into such a file.

Source: https://hl7.org/fhir/R4/searchparameter.html
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from segue.fhir.definitions import Definitions
from segue.fhir.fhirpath import FhirPathError, compile_path
from segue.fhir.profiles import read_json
from segue.fhir.search.expressions import resolve
from segue.fhir.search.hashes import parameter_hash
from segue.fhir.search.parameters import (
    ROWS,
    Kind,
    Parameter,
    parameter,
    path,
    replace_installed,
)
from segue.fhir.search.parameters import Path as Place
from segue.fhir.search.values import forget

FOLDER = "search_parameters"
_KINDS: tuple[Kind, ...] = ("token", "reference", "date", "string", "uri", "number", "quantity")


class SearchParameterError(ValueError):
    """A file that cannot be used; each line says which, and why."""


def install(parameters: Iterable[Parameter]) -> None:
    """Take a site's own parameters; for a process that starts, and for tests.

    Every process of an engine must take the same ones, as they decide which rows are
    written.
    """
    replace_installed(parameters)
    forget()


def read(table: Definitions, folders: Iterable[Path]) -> list[Parameter]:
    """The parameters in the files `search_parameters/*.json` of some folders.

    Raises:
        SearchParameterError: with every fault.
    """
    found: list[Parameter] = []
    faults: list[str] = []
    for folder in folders:
        for file in sorted((folder / FOLDER).glob("*.json")):
            try:
                (definition,) = read_json(file.parent, file.name)
                found += _parameters(table, definition)
            except (SearchParameterError, FhirPathError) as error:
                faults.append(f"{file}: {error}")
            except ValueError as error:
                faults.append(str(error))
    if faults:
        raise SearchParameterError("\n".join(faults))
    return found


def _parameters(table: Definitions, definition: Any) -> list[Parameter]:
    if not isinstance(definition, dict) or definition.get("resourceType") != "SearchParameter":
        raise SearchParameterError("not a SearchParameter")
    code, kind = definition.get("code"), definition.get("type")
    bases, expression = definition.get("base"), definition.get("expression")
    if not isinstance(code, str) or not code or code.startswith("_") or set(code) & set(".:$,"):
        raise SearchParameterError("code: expected a name without _ . : $ at its place")
    if kind not in _KINDS:
        raise SearchParameterError(f"type: expected one of {', '.join(_KINDS)}")
    if not isinstance(expression, str) or not expression:
        raise SearchParameterError("expression: missing")
    if not isinstance(bases, list) or not bases:
        raise SearchParameterError("base: expected a list of resource types")
    unknown = [base for base in bases if base not in table.resources]
    if unknown:
        raise SearchParameterError(f"base: there is no resource type {unknown[0]!r}")
    targets = tuple(one for one in definition.get("target", ()) if one in table.resources)
    made = [_made(table, base, code, cast("Kind", kind), expression, targets) for base in bases]
    return [one for one in made if one is not None]


def _made(
    table: Definitions,
    type_: str,
    code: str,
    kind: Kind,
    expression: str,
    targets: tuple[str, ...],
) -> Parameter | None:
    """The parameter of one type; None where it stands in the index just so already."""
    lines = resolve(table, type_, expression)
    if lines is None:
        # Checked now, so that a search does not stumble over it.
        compile_path(expression)
        places: tuple[Place, ...] = (Place((), "fhirpath", expression=expression),)
    else:
        places = tuple(path(line) for line in lines)
    made = Parameter(
        type_,
        code,
        kind,
        parameter_hash(type_, code),
        places,
        targets,
        indexed=lines is not None and kind in ROWS,
    )
    known = parameter(type_, code)
    same = known is not None and known.indexed and not known.mark and known.paths == made.paths
    return None if same else made
