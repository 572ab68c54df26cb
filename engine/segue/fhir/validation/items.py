"""Elements of a resource with what FHIR says they are: type, place, companion."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from segue.fhir.definitions import Definitions

_FEW = 5


class Item(NamedTuple):
    """One value of an element.

    Attributes:
        value: JSON; None where only a companion (`_birthDate`) is there.
        type: primitive, data type, backbone path or resource type.
        path: the element's path without indexes, `Patient.name`, for FHIRPath.
        where: its FHIRPath with indexes, `Patient.name[0]`.
        beside: the companion of a primitive.
    """

    value: Any
    type: str
    path: str
    where: str
    beside: dict[str, Any] | None = None


def root_item(resource: dict[str, Any], where: str = "") -> Item:
    """A resource as an item."""
    type_ = resource["resourceType"]
    return Item(resource, type_, type_, where or type_)


def children(table: Definitions, item: Item, name: str) -> list[Item]:
    """The values of a child element; `name` is without `[x]`."""
    if item.value is None or not isinstance(item.value, dict):
        owner = item.beside or {}
        structure = table.structure("Element")
    else:
        owner = item.value
        structure = table.structure(item.type)
    found: list[Item] = []
    keys: Iterable[str] = structure.keys_of(name)
    if len(structure.keys_of(name)) > _FEW:
        # Of value[x] one of fifty is there.
        known = structure.properties
        keys = dict.fromkeys(
            p
            for k in owner
            if (p := k.removeprefix("_")) in known and known[p].element.name == name
        )
    for key in keys:
        value, beside = owner.get(key), owner.get("_" + key)
        if value is None and beside is None:
            continue
        kind = structure.properties[key].kind.type
        found += _items(item, key, name, kind, value, beside)
    return found


def all_children(table: Definitions, item: Item) -> Iterator[tuple[str, Item]]:
    """Every child with its element's name, in document order."""
    owner = item.value if isinstance(item.value, dict) else item.beside or {}
    structure = table.structure(item.type if isinstance(item.value, dict) else "Element")
    for key in owner:
        plain = key.removeprefix("_")
        if key != plain and plain in owner:
            continue
        found = structure.properties.get(plain)
        if found is not None:
            for child in _items(
                item,
                plain,
                found.element.name,
                found.kind.type,
                owner.get(plain),
                owner.get("_" + plain),
            ):
                yield found.element.name, child


def _items(item: Item, key: str, name: str, kind: str, value: Any, beside: Any) -> list[Item]:
    path, where = f"{item.path}.{name}", f"{item.where}.{key}"
    if isinstance(value, list) or isinstance(beside, list):
        values = value if isinstance(value, list) else []
        besides = beside if isinstance(beside, list) else []
        return [
            _item(
                values[i] if i < len(values) else None,
                kind,
                path,
                f"{where}[{i}]",
                besides[i] if i < len(besides) else None,
            )
            for i in range(max(len(values), len(besides)))
        ]
    return [_item(value, kind, path, where, beside)]


def _item(value: Any, kind: str, path: str, where: str, beside: Any) -> Item:
    if kind == "Resource" and isinstance(value, dict):
        kind = path = str(value.get("resourceType"))
    return Item(value, kind, path, where, beside if isinstance(beside, dict) else None)
