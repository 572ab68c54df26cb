"""What the walk through a whole resource finds beyond the gate.

Codes outside bindings, unknown or misplaced extensions, element ids used twice, rules
that definitions state in FHIRPath, and what is allowed but unwise.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segue.fhir.definitions import Definitions
from segue.fhir.validation.compact import CORE, tail
from segue.fhir.validation.conform import Conformance, codings
from segue.fhir.validation.items import Item, all_children, root_item
from segue.fhir.validation.rules import holds
from segue.fhir.validation.tree import Rule
from segue.model.issues import Issue, Severity

_STRENGTH: Mapping[str, Severity] = {
    "required": "error",
    "extensible": "warning",
    "preferred": "information",
}
_BASES = frozenset({"Element", "Resource", "DomainResource", "BackboneElement"})


class Survey:
    """Walks resources; made once per process.

    Args:
        table: FHIR's own types. folder: holds `bindings.json` and `rules.json`.
        book: the known profiles and extensions.
    """

    def __init__(self, table: Definitions, folder: Path, book: Conformance) -> None:
        self.table, self.book = table, book
        self.terminology = book.terminology

        def read(name: str) -> dict[str, Any]:
            found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            return found

        self.bindings: dict[str, tuple[str, str]] = {
            path: (row[0], row[1]) for path, row in read("bindings.json").items()
        }
        self.rules = {path: [Rule(*r) for r in rows] for path, rows in read("rules.json").items()}
        self._ruled: dict[str, bool] = {}

    def ruled(self, type_: str) -> bool:
        """Whether a rule in FHIRPath of severity error may apply within a type."""
        if type_ not in self._ruled:
            self._ruled[type_] = False
            self._ruled[type_] = self._reaches(type_, set())
        return self._ruled[type_]

    def _reaches(self, type_: str, seen: set[str]) -> bool:
        if type_ in seen or type_ == "Resource" or type_ not in self.table:
            return False
        seen.add(type_)
        structure = self.table.structure(type_)
        here = [type_, *(f"{type_}.{e.name}" for e in structure.elements)]
        if any(r.severity == "error" for path in here for r in self.rules.get(path, ())):
            return True
        return any(
            self._reaches(kind.type, seen)
            for element in structure.elements
            if element.name not in ("extension", "modifierExtension")
            for kind in element.kinds
            if not kind.primitive
        )

    def broken_rules(self, resource: dict[str, Any], where: str = "") -> Iterator[Issue]:
        """The rules in FHIRPath of severity error that a resource breaks."""
        for item, spot, inside in self._items(root_item(resource, where), resource):
            for issue in self._rules(item, spot, inside):
                if issue.severity == "error":
                    yield issue

    def issues(self, resource: dict[str, Any], where: str = "") -> Iterator[Issue]:
        """All that the walk finds, in document order."""
        ids: set[str] = set()
        for item, spot, inside in self._items(root_item(resource, where), resource):
            value = item.value
            yield from self._rules(item, spot, inside)
            bound = self.bindings.get(spot)
            if bound is not None:
                yield from self._bound(bound, item)
            if isinstance(value, dict):
                if item.type == "Extension":
                    continue
                id_ = value.get("id") if "resourceType" not in value else None
                if isinstance(id_, str):
                    if id_ in ids:
                        text = "this id is used by another element of the resource"
                        yield Issue("error", "duplicate", item.where, text, "ele-id")
                    ids.add(id_)

    def _rules(self, item: Item, spot: str, inside: dict[str, Any]) -> Iterator[Issue]:
        for name in {spot, item.type}:
            for rule in self.rules.get(name, ()):
                if holds(rule.expression, item, inside) is False:
                    severity: Severity = "error" if rule.severity == "error" else "warning"
                    text = f"the rule {rule.key} is broken: {rule.expression}"
                    yield Issue(severity, "invariant", item.where, text, rule.key)

    def _bound(self, bound: tuple[str, str], item: Item) -> Iterator[Issue]:
        strength, value_set = bound
        found = codings(item)
        if not found:
            return
        answers = [self.terminology.contains(value_set, *pair) for pair in found]
        for system, code in found:
            if system and self.terminology.defines(system, code) is False:
                text = f"the code system {system} has no such code"
                yield Issue("error", "unknown-code", item.where, text, value_set)
        if True in answers or None in answers or not self.terminology.knows(value_set):
            return
        some = self.terminology.some(value_set)
        text = f"no code of {tail(value_set)}, which is {strength} here"
        if some:
            text += f": {', '.join(some[:12])}" + (" …" if len(some) > 12 else "")
        yield Issue(_STRENGTH[strength], "unknown-code", item.where, text, value_set)

    def _items(
        self, item: Item, inside: dict[str, Any], spot: str = ""
    ) -> Iterator[tuple[Item, str, dict[str, Any]]]:
        """Every element with its place in its owner's type and the resource it is in."""
        yield item, spot or item.type, inside
        if item.type not in self.table and item.beside is None:
            return
        if not isinstance(item.value, dict) and item.beside is None:
            return
        for name, child in all_children(self.table, item):
            within = inside
            if isinstance(child.value, dict) and "resourceType" in child.value:
                within = child.value
                if child.type not in self.table.resources:
                    continue
            owner = item.type if isinstance(item.value, dict) else "Element"
            yield from self._items(child, within, f"{owner}.{name}")
