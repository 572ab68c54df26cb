"""The R4 type table: which elements a type has, how often, and what they may hold.

Loaded from the generated facts in `fhir_profiles/definitions/`; see
`tools/generate_definitions.py` for their form.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from segue.fhir.primitives import PRIMITIVES

_KIND = re.compile(r"([\w.]+)(?:\(([^)]*)\))?")
_CARDINALITY = {"?": (0, False), "1": (1, False), "*": (0, True), "+": (1, True)}


class Kind(NamedTuple):
    """One type that an element may have.

    Attributes:
        type: primitive, data type, backbone path (`Patient.contact`) or `Resource`.
        targets: of a Reference; empty: any resource type.
        value_set: of a required binding, else "".
    """

    type: str
    targets: tuple[str, ...]
    value_set: str

    @property
    def primitive(self) -> bool:
        """Whether it is a JSON string, number or boolean."""
        return self.type in PRIMITIVES


class Element(NamedTuple):
    """An element; `name` is without `[x]`."""

    name: str
    choice: bool
    required: bool
    many: bool
    kinds: tuple[Kind, ...]

    def keys(self) -> tuple[str, ...]:
        """The JSON names: one for each type of a choice."""
        if not self.choice:
            return (self.name,)
        return tuple(self.name + k.type[0].upper() + k.type[1:] for k in self.kinds)


class Property(NamedTuple):
    """What a JSON name stands for."""

    element: Element
    kind: Kind


@dataclass(frozen=True)
class Structure:
    """A type: resource, data type or backbone element.

    Attributes:
        name: `Patient`, `HumanName`, `Patient.contact`.
    """

    name: str
    elements: tuple[Element, ...]

    @property
    def backbone(self) -> bool:
        """Whether it is a part of a resource or data type, as `Patient.contact`."""
        return "." in self.name

    @cached_property
    def _keys(self) -> dict[str, tuple[str, ...]]:
        return {element.name: element.keys() for element in self.elements}

    def keys_of(self, name: str) -> tuple[str, ...]:
        """The JSON names of an element; none where there is no such element."""
        return self._keys.get(name, ())

    @cached_property
    def properties(self) -> dict[str, Property]:
        """JSON name to meaning."""
        return {
            key: Property(element, kind)
            for element in self.elements
            for key, kind in zip(
                element.keys(),
                element.kinds if element.choice else element.kinds[:1],
                strict=True,
            )
        }


class Definitions:
    """The type table of FHIR R4 (4.0.1).

    Args:
        folder: holds `types.json` and `codes.json`.
    """

    def __init__(self, folder: Path) -> None:
        types = json.loads((folder / "types.json").read_text(encoding="utf-8"))
        self._codes: dict[str, dict[str, list[str]]] = json.loads(
            (folder / "codes.json").read_text(encoding="utf-8")
        )
        self._types: dict[str, dict[str, str | list[str]]] = types["types"]
        self.resources: frozenset[str] = frozenset(types["resources"])
        self._structures: dict[str, Structure] = {}

    def __contains__(self, name: str) -> bool:
        """Whether R4 has a type of this name."""
        return name in self._types

    def structure(self, name: str) -> Structure:
        """The type of this name.

        Raises:
            KeyError: R4 has no such type.
        """
        found = self._structures.get(name)
        if found is None:
            lines: list[str] = []
            level = name
            while level:
                row = self._types[level]
                lines = [*row["elements"], *lines]
                level = str(row["base"])
            found = Structure(name, tuple(_element(line) for line in lines))
            self._structures[name] = found
        return found

    def names_of(self, *kinds: str) -> frozenset[str]:
        """The JSON names under which any type has elements of these types."""
        return frozenset(
            key
            for type_ in self._types
            for key, known in self.structure(type_).properties.items()
            if known.kind.type in kinds
        )

    def codes(self, value_set: str) -> dict[str, list[str]]:
        """System to codes of a required value set."""
        return self._codes[value_set]

    def plain_codes(self, value_set: str) -> list[str]:
        """The codes of a required value set, whatever their system."""
        return [code for codes in self._codes[value_set].values() for code in codes]


def _element(line: str) -> Element:
    name, cardinality, kinds = line.split(" ", 2)
    required, many = _CARDINALITY[cardinality]
    return Element(
        name.removesuffix("[x]"),
        name.endswith("[x]"),
        bool(required),
        many,
        tuple(_kind(kind) for kind in kinds.split("|")),
    )


@lru_cache(maxsize=2_048)
def _kind(text: str) -> Kind:
    found = _KIND.fullmatch(text)
    if found is None:
        message = f"types.json: {text!r} is no type"
        raise ValueError(message)
    inner = found[2] or ""
    if found[1] == "Reference":
        return Kind("Reference", tuple(inner.split(",")) if inner else (), "")
    return Kind(found[1], (), inner)
