"""JSON Schemas for the quick verdict on a resource, made from the type table.

A schema accepts the usual form of a resource and nothing that is wrong; what it refuses
(a `_birthDate` without `birthDate`, contained resources, an `id` on an element, nulls that
keep two lists in step) is judged by `segue.fhir.structure`, which also finds the words.
Nested resources are left open here and judged one by one, so that a schema never holds
other resource types.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from segue.fhir.definitions import Definitions, Element, Kind, Structure
from segue.fhir.invariants import INVARIANTS
from segue.fhir.narrative import PLAIN
from segue.fhir.primitives import PATTERNS, RANGES, reference_pattern

Schema = dict[str, Any]

RULE = "x-invariants"
"""Our schema keyword: its value names the type whose invariants the node must obey."""

_SMALL_CHOICE = 5
_BASE = ("id", "extension", "modifierExtension")


_BESIDE = frozenset({"Period", "Range"})
"""Types whose invariants the caller judges where it can reach them."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a schema leaves to its caller: dict reads cost a tenth of a call out of it.

    Attributes:
        spots: paths of one or two JSON names, and the type whose invariants the value
            there must obey.
        choices: the JSON names of each choice (`value[x]`) of the resource itself, at
            most one of which may be there, and whether one must be.
    """

    spots: tuple[tuple[tuple[str, ...], str], ...]
    choices: tuple[tuple[frozenset[str], bool], ...]


def schema(definitions: Definitions, resource_type: str) -> tuple[Schema, Left]:
    """The strict JSON Schema (2020-12) of a resource type, and what it does not judge."""
    builder = _Builder(definitions, resource_type)
    structure = definitions.structure(resource_type)
    root = builder.node(structure, root=True)
    root["properties"]["resourceType"] = {"const": resource_type}
    root["required"] = ["resourceType", *root.get("required", ())]
    root["properties"].pop("contained", None)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "$defs": builder.defs,
    }
    choices = tuple((frozenset(e.keys()), e.required) for e in structure.elements if e.choice)
    return document, Left(tuple(builder.spots), choices)


class _Builder:
    def __init__(self, definitions: Definitions, resource_type: str) -> None:
        self.definitions = definitions
        self.resource_type = resource_type
        self.defs: dict[str, Schema] = {}
        self.references: dict[tuple[str, ...], str] = {}
        self.spots: list[tuple[tuple[str, ...], str]] = []

    def node(self, structure: Structure, *, root: bool = False) -> Schema:
        """The schema of a resource, data type or backbone element."""
        if structure.name == "Extension":
            return self._extension(structure)
        properties: Schema = {}
        companions = root or not any(len(e.keys()) > _SMALL_CHOICE for e in structure.elements)
        for element in structure.elements:
            for key, kind in zip(element.keys(), element.kinds, strict=False):
                properties[key] = self._property(element, kind)
                if kind.type in _BESIDE and not element.many and (root or structure.backbone):
                    properties[key] = self._beside(kind.type, structure.name, key)
                if (
                    kind.primitive
                    and companions
                    and not (element.many or kind.type == "xhtml" or (root and element.choice))
                ):
                    properties["_" + key] = self._ref("@companion")
        found: Schema = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        required = [e.name for e in structure.elements if e.required and not e.choice]
        if required:
            found["required"] = required
        elif not root:
            found["minProperties"] = 1
            # An element needs more than an id (ele-1).
            properties.pop("id", None)
        rules: list[Schema] = []
        if not root:
            for element in structure.elements:
                if element.choice:
                    rules += self._choice(structure, element)
        rules += self._invariants(structure.name, root=root)
        if rules:
            found["allOf"] = rules
        return found

    def _invariants(self, name: str, *, root: bool) -> list[Schema]:
        found = []
        guards: list[Schema] = []
        for rule in INVARIANTS.get(name, ()):
            if rule.schema is not None:
                found.append(rule.schema)
            elif not root:
                guards.append({"required": list(rule.guard)})
        if guards:
            # Only nodes with the elements in question pay for the call.
            quiet: Schema = {"not": {"anyOf": guards} if len(guards) > 1 else guards[0]}
            if name == "Narrative":
                quiet = {"properties": {"div": {"pattern": PLAIN}}}
            found.append({"anyOf": [quiet, {RULE: name}]})
        return found

    def _property(self, element: Element, kind: Kind) -> Schema:
        value = self._kind(kind)
        if element.many:
            return {"type": "array", "minItems": 1, "items": value}
        return value

    def _kind(self, kind: Kind) -> Schema:
        if kind.type == "code" and kind.value_set:
            return {"enum": self.definitions.plain_codes(kind.value_set)}
        if kind.type == "Reference":
            return self._reference(kind.targets)
        if kind.type == "Resource":
            return {"type": "object", "required": ["resourceType"]}
        if kind.type == "CodeableConcept" and kind.value_set:
            return self._bound_concept(kind.value_set)
        return self._ref(kind.type)

    def _beside(self, type_: str, owner: str, key: str) -> Schema:
        whose, *within = owner.split(".")
        path = (*within, key)
        # Within a data type (Timing.repeat) the path does not begin at the resource.
        if whose != self.resource_type or len(path) > 2:
            return self._ref(type_)
        self.spots.append((path, type_))
        name = type_ + "-open"
        if name not in self.defs:
            node = self.node(self.definitions.structure(type_))
            node.pop("allOf")
            self.defs[name] = node
        return {"$ref": f"#/$defs/{name}"}

    def _ref(self, name: str) -> Schema:
        if name not in self.defs:
            self.defs[name] = {}
            self.defs[name] = self._definition(name)
        return {"$ref": f"#/$defs/{name}"}

    def _definition(self, name: str) -> Schema:
        if PATTERNS.get(name) == r"[^\s]+":
            # The schema engine knows this very pattern and does without an expression.
            return {"type": "string", "minLength": 1, "pattern": r"^\S*$"}
        if name in PATTERNS:
            return {"type": "string", "pattern": f"^(?:{PATTERNS[name]})$"}
        if name in RANGES:
            return {"type": "integer", "minimum": RANGES[name][0], "maximum": RANGES[name][1]}
        if name == "boolean":
            return {"type": "boolean"}
        if name == "decimal":
            return {"type": "number"}
        if name == "@companion":
            return {
                "type": "object",
                "properties": {
                    "id": self._ref("string"),
                    "extension": {
                        "type": "array",
                        "minItems": 1,
                        "items": self._ref("Extension"),
                    },
                },
                "required": ["extension"],
                "additionalProperties": False,
            }
        return self.node(self.definitions.structure(name))

    def _reference(self, targets: tuple[str, ...]) -> Schema:
        if targets not in self.references:
            name = f"Reference-{len(self.references)}"
            self.references[targets] = name
            types = targets or tuple(sorted(self.definitions.resources))
            base = self.node(self.definitions.structure("Reference"))
            pattern = reference_pattern(types, local=False)
            base["properties"]["reference"] = {"type": "string", "pattern": f"^(?:{pattern})$"}
            base["properties"]["type"] = {"enum": list(types)}
            self.defs[name] = base
        return {"$ref": f"#/$defs/{self.references[targets]}"}

    def _bound_concept(self, value_set: str) -> Schema:
        name = f"CodeableConcept-{value_set}"
        if name not in self.defs:
            codings = [
                {
                    "required": ["system", "code"],
                    "properties": {"system": {"const": system}, "code": {"enum": codes}},
                }
                for system, codes in self.definitions.codes(value_set).items()
            ]
            base = self.node(self.definitions.structure("CodeableConcept"))
            base["properties"]["coding"]["contains"] = (
                codings[0] if len(codings) == 1 else {"anyOf": codings}
            )
            base["required"] = ["coding"]
            self.defs[name] = base
        return {"$ref": f"#/$defs/{name}"}

    def _choice(self, structure: Structure, element: Element) -> list[Schema]:
        keys = element.keys()
        each: list[Schema] = [{"required": [key]} for key in keys]
        if not element.required:
            # With one property more than is required, there is one of the choice at most.
            needed = sum(e.required and not e.choice for e in structure.elements)
            lone: Schema = {"maxProperties": needed + 1}
            return [{"anyOf": [lone, {"allOf": self._at_most_one(structure, element)}]}]
        if len(keys) <= _SMALL_CHOICE:
            return [*self._at_most_one(structure, element), {"anyOf": each}]
        others = [e for e in structure.elements if e is not element and e.name not in _BASE]
        if not all(e.required for e in others):
            return [{"oneOf": each}]
        # All required and nothing else: then exactly one of the choice is there.
        exact = {
            "minProperties": len(others) + 1,
            "maxProperties": len(others) + 1,
            "not": {"anyOf": [{"required": [name]} for name in _BASE]},
        }
        return [{"anyOf": [exact, {"oneOf": each}]}]

    def _at_most_one(self, structure: Structure, element: Element) -> list[Schema]:
        keys = element.keys()
        if len(keys) > _SMALL_CHOICE:
            each = [{"required": [key]} for key in keys]
            return [{"oneOf": [*each, {"not": {"anyOf": each}}]}]
        pairs = [*combinations(keys, 2)]
        pairs += [
            ("_" + one, other)
            for one in keys
            for other in keys
            if one != other and structure.properties[one].kind.primitive
        ]
        return [{"not": {"required": list(pair)}} for pair in pairs] or [{}]

    def _extension(self, structure: Structure) -> Schema:
        """A URL and either a value or extensions: two properties, no more (ext-1)."""
        properties: Schema = {}
        for element in structure.elements:
            if element.name != "id":
                for key, kind in zip(element.keys(), element.kinds, strict=False):
                    properties[key] = self._property(element, kind)
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            "required": ["url"],
            "minProperties": 2,
            "maxProperties": 2,
        }
