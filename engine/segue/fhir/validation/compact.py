"""StructureDefinitions in the compact form that the engine checks: a tree of what they add.

A node of the tree holds only what goes beyond FHIR's base definition, as the base is
always checked:

    min, max      how often; max "*" is left out
    types         type code to its targets and profiles: {"Reference": ["Patient", "http://…"]}
    fixed         the exact value
    pattern       what the value must contain
    bind          [strength, value set]
    rules         invariants: [[key, severity, FHIRPath], …]
    must          true: must support
    length, low, high    maxLength, minValue, maxValue
    by            discriminators of slices: [["value", "url"], …]; "closed", "ordered"
    slices        slice name to node
    children      element name (without `[x]`) to node

Source: https://hl7.org/fhir/R4/elementdefinition.html, https://hl7.org/fhir/R4/profiling.html
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from segue.fhir.definitions import Definitions, Element

Form = dict[str, Any]

CORE = "http://hl7.org/fhir/StructureDefinition/"


def tail(url: str) -> str:
    """The last part of a canonical URL, without its version.

    >>> tail("http://hl7.org/fhir/ValueSet/x|4.0.1")
    'x'
    """
    return bare(url).rpartition("/")[2]


def bare(url: str) -> str:
    """A canonical URL without its version."""
    return url.partition("|")[0]


def compact(
    definition: Mapping[str, Any],
    table: Definitions,
    *,
    bindings: Mapping[str, tuple[str, str]] | None = None,
    known_rules: Collection[str] = (),
) -> Form:
    """The compact form of a profile or extension.

    Args:
        definition: a StructureDefinition of derivation constraint, with a snapshot or a
            differential; of a differential, `base` names what must be checked besides.
        table: FHIR's own types.
        bindings: element path to what the base binds it to, which is then left out.
        known_rules: keys of the invariants that are checked anyway.

    Raises:
        ValueError: it is no profile; the message names what is missing.
    """
    for name in ("url", "type", "baseDefinition"):
        if not isinstance(definition.get(name), str):
            message = f"StructureDefinition {definition.get('url', '?')}: {name} is missing"
            raise ValueError(message)  # noqa: TRY004
    whole = definition.get("snapshot", {}).get("element")
    lines = whole or definition.get("differential", {}).get("element")
    if not lines:
        message = f"StructureDefinition {definition['url']}: no snapshot and no differential"
        raise ValueError(message)
    maker = _Maker(definition["type"], table, bindings or {}, frozenset(known_rules), bool(whole))
    root: Form = {}
    for line, steps in _steps(lines):
        maker.add(root, line, steps)
    found: Form = {"type": definition["type"]}
    if not whole and bare(definition["baseDefinition"]) != CORE + definition["type"]:
        found["base"] = bare(definition["baseDefinition"])
    contexts = [
        [c["type"], c["expression"]] for c in definition.get("context", ()) if "expression" in c
    ]
    if definition["type"] == "Extension":
        found["context"] = contexts
        if any(line["path"] == "Extension" and line.get("isModifier") for line in lines):
            found["modifier"] = True
    return {**found, **_pruned(root)}


def _steps(lines: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[tuple[str, str]]]]:
    """Each element with its steps (name, slice) below the root."""
    inside: dict[str, str] = {}
    for line in lines:
        path = line["path"]
        for other in [p for p in inside if p == path or p.startswith(path + ".")]:
            del inside[other]
        if "sliceName" in line:
            inside[path] = line["sliceName"]
        names = path.split(".")
        yield (
            line,
            [
                (names[i].removesuffix("[x]"), inside.get(".".join(names[: i + 1]), ""))
                for i in range(1, len(names))
            ],
        )


class _Maker:
    def __init__(
        self,
        root: str,
        table: Definitions,
        bindings: Mapping[str, tuple[str, str]],
        known_rules: frozenset[str],
        whole: bool,
    ) -> None:
        self.root, self.table, self.whole = root, table, whole
        self.bindings, self.known_rules = bindings, known_rules

    def add(self, root: Form, line: dict[str, Any], steps: list[tuple[str, str]]) -> None:
        owner, element = self.root, None
        node = root
        for name, given in steps:
            element, type_, one = self._find(owner, name)
            slice_ = given or (name if one else "")
            path = f"{owner}.{element.name if element else name}"
            node = node.setdefault("children", {}).setdefault(element.name if element else name, {})
            if slice_:
                if "by" not in node and element is not None and element.choice:
                    node["by"] = [["type", "$this"]]
                node = node.setdefault("slices", {}).setdefault(slice_, {})
                if one:
                    node.setdefault("types", {type_: []})
            chosen = node.get("types")
            owner = next(iter(chosen)) if chosen and len(chosen) == 1 else type_
            line_path = path
        if not steps:
            line_path = self.root
        self._fill(node, line, element, line_path)

    def _find(self, owner: str, name: str) -> tuple[Element | None, str, bool]:
        """An element of a type, its (first) type, whether a type was named: `valueQuantity`."""
        try:
            structure = self.table.structure(owner)
        except KeyError:
            return None, "", False
        for element in structure.elements:
            if element.name == name:
                return element, element.kinds[0].type, False
        found = structure.properties.get(name)
        if found is not None:
            return found.element, found.kind.type, True
        return None, "", False

    def _fill(self, node: Form, line: dict[str, Any], element: Element | None, path: str) -> None:
        base = line.get("base", {})
        low, high = line.get("min"), line.get("max")
        is_slice = "sliceName" in line
        if low and (not self.whole or is_slice or low != base.get("min")):
            node["min"] = low
        if high not in (None, "*") and (not self.whole or high != base.get("max")):
            node["max"] = int(high)
        self._types(node, line, element)
        for key, value in line.items():
            if key.startswith("fixed"):
                node["fixed"] = value
            elif key.startswith("pattern"):
                node["pattern"] = value
        for key, name in (("maxLength", "length"), ("minValue", "low"), ("maxValue", "high")):
            for given, value in line.items():
                if given.startswith(key):
                    node[name] = value
        self._binding(node, line, element, path)
        rules = [
            [c["key"], c["severity"], c["expression"]]
            for c in line.get("constraint", ())
            if "expression" in c and c["key"] not in self.known_rules
        ]
        if rules:
            node["rules"] = rules
        if line.get("mustSupport"):
            node["must"] = True
        slicing = line.get("slicing")
        if slicing and slicing.get("discriminator"):
            node["by"] = [[d["type"], d["path"]] for d in slicing["discriminator"]]
        if slicing and slicing.get("rules") == "closed":
            node["closed"] = True
        if slicing and slicing.get("ordered"):
            node["ordered"] = True

    def _types(self, node: Form, line: dict[str, Any], element: Element | None) -> None:
        types: dict[str, list[str]] = {}
        for entry in line.get("type", ()):
            code = entry["code"]
            if code.startswith("http://hl7.org/fhirpath/"):
                return
            targets = [
                url.removeprefix(CORE) if url.startswith(CORE + tail(url)) else url
                for url in map(bare, (*entry.get("targetProfile", ()), *entry.get("profile", ())))
            ]
            plain = [t if t in self.table.resources or "/" in t else CORE + t for t in targets]
            types[code] = sorted(plain)
        if not types:
            return
        if element is not None:
            base = {k.type: sorted(k.targets) for k in element.kinds}
            ours = {
                code if code not in ("BackboneElement", "Element") else element.kinds[0].type: (
                    [] if "Resource" in map(tail, targets) else targets
                )
                for code, targets in types.items()
            }
            if ours == base:
                return
            if set(types) & {"BackboneElement", "Element"}:
                return
            types = {
                code: [] if base.get(code) == targets else targets for code, targets in ours.items()
            }
            if "Reference" in types and not types["Reference"] and len(types) == 1 == len(base):
                return
        node["types"] = types

    def _binding(
        self, node: Form, line: dict[str, Any], element: Element | None, path: str
    ) -> None:
        bound = line.get("binding", {})
        value_set = bare(bound.get("valueSet", ""))
        if not value_set or bound["strength"] == "example":
            return
        known = {k.value_set for k in element.kinds} if element is not None else set()
        if bound["strength"] == "required" and tail(value_set) in known:
            return
        if self.bindings.get(path) == (bound["strength"], value_set):
            return
        node["bind"] = [bound["strength"], value_set]


def _pruned(node: Form) -> Form:
    """Without nodes that say nothing; slicing without slices says nothing."""
    found = dict(node)
    for group in ("children", "slices"):
        if group in found:
            kept = {name: _pruned(child) for name, child in found[group].items()}
            if group == "children":
                kept = {name: child for name, child in kept.items() if child}
            if kept:
                found[group] = kept
            else:
                del found[group]
    if "slices" not in found and not found.get("closed"):
        for name in ("by", "ordered", "closed"):
            found.pop(name, None)
    return found
