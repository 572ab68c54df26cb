"""The search parameters that are indexed, from the generated facts.

Each line of `paths` reads `element.path datatype [only]`: `only` is the one resource type
that a reference of this parameter may name (`patient` beside `subject`).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from segue.fhir.profiles import shipped
from segue.fhir.search.hashes import parameter_hash

Kind = Literal["token", "reference", "date", "string", "uri"]


@dataclass(frozen=True, slots=True)
class Path:
    """Where the values of a parameter stand in a resource."""

    steps: tuple[str, ...]
    datatype: str
    only: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter of one resource type.

    Attributes:
        number: `parameter_hash` of it.
        targets: of a reference; empty: any type.
    """

    type: str
    code: str
    kind: Kind
    number: int
    paths: tuple[Path, ...]
    targets: tuple[str, ...] = ()

    @property
    def systemless(self) -> bool:
        """Whether its tokens are plain codes, whose system nobody sends."""
        return all(p.datatype in ("code", "boolean", "string", "id", "uri") for p in self.paths)


@lru_cache(maxsize=1)
def parameters() -> dict[tuple[str, str], Parameter]:
    """(type, code) to parameter, read once per process."""
    text = (shipped() / "search_parameters.json").read_text(encoding="utf-8")
    return {
        (type_, code): Parameter(
            type_,
            code,
            row["kind"],
            parameter_hash(type_, code),
            tuple(_path(line) for line in row["paths"]),
            tuple(row.get("targets", ())),
        )
        for type_, rows in json.loads(text).items()
        for code, row in rows.items()
    }


def parameter(type_: str, code: str) -> Parameter | None:
    """The parameter of a type, None where it is not indexed.

    >>> parameter("Encounter", "status").kind
    'token'
    """
    return parameters().get((type_, code))


@lru_cache(maxsize=256)
def parameters_of(type_: str) -> tuple[Parameter, ...]:
    """All indexed parameters of a type, sorted by code."""
    return tuple(sorted((p for p in parameters().values() if p.type == type_), key=_code))


def _code(found: Parameter) -> str:
    return found.code


def _path(line: str) -> Path:
    steps, _, rest = line.partition(" ")
    datatype, _, only = rest.partition(" ")
    # A URL in brackets chooses among extensions; its dots are no steps.
    if "[" in steps:
        first, _, last = steps.rpartition("].")
        return Path((first + "]", last), datatype, only)
    return Path(tuple(steps.split(".")), datatype, only)
