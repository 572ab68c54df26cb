"""The search parameters of every type, from the generated facts and from a site's files.

Those that are `indexed` have rows in the store; the others are read from the bodies that
the rest of a search leaves. Each line of `paths` is of the form that
`segue.fhir.search.expressions` gives.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

from segue.fhir.profiles import shipped
from segue.fhir.search.hashes import parameter_hash

Kind = Literal[
    "token", "reference", "date", "string", "uri", "number", "quantity", "composite", "special"
]

EVERY = "Resource"
"""The type whose parameters all types have."""

COMPARTMENT = "_compartment"
"""The row of what is in a patient's compartment by none of the indexed parameters."""

ROWS: frozenset[Kind] = frozenset({"token", "reference", "date", "string", "uri"})
"""The kinds that can be indexed."""

_STEP = re.compile(r"[^.\[]+(?:\[[^\]]*\])?")


@dataclass(frozen=True, slots=True)
class Path:
    """Where the values of a parameter stand in a resource.

    Attributes:
        steps: element names; `name[key=value]` keeps the items with that value,
            `name[0]` the item at that place. Empty: the resource itself.
        datatype: of the values; `fhirpath` where `expression` has to find them.
        only: the one resource type that a reference may name.
        root: a part of a composite that is read from the resource, not from the base.
    """

    steps: tuple[str, ...]
    datatype: str
    only: str = ""
    expression: str = ""
    root: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter of one resource type.

    Attributes:
        number: `parameter_hash` of it.
        targets: of a reference; empty: any type.
        indexed: whether what is written gets rows for it.
        components: the parts of a composite.
        mark: of a site's parameter: what the store remembers it by once all that was
            there before has rows, too; "" for those that always had.
    """

    type: str
    code: str
    kind: Kind
    number: int
    paths: tuple[Path, ...]
    targets: tuple[str, ...] = ()
    indexed: bool = False
    components: tuple["Parameter", ...] = ()
    mark: str = ""

    @property
    def systemless(self) -> bool:
        """Whether its tokens are plain codes, whose system nobody sends."""
        return all(p.datatype in _SYSTEMLESS for p in self.paths)


_SYSTEMLESS = frozenset({"code", "boolean", "string", "id", "uri", "deceased"})
_installed: dict[tuple[str, str], Parameter] = {}
"""What the site adds, or wants indexed; set once, when the process starts."""


def replace_installed(parameters: Iterable[Parameter]) -> None:
    """Take a site's parameters; see `segue.fhir.search.custom.install`."""
    _installed.clear()
    for one in parameters:
        known = replace(one, mark=_mark(one)) if one.indexed else one
        _installed[one.type, one.code] = known
    parameters_of.cache_clear()
    references_to.cache_clear()


def installed() -> tuple[Parameter, ...]:
    """The site's own parameters, sorted."""
    return tuple(_installed[key] for key in sorted(_installed))


def _mark(known: Parameter) -> str:
    text = f"{known.kind} {known.paths} {known.targets}"
    return f"index:{known.type}:{known.code}:{blake2b(text.encode(), digest_size=6).hexdigest()}"


@lru_cache(maxsize=1)
def _facts() -> dict[str, dict[str, dict[str, Any]]]:
    text = (shipped() / "search_parameters.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
    return found


@lru_cache(maxsize=4_096)
def _shipped(type_: str, code: str) -> Parameter | None:
    facts = _facts()
    row = facts.get(type_, {}).get(code)
    if row is None and type_ in facts:
        row = facts[EVERY].get(code)
    return None if row is None else _parameter(type_, code, row)


def _parameter(type_: str, code: str, row: dict[str, Any]) -> Parameter:
    return Parameter(
        type_,
        code,
        row["kind"],
        parameter_hash(type_, code),
        tuple(path(line) for line in row["paths"]),
        tuple(row.get("targets", ())),
        row.get("indexed", False),
        tuple(
            _parameter(type_, f"{code}${place}", part)
            for place, part in enumerate(row.get("components", ()))
        ),
    )


def path(line: str) -> Path:
    """Read a line.

    >>> path("telecom[system=phone] ContactPoint").steps
    ('telecom[system=phone]',)
    """
    steps, datatype, *only = line.split(" ")
    root = steps.startswith("%")
    return Path(
        tuple(_STEP.findall(steps.removeprefix("%"))),
        datatype,
        only[0] if only else "",
        root=root,
    )


def types() -> frozenset[str]:
    """All resource types."""
    return frozenset(_facts()) - {EVERY}


def parameter(type_: str, code: str) -> Parameter | None:
    """The parameter of a type, None where there is none of that name.

    >>> parameter("Encounter", "status").kind
    'token'
    """
    return _installed.get((type_, code)) or _shipped(type_, code)


@lru_cache(maxsize=256)
def parameters_of(type_: str) -> tuple[Parameter, ...]:
    """The parameters that clients may use for a type, sorted by code.

    Without `_id` and `_lastUpdated`, which stand in no body, and those of `every`.
    """
    codes = {code for code in _facts().get(type_, {}) if not code.startswith("_")}
    codes |= {code for owner, code in _installed if owner == type_}
    found = (parameter(type_, code) for code in sorted(codes))
    return tuple(one for one in found if one is not None)


def parameters() -> Iterator[Parameter]:
    """The parameters that clients may use, of every type."""
    for type_ in sorted(types()):
        yield from parameters_of(type_)


def indexed_of(type_: str) -> tuple[Parameter, ...]:
    """The parameters that a type's resources have rows for."""
    own = {code for code, row in _facts().get(type_, {}).items() if row.get("indexed")}
    own |= {code for owner, code in _installed if owner == type_}
    found = (parameter(type_, code) for code in sorted(own))
    return tuple(one for one in found if one is not None and one.indexed)


@lru_cache(maxsize=256)
def references_to(target: str) -> tuple[Parameter, ...]:
    """The indexed reference parameters, of any type, that may point to a type."""
    return tuple(
        one
        for type_ in sorted(types())
        for one in indexed_of(type_)
        if one.kind == "reference" and (not one.targets or target in one.targets)
    )


def every() -> tuple[Parameter, ...]:
    """The parameters that all types share, `_tag` and the like."""
    return tuple(_parameter(EVERY, code, row) for code, row in sorted(_facts()[EVERY].items()))
