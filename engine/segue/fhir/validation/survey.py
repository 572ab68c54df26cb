"""What the walk through a whole resource finds beyond the gate.

Codes outside bindings, unknown or misplaced extensions, element ids used twice, rules
that definitions state in FHIRPath, and what is allowed but unwise.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from segue.fhir.definitions import Definitions
from segue.fhir.primitives import MEANING, is_primitive
from segue.fhir.references import parse_reference
from segue.fhir.validation.compact import tail
from segue.fhir.validation.conform import Conformance, codings
from segue.fhir.validation.extensions import Extensions
from segue.fhir.validation.items import Item, all_children, root_item
from segue.fhir.validation.rules import holds
from segue.fhir.validation.tree import Rule
from segue.fhir.validation.wholes import whole_issues
from segue.model.issues import Issue, Severity

_STRENGTH: Mapping[str, Severity] = {
    "required": "error",
    "extensible": "warning",
    "preferred": "information",
}
_AIMED = re.compile(r"#|[a-z][a-z0-9+.-]*:|[A-Z][A-Za-z]*[/?]\S")
_ANY_TYPE = 40
# Rules in FHIRPath cost seconds beyond: the largest StructureDefinition of R4 has 11,000.
_MOST_VALUES = 20_000
# Of nearly every type, and so left to $validate.
_ASIDE = frozenset({"sqty-1"})
_URIS = frozenset({"uri", "url", "canonical", "oid", "uuid"})


class _Place(NamedTuple):
    """Where an item was met.

    Attributes:
        name: its element's name. owner: what it is part of.
        spot: its place in its owner's type, `HumanName.family`; above: its owner's.
        inside: the resource. outer: the URL of the extension that it is part of, or "".
    """

    item: Item
    name: str
    owner: Item
    spot: str
    above: str
    inside: dict[str, Any]
    outer: str


class Survey:
    """Walks resources; made once per process.

    Args:
        table: FHIR's own types. folder: holds `bindings.json` and `rules.json`.
        book: the known profiles and extensions.
    """

    def __init__(self, table: Definitions, folder: Path, book: Conformance) -> None:
        self.table, self.book = table, book
        self.terminology = book.terminology
        self.extensions = Extensions(book)

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
        rules = (rule for path in here for rule in self.rules.get(path, ()))
        if any(rule.severity == "error" and rule.key not in _ASIDE for rule in rules):
            return True
        return any(
            self._reaches(kind.type, seen)
            for element in structure.elements
            if element.name not in ("extension", "modifierExtension")
            # A value of any type is judged by $validate alone.
            and len(element.kinds) < _ANY_TYPE
            for kind in element.kinds
            if not kind.primitive
        )

    def broken_rules(self, resource: dict[str, Any], where: str = "") -> Iterator[Issue]:
        """The rules in FHIRPath of severity error that a resource breaks."""
        if _values(resource, _MOST_VALUES) > _MOST_VALUES:
            return
        for place in self._places(resource, where):
            for issue in self._rules(place):
                if issue.severity == "error":
                    yield issue

    def issues(self, resource: dict[str, Any], where: str = "") -> Iterator[Issue]:
        """All that the walk finds, in document order."""
        ids: set[tuple[int, str]] = set()
        large = _values(resource, _MOST_VALUES) > _MOST_VALUES
        if large:
            text = "too large for the rules that FHIR states in FHIRPath: they were not checked"
            yield Issue("information", "too-costly", where or resource["resourceType"], text)
        for place in self._places(resource, where):
            item = place.item
            if not large:
                yield from self._rules(place)
            if item.type in self.table.resources and isinstance(item.value, dict):
                yield from whole_issues(item.value, item.where)
            bound = self.bindings.get(place.spot)
            if bound is not None:
                yield from self._bound(bound, item)
            if item.type == "CodeableConcept" or (item.type == "Coding" and bound is not None):
                yield from self._unknown_codes(item)
            if item.type == "Extension" and isinstance(item.value, dict):
                yield from self.extensions.issues(
                    place.name, item, place.owner, place.above, place.inside, place.outer
                )
            elif isinstance(item.value, str):
                if item.type in _URIS:
                    yield from _scheme(item)
                elif item.value != item.value.strip():
                    text = "the text begins or ends with white space"
                    yield Issue("warning", "value", item.where, text)
            elif item.type == "Reference" and isinstance(item.value, dict):
                yield from self._aim(place)
            if isinstance(item.value, dict) and "resourceType" not in item.value:
                id_ = item.value.get("id")
                if isinstance(id_, str):
                    if (id(place.inside), id_) in ids:
                        text = "this id is used by another element of the resource"
                        yield Issue("error", "duplicate", item.where, text, "ele-id")
                    ids.add((id(place.inside), id_))

    def _rules(self, place: _Place) -> Iterator[Issue]:
        item = place.item
        for name in {place.spot, item.type}:
            for rule in self.rules.get(name, ()):
                if holds(rule.expression, item, place.inside) is False:
                    severity: Severity = "error" if rule.severity == "error" else "warning"
                    text = f"the rule {rule.key} is broken: {rule.expression}"
                    yield Issue(severity, "invariant", item.where, text, rule.key)

    def _unknown_codes(self, item: Item) -> Iterator[Issue]:
        for system, code in codings(item):
            if system and self.terminology.defines(system, code) is False:
                text = f"the code system {system} has no such code"
                yield Issue("error", "unknown-code", item.where, text, system)

    def _bound(self, bound: tuple[str, str], item: Item) -> Iterator[Issue]:
        strength, value_set = bound
        found = codings(item)
        if not found or not self.terminology.knows(value_set):
            return
        answers = [self.terminology.contains(value_set, *pair) for pair in found]
        if True in answers or None in answers:
            return
        some = self.terminology.some(value_set)
        text = f"no code of {tail(value_set)}, which is {strength} here"
        if some:
            text += f": {', '.join(some[:12])}" + (" …" if len(some) > 12 else "")
        yield Issue(_STRENGTH[strength], "unknown-code", item.where, text, value_set)

    def _aim(self, place: _Place) -> Iterator[Issue]:
        """A relative reference should be one to a resource, an absolute one to a right type."""
        text, where = place.item.value.get("reference"), place.item.where + ".reference"
        if not isinstance(text, str):
            return
        if not _AIMED.match(text):
            advice = "nothing can be found by this reference: Type/id, an absolute URL, #id"
            yield Issue("warning", "reference-target", where, advice)
        elif text.startswith(("http://", "https://")) and place.owner.type in self.table:
            key = parse_reference(text)
            found = self.table.structure(place.owner.type).properties.get(
                place.item.where.rpartition(".")[2].partition("[")[0]
            )
            targets = found.kind.targets if found is not None else ()
            known = key is not None and key.type in self.table.resources
            if targets and known and key is not None and key.type not in targets:
                advice = f"must point to {' or '.join(targets)}"
                yield Issue("error", "reference-target", where, advice)

    def _places(self, resource: dict[str, Any], where: str) -> Iterator[_Place]:
        root = root_item(resource, where)
        yield from self._below(_Place(root, "", root, root.type, "", resource, ""))

    def _below(self, place: _Place) -> Iterator[_Place]:
        """An element and all in it, each with its place in its owner's type."""
        yield place
        item = place.item
        is_object = isinstance(item.value, dict)
        if not is_object and item.beside is None:
            return
        if is_object and item.type not in self.table:
            return
        outer = item.value.get("url", "") if item.type == "Extension" and is_object else ""
        owner = item.type if is_object else "Element"
        for name, child in all_children(self.table, item):
            inside = place.inside
            if isinstance(child.value, dict) and "resourceType" in child.value:
                inside = child.value
                if child.type not in self.table.resources:
                    continue
            yield from self._below(
                _Place(child, name, item, f"{owner}.{name}", place.spot, inside, outer)
            )


def _values(value: Any, most: int) -> int:
    """How many values JSON has; counting ends soon after `most`."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        inner = waiting.pop()
        count += 1
        if isinstance(inner, dict):
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
    return count


def _scheme(item: Item) -> Iterator[Issue]:
    """URNs of OIDs and UUIDs must be such."""
    for prefix, kind in (("urn:oid:", "oid"), ("urn:uuid:", "uuid")):
        if item.value.startswith(prefix) and not is_primitive(kind, item.value):
            text = f"{prefix}… must be {MEANING[kind]}"
            yield Issue("error", "bad-value", item.where, text)
