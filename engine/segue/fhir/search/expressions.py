"""Search expressions as plain element paths with their data types.

Nearly every FHIR search parameter is a path with a cast, a filter or an index here and
there. As lines `element.path datatype [only]` they are compiled to closures, and need no
FHIRPath where resources are read by the thousand:

* `telecom[system=phone] ContactPoint`: the items whose `system` is `phone`
* `entry[0].resource Resource`: the first item
* `subject Reference Patient`: references to a Patient only

Source: https://hl7.org/fhir/R4/searchparameter.html (expression)
"""

import re
from collections.abc import Iterator

from segue.fhir.definitions import Definitions

_CAST = re.compile(r"\(([\w.]+) as (\w+)\)")
_STEP = re.compile(
    r"\.where\(resolve\(\) is (?P<only>\w+)\)"
    r"|\.where\((?P<key>\w+)\s*=\s*'(?P<wanted>[^'\]]*)'\)"
    r"|\.(?:as|ofType)\((?P<cast>\w+)\)"
    r"|\[(?P<index>\d+)\]"
    r"|\.(?P<name>\w+)"
)

Spot = tuple[str, str]
"""An element path and the data type that stands there."""


def resolve(table: Definitions, type_: str, expression: str) -> list[str] | None:
    """The lines of an expression for one resource type.

    Args:
        table: says which elements a type has.
        type_: resource type, or for a part of a composite the type of its base.
        expression: alternatives, separated by `|`; those of other types are left out.

    Returns:
        None where a part is more than a path, or nothing is left.
    """
    lines: list[str] = []
    for raw in expression.split("|"):
        part = _CAST.sub(r"\1.as(\2)", raw.strip())
        if part == type_:
            lines.append(f" {type_}")
            continue
        if not part.startswith(type_ + "."):
            continue
        found = _walk(table, type_, part[len(type_) :])
        if found is None:
            return None
        lines += [line for line in found if line not in lines]
    return lines or None


def _walk(table: Definitions, type_: str, steps: str) -> list[str] | None:
    spots: list[Spot] = [("", type_)]
    only = ""
    place = 0
    while place < len(steps):
        match = _STEP.match(steps, place)
        if match is None or only:
            return None
        place = match.end()
        kind, value = match.lastgroup, match[match.lastgroup or 0]
        if kind == "only":
            only = value
        elif kind == "cast":
            spots = [spot for spot in spots if spot[1] == value]
        elif kind == "index":
            spots = [(f"{path}[{value}]", datatype) for path, datatype in spots]
        elif kind == "wanted":
            spots = [(f"{path}[{match['key']}={value}]", datatype) for path, datatype in spots]
        else:
            spots = [
                (f"{path}.{name}".lstrip("."), datatype)
                for path, owner in spots
                for name, datatype in _elements(table, owner, value)
            ]
    return [f"{path} {datatype} {only}".rstrip() for path, datatype in spots]


def _elements(table: Definitions, owner: str, name: str) -> Iterator[Spot]:
    """JSON names and data types of an element, which may be a choice of types."""
    try:
        structure = table.structure(owner)
    except KeyError:
        return
    for element in structure.elements:
        choices = zip(element.keys(), element.kinds, strict=False)
        for key, kind in choices:
            if name in (element.name, key):
                yield key, kind.type
