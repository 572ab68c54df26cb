"""FHIRPath Patch: a Parameters resource with operations, done to a resource.

A path is split into what selects the parent and the name of the element in it. What
selects is evaluated by the FHIRPath door on a copy whose objects know their place.

Source: https://hl7.org/fhir/R4/fhirpatch.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from segue.fhir.definitions import Definitions, Property, Structure
from segue.fhir.fhirpath import FhirPathError, nodes
from segue.fhir.outcomes import FhirError, fhir_error

Resource = dict[str, Any]

MOST_OPERATIONS = 200
MOST_PATH = 300
MOST_SELECTIONS = 20
"""Paths with functions: each costs milliseconds to read."""

# Functions that select; those that walk without end, or read elsewhere, are not taken.
_NAMES = (
    "where first last tail skip take single ofType as is extension exists empty not count all "
    "any hasValue startsWith endsWith contains lower upper length toString"
    " and or in xor implies"
)
_FUNCTIONS = frozenset(_NAMES.split())
_CALL = re.compile(r"(\w+)\s*\(")
_NAME = re.compile(r"`?([A-Za-z]\w*)`?(?:\[(\d{1,9})\])?")


class _Text(str):
    """A string of the resource that is one object, so that its place can be found."""

    __slots__ = ()


@dataclass(slots=True)
class _Place:
    """An element: a member of an object, or an item of such a member.

    Attributes:
        parent: the object. type: of the parent, for its elements.
        key: JSON name; of an element that is absent, the name that it would have.
        index: in the list; None for the member as a whole.
    """

    parent: dict[str, Any]
    type: str
    key: str
    index: int | None = None

    @property
    def value(self) -> Any:
        found = self.parent.get(self.key)
        if self.index is None:
            return found
        if not isinstance(found, list) or self.index >= len(found):
            return None
        return found[self.index]


def apply_parameters(
    resource: Resource, parameters: Mapping[str, Any], definitions: Definitions
) -> Resource:
    """Do the operations, in their order.

    Args:
        resource: is changed.
        parameters: a Parameters resource with parameters `operation`.

    Raises:
        FhirError: 400; an operation is wrong. 422; it does not fit the resource.
    """
    found = parameters.get("parameter", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise fhir_error("incorrect", "structure", "parameter is a list of objects")
    if len(found) > MOST_OPERATIONS:
        text = f"a patch is limited to {MOST_OPERATIONS} operations"
        raise fhir_error("incorrect", "too-long", text)
    made = _marked(resource)
    selections = 0
    for n, one in enumerate(found):
        try:
            operation = _Operation(made, one, definitions)
            selections += "(" in operation.text("path")
            if selections > MOST_SELECTIONS:
                text = f"a patch is limited to {MOST_SELECTIONS} paths with functions"
                raise fhir_error("incorrect", "too-costly", text)
            operation.do()
        except FhirPathError:
            raise _wrong(f"operation {n}: the path cannot be evaluated") from None
        except FhirError as error:
            issue = error.issues[0]
            raise fhir_error(error.category, issue.code, f"operation {n}: {issue.text}") from None  # type: ignore[arg-type]
    plain: Resource = _plain(made)
    return plain


def _wrong(text: str) -> FhirError:
    return fhir_error("incorrect", "value", text)


def _unfit(text: str) -> NoReturn:
    raise fhir_error("unprocessable", "processing", text)


class _Operation:
    def __init__(self, root: Resource, sent: Mapping[str, Any], definitions: Definitions) -> None:
        self.root = root
        self.definitions = definitions
        parts = sent.get("part", [])
        if sent.get("name") != "operation" or not isinstance(parts, list):
            raise _wrong("a parameter of a patch is named operation, and has parts")
        self.parts: dict[str, Mapping[str, Any]] = {}
        for part in parts:
            if not isinstance(part, dict) or not isinstance(part.get("name"), str):
                raise _wrong("a part has a name")
            if part["name"] in self.parts:
                raise _wrong(f"{part['name'][:40]} stands twice")
            self.parts[part["name"]] = part

    def text(self, name: str) -> str:
        part = self.parts.get(name, {})
        value = next((v for k, v in part.items() if k.startswith("value")), None)
        if not isinstance(value, str):
            raise _wrong(f"part {name} is missing, or no text")
        return value

    def number(self, name: str) -> int:
        part = self.parts.get(name, {})
        value = part.get("valueInteger")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _wrong(f"part {name} is missing, or no valueInteger from 0 on")
        return value

    def do(self) -> None:
        kind, path = self.text("type"), self.text("path")
        _check_path(path)
        if kind == "add":
            self._add(path)
        elif kind == "insert":
            self._insert(path)
        elif kind == "delete":
            self._delete(path)
        elif kind == "replace":
            self._replace(path)
        elif kind == "move":
            self._move(path)
        else:
            raise _wrong("type is add, insert, delete, replace or move")

    # --- operations ----------------------------------------------------------------------

    def _add(self, path: str) -> None:
        parent, type_ = self._object(path)
        name = self.text("name")
        known = self._property(type_, name)
        key, value, beside = self._value(type_, known)
        if known.element.many:
            items = parent.setdefault(key, [])
            items.append(value)
            if beside or f"_{key}" in parent:
                more = parent.setdefault(f"_{key}", [None] * (len(items) - 1))
                more.append(beside)
            return
        names = known.element.keys()
        if any(one in parent or f"_{one}" in parent for one in names):
            _unfit(f"{name} is there already: use replace")
        if value is not None:
            parent[key] = value
        if beside:
            parent[f"_{key}"] = beside

    def _insert(self, path: str) -> None:
        place = self._place(path, whole=True)
        items = place.parent.get(place.key, [])
        index = self.number("index")
        if not isinstance(items, list) or index > len(items):
            _unfit("the index is beyond the list")
        known = self._property(place.type, place.key)
        _, value, beside = self._value(place.type, known)
        items.insert(index, value)
        place.parent[place.key] = items
        if beside or f"_{place.key}" in place.parent:
            more = place.parent.setdefault(f"_{place.key}", [None] * (len(items) - 1))
            more.insert(index, beside)

    def _delete(self, path: str) -> None:
        try:
            place = self._place(path)
        except FhirError as error:
            if error.category == "unprocessable" and error.issues[0].code == "not-found":
                return  # What is absent is as it should be.
            raise
        if place.index is None:
            if len(place.parent.get(place.key) or ()) > 1 and isinstance(
                place.parent[place.key], list
            ):
                _unfit("the path selects several elements")
            place.parent.pop(place.key, None)
            place.parent.pop(f"_{place.key}", None)
        else:
            del place.parent[place.key][place.index]
            more = place.parent.get(f"_{place.key}")
            if isinstance(more, list) and place.index < len(more):
                del more[place.index]
        self._prune(self.root)

    def _replace(self, path: str) -> None:
        place = self._place(path)
        if place.value is None and f"_{place.key}" not in place.parent:
            _unfit("there is nothing to replace: use add")
        known = self._property(place.type, place.key)
        key, value, beside = self._value(place.type, known)
        if place.index is not None:
            place.parent[place.key][place.index] = value
            return
        if known.element.many and isinstance(place.parent.get(place.key), list):
            if len(place.parent[place.key]) > 1:
                _unfit("the path selects several elements")
            value = [value]
        place.parent.pop(place.key, None)
        place.parent.pop(f"_{place.key}", None)
        if value is not None:
            place.parent[key] = value
        if beside:
            place.parent[f"_{key}"] = beside

    def _move(self, path: str) -> None:
        place = self._place(path, whole=True)
        items = place.parent.get(place.key)
        source, destination = self.number("source"), self.number("destination")
        if not isinstance(items, list) or max(source, destination) >= len(items):
            _unfit("source or destination is beyond the list")
        items.insert(destination, items.pop(source))
        more = place.parent.get(f"_{place.key}")
        if isinstance(more, list) and len(more) == len(items):
            more.insert(destination, more.pop(source))

    def _prune(self, value: Any) -> None:
        """Take away objects and lists that a delete has emptied."""
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, (dict, list)):
                self._prune(item)
        if isinstance(value, dict):
            for key in [k for k, item in value.items() if item in ({}, [])]:
                del value[key]

    # --- places --------------------------------------------------------------------------

    def _object(self, path: str) -> tuple[dict[str, Any], str]:
        """The one object that a path selects, with its type.

        What stands beside a primitive (its extensions) is its object.
        """
        found = self._walked(path)
        if found is None:
            found = nodes(self.root, path)
        if not found:
            _missing(path)
        if len(found) > 1:
            _unfit("the path selects several elements")
        if isinstance(found[0], dict):
            return found[0], self._types()[id(found[0])]
        place = self._place(path)
        key = f"_{place.key}"
        if place.index is None:
            inner: dict[str, Any] = place.parent.setdefault(key, {})
            return inner, "Element"
        items = place.parent.setdefault(key, [])
        items += [None] * (len(place.parent[place.key]) - len(items))
        items[place.index] = items[place.index] or {}
        return items[place.index], "Element"

    def _walked(self, path: str) -> list[Any] | None:
        """What a path of mere names and indexes selects; None for any other path."""
        found: list[Any] = [self.root]
        steps = path.split(".")
        types = self._types()
        for n, step in enumerate(steps):
            name = _NAME.fullmatch(step)
            if name is None or not all(isinstance(one, dict) for one in found):
                return None
            if n == 0 and step == self.root.get("resourceType"):
                continue
            below: list[Any] = []
            for one in found:
                names = self._property(types[id(one)], name[1]).element.keys()
                values = [one[key] for key in names if one.get(key) is not None]
                for value in values:
                    below += value if isinstance(value, list) else [value]
            index = int(name[2]) if name[2] else None
            found = below if index is None else below[index : index + 1]
        return found

    def _place(self, path: str, *, whole: bool = False) -> _Place:
        """Where the one element stands that a path selects.

        Args:
            whole: the path selects a list.
        """
        before, last = _split(path)
        found = _NAME.fullmatch(last)
        if found is None or not before:
            return self._selected(path)
        parent, type_ = self._object(before)
        known = self._property(type_, found[1])
        names = known.element.keys()
        keys = [one for one in names if one in parent or f"_{one}" in parent]
        if not keys:
            if whole:
                return _Place(parent, type_, known.element.name)
            _missing(path)
        index = int(found[2]) if found[2] else None
        value = parent.get(keys[0], parent.get(f"_{keys[0]}"))
        if isinstance(value, list) and not whole:
            if index is None and len(value) == 1:
                index = 0
            if index is None:
                _unfit("the path selects several elements")
            if index >= len(value):
                _missing(path)
        return _Place(parent, type_, keys[0], index if isinstance(value, list) else None)

    def _selected(self, path: str) -> _Place:
        """The place of what a function selects."""
        found = nodes(self.root, path)
        if not found:
            _missing(path)
        if len(found) > 1:
            _unfit("the path selects several elements")
        place = self._places().get(id(found[0]))
        if place is None:
            _unfit("the path selects no element that can be changed: name it")
        return place

    def _types(self) -> dict[int, str]:
        """Each object of the resource to its type."""
        found: dict[int, str] = {}

        def visit(value: Any, type_: str) -> None:
            if isinstance(value, dict):
                kind = value.get("resourceType", type_) if type_ == "Resource" else type_
                found[id(value)] = kind
                known = self._structure(kind)
                for key, item in value.items():
                    member = known.properties.get(key.removeprefix("_")) if known else None
                    if member is not None:
                        visit(item, "Element" if key.startswith("_") else member.kind.type)
            elif isinstance(value, list):
                for item in value:
                    visit(item, type_)

        visit(self.root, str(self.root.get("resourceType")))
        return found

    def _places(self) -> dict[int, _Place]:
        """Each object and each text of the resource to its place."""
        types = self._types()
        found: dict[int, _Place] = {}

        def visit(parent: dict[str, Any]) -> None:
            type_ = types.get(id(parent), "")
            for key, value in parent.items():
                many = isinstance(value, list)
                for n, item in enumerate(value if many else [value]):
                    if isinstance(item, (dict, _Text)):
                        found[id(item)] = _Place(parent, type_, key, n if many else None)
                    if isinstance(item, dict):
                        visit(item)

        visit(self.root)
        return found

    # --- types ---------------------------------------------------------------------------

    def _structure(self, type_: str) -> Structure | None:
        try:
            return self.definitions.structure(type_)
        except KeyError:
            return None

    def _property(self, type_: str, name: str) -> Property:
        """The element of a type: by its name, or by that of a choice without its type."""
        known = self._structure(type_)
        if known is not None:
            if name in known.properties:
                return known.properties[name]
            for element in known.elements:
                if element.name == name:
                    return Property(element, element.kinds[0])
        raise _wrong(f"{type_ or 'that element'} has no element {name[:40]}")

    def _value(self, type_: str, known: Property) -> tuple[str, Any, Any]:
        """JSON name, value, and what stands beside it, from the part `value`."""
        part = self.parts.get("value")
        if part is None:
            raise _wrong("part value is missing")
        key, value, beside = self._part(part, known)
        if value is None and not beside:
            raise _wrong("part value holds nothing")
        return key, _marked(value), _marked(beside)

    def _part(self, part: Mapping[str, Any], known: Property) -> tuple[str, Any, Any]:
        element = known.element
        if "resource" in part:
            return element.name, part["resource"], None
        if "part" in part:
            return element.name, self._built(part["part"], known), None
        name = next((k for k in part if k.lstrip("_").startswith("value")), None)
        if name is None:
            return element.name, None, None
        name = name.lstrip("_")
        key = element.name
        if element.choice:
            key = element.name + name.removeprefix("value")
            names = element.keys()
            if key not in names:
                raise _wrong(f"{element.name} is not of type {name.removeprefix('value')[:40]}")
        return key, part.get(name), part.get(f"_{name}")

    def _built(self, parts: Any, known: Property) -> dict[str, Any]:
        """An element without a type of its own, from nested parts."""
        if not isinstance(parts, list):
            raise _wrong("part is a list")
        made: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, dict) or not isinstance(part.get("name"), str):
                raise _wrong("a part has a name")
            inner = self._property(known.kind.type, part["name"])
            key, value, beside = self._part(part, inner)
            if inner.element.many:
                made.setdefault(key, []).append(value)
            else:
                made[key] = value
            if beside and not inner.element.many:
                made[f"_{key}"] = beside
        return made


def _missing(path: str) -> NoReturn:
    raise fhir_error("unprocessable", "not-found", f"{path[:200]} selects nothing")


def _check_path(path: str) -> None:
    if len(path) > MOST_PATH:
        raise _wrong(f"a path is limited to {MOST_PATH} characters")
    for name in _CALL.findall(path):
        if name not in _FUNCTIONS:
            raise _wrong(f"the function {name[:40]} is not taken in the path of a patch")


def _split(path: str) -> tuple[str, str]:
    """What stands before the last dot that is outside of brackets and quotes, and after.

    >>> _split("Patient.name.where(use = 'a.b').given[0]")
    ("Patient.name.where(use = 'a.b')", 'given[0]')
    """
    depth, quote, at, escaped = 0, "", -1, False
    for n, char in enumerate(path):
        if quote:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quote:
                quote = ""
        elif char in "'`\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "." and depth == 0:
            at = n
    return (path[:at].strip(), path[at + 1 :].strip()) if at >= 0 else ("", path.strip())


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    return _Text(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str.__str__(value) if isinstance(value, str) else value
