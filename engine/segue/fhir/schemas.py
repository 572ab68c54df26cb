"""JSON Schemas for the quick verdict on a resource, made from the type table.

A schema accepts the usual form of a resource and nothing that is wrong; what it refuses
(a `_birthDate` without `birthDate`, contained resources, nulls that keep two lists in
step) is judged by `segue.fhir.structure`, which also finds the words. Nested resources
are left open here and judged one by one, so that a schema never holds other resource
types.
"""

from itertools import combinations
from typing import Any

from segue.fhir.definitions import Definitions, Element, Kind, Structure
from segue.fhir.invariants import INVARIANTS
from segue.fhir.primitives import PATTERNS, RANGES, reference_pattern

Schema = dict[str, Any]

RULE = "x-invariants"
"""Our schema keyword: its value names the type whose invariants the node must obey."""

_SMALL_CHOICE = 5
_BASE = ("id", "extension", "modifierExtension")


Spots = tuple[tuple[str, ...], ...]
"""Paths of one or two JSON names at which a resource has a Period."""


def schema(definitions: Definitions, resource_type: str) -> tuple[Schema, Spots]:
    """The strict JSON Schema (2020-12) of a resource type.

    It does not compare the ends of the Periods at the returned paths: a few dict reads
    by the caller cost a tenth of a call out of the schema.
    """
    builder = _Builder(definitions)
    root = builder.node(definitions.structure(resource_type), root=True)
    root["properties"]["resourceType"] = {"const": resource_type}
    root["required"] = ["resourceType", *root.get("required", ())]
    root["properties"].pop("contained", None)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "$defs": builder.defs,
    }
    return document, tuple(builder.periods)


class _Builder:
    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.defs: dict[str, Schema] = {}
        self.references: dict[tuple[str, ...], str] = {}
        self.periods: list[tuple[str, ...]] = []

    def node(self, structure: Structure, *, root: bool = False) -> Schema:
        """The schema of a resource, data type or backbone element."""
        if structure.name == "Extension":
            return self._extension(structure)
        properties: Schema = {}
        companions = not any(len(e.keys()) > _SMALL_CHOICE for e in structure.elements)
        for element in structure.elements:
            for key, kind in zip(element.keys(), element.kinds, strict=False):
                properties[key] = self._property(element, kind)
                if kind.type == "Period" and not element.many and (root or structure.backbone):
                    properties[key] = self._period(structure.name, key)
                if kind.primitive and not element.many and kind.type != "xhtml" and companions:
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
        rules = [
            rule for e in structure.elements if e.choice for rule in self._choice(structure, e)
        ]
        if not required and not root and "id" in properties:
            # An element needs more than an id (ele-1).
            rules.append({"anyOf": [{"minProperties": 2}, {"not": {"required": ["id"]}}]})
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
            quiet = {"not": {"anyOf": guards} if len(guards) > 1 else guards[0]}
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

    def _period(self, owner: str, key: str) -> Schema:
        path = (*owner.split(".")[1:], key)
        if len(path) > 2:
            return self._ref("Period")
        self.periods.append(path)
        if "Period-open" not in self.defs:
            period = self.node(self.definitions.structure("Period"))
            period["allOf"] = [rule for rule in period["allOf"] if RULE not in str(rule)]
            self.defs["Period-open"] = period
        return {"$ref": "#/$defs/Period-open"}

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
        if len(keys) <= _SMALL_CHOICE:
            rules: list[Schema] = [
                {"not": {"required": list(pair)}} for pair in combinations(keys, 2)
            ]
            rules += [
                {"not": {"required": ["_" + one, other]}}
                for one in keys
                for other in keys
                if one != other and structure.properties[one].kind.primitive
            ]
            if element.required:
                rules.append({"anyOf": each})
            return rules
        if not element.required:
            return [{"oneOf": [*each, {"not": {"anyOf": each}}]}]
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
