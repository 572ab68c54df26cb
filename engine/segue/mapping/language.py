"""The language of mapping files: what they may say, and what that is as values.

A layer (`mappings/core`, `mappings/vendors/<name>`, `mappings/sites/<name>`) holds
`site.yaml`, `identity.yaml`, `messages/*.yaml`, `segments/*.yaml` and `tables/*.yaml`,
each with `cases/` beside it. The dictionaries of keys below are at once what the reader
accepts, what its errors suggest, and the JSON schema that editors complete by.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Unknown = Literal["omit", "keep", "default", "task"]
Gives = Literal["code", "Coding", "CodeableConcept"]

UNKNOWN: tuple[Unknown, ...] = ("omit", "keep", "default", "task")
GIVES: tuple[Gives, ...] = ("code", "Coding", "CodeableConcept")
SCOPES = ("person", "visit", "directory")
WITHIN = ("patient", "visit", "site", "none")
SINGLETONS = frozenset({"Patient", "Encounter"})
"""Types of which a message tells of one for each patient or visit."""

FIELD = r"[A-Z][A-Z0-9]{2}-[1-9][0-9]*(\.[1-9][0-9]*){0,2}"

_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_VALUES: dict[str, Any] = {"anyOf": [{"type": ["string", "integer"]}, _TEXTS]}


def _described(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {**schema, "description": text}


RULE_KEYS: dict[str, dict[str, Any]] = {
    "from": _described(_TEXT, "A field, `PV1-19` or `PV1-3.4`; `PV1-50 | PID-18` takes the first."),
    "each": _described(_TEXT, "A field, every repetition of it; fills a list."),
    "to": _described(
        _TEXT,
        "The element, `period.start`; of a list `name`, or `name#label`; `value[x]`; "
        "`details.class` for what the fold needs as sent.",
    ),
    "as": _described(_TEXT, "A datatype, `CX`."),
    "through": _described(_TEXT, "A code table, `HL70004_ActCode`."),
    "using": _described(_TEXT, "A named function."),
    "with": _described({"type": "object"}, "Options of the datatype, table or function."),
    "when": _described(
        {"type": "object", "additionalProperties": _VALUES},
        "Fields that must hold one of these values.",
    ),
    "unknown": _described({"enum": list(UNKNOWN)}, "What a code without an entry becomes."),
    "null": _described({"enum": ["delete", "keep"]}, 'What HL7 null (`""`) does; default delete.'),
    "because": _described(_TEXT, "Why this layer says otherwise."),
    "off": _described({"type": "boolean"}, "Switches the rule off."),
}

MAP_KEYS: dict[str, dict[str, Any]] = {
    "maps": _described(_TEXT, "`PV1 -> Encounter`: the segment and the resource it makes."),
    "key": _described(
        {"anyOf": [_TEXTS, {"type": "array", "items": _TEXTS}]},
        "What identifies the resource; alternatives are lists. `DG1-3 as CWE` is system and code, "
        "`NPU-1 as PL` a place, `=team` a word: there is one.",
    ),
    "within": _described({"enum": list(WITHIN)}, "What the key is relative to."),
    "scope": _described({"enum": list(SCOPES)}, "Whose the resource is."),
    "joins": _described(_TEXT, "Adds to the resource that this map made, if it made one."),
    "defaults": _described({"type": "object"}, "Elements that hold unless a rule says otherwise."),
    "needs": _described(_TEXTS, "Without these elements there is no resource."),
    "source": _described(_TEXT, "Where the map comes from."),
    "because": RULE_KEYS["because"],
    "rules": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": RULE_KEYS,
            "additionalProperties": False,
        },
    },
}

TABLE_KEYS: dict[str, dict[str, Any]] = {
    "table": _described(_TEXT, "The v2 table, `HL70004`."),
    "gives": _described({"enum": list(GIVES)}, "What a look-up yields."),
    "system": _described(_TEXT, "Code system of the codes it gives."),
    "pad": _described({"type": "integer"}, "Digits that a numeric code is padded to."),
    "default": _described(_TEXT, "Code for `unknown: default`."),
    "source": MAP_KEYS["source"],
    "because": RULE_KEYS["because"],
    "codes": _described(
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": ["string", "integer", "null"]},
                    {
                        "type": "object",
                        "properties": {
                            "code": {"type": ["string", "integer"]},
                            "system": _TEXT,
                            "display": _TEXT,
                            "because": _TEXT,
                        },
                        "required": ["code"],
                        "additionalProperties": False,
                    },
                ]
            },
        },
        "v2 code to FHIR code; null: known, and has no FHIR code.",
    ),
}

PLACEMENT_KEYS: dict[str, dict[str, Any]] = {
    "segment": _described(_TEXT, "The segment."),
    "after": _described(_TEXT, "Only after this segment: PID, PV1, PR1, IN1 …"),
    "when": RULE_KEYS["when"],
    "use": _described(_TEXTS, "The segment maps, in order."),
    "because": RULE_KEYS["because"],
    "off": RULE_KEYS["off"],
}

MESSAGE_KEYS: dict[str, dict[str, Any]] = {
    "because": RULE_KEYS["because"],
    "message": _described(_TEXT, "`ADT`, or a structure such as `ADT_A39`."),
    "extends": _described(_TEXT, "`ADT`: a message whose placements hold here, too."),
    "structural": _described(_TEXTS, "Fields that carry nothing beyond the message itself."),
    "segments": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": PLACEMENT_KEYS,
            "additionalProperties": False,
        },
    },
}

IDENTITY_KEYS: dict[str, dict[str, Any]] = {
    "patient": _described(
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"authority": _TEXT, "type": _TEXT, "any": {"type": "boolean"}},
                "additionalProperties": False,
            },
        },
        "Which identifier is the patient's; the first that matches, `own` is the site's authority.",
    ),
    "fields": _described(_TEXTS, "The fields that patient identifiers are sent in, best first."),
    "visit": _described(
        {"type": "array", "items": {"anyOf": [_TEXT, _TEXTS]}},
        "Which field identifies the visit, best first; a list is taken together.",
    ),
    "never": _described(_TEXTS, "Identifier types that never identify or link a person."),
    "authorities": _described(
        {"type": "object", "additionalProperties": _TEXT}, "Other names of an authority."
    ),
    "because": RULE_KEYS["because"],
}

SITE_KEYS: dict[str, dict[str, Any]] = {
    "extends": _described(
        _TEXT, "`vendors/<name>`: the layer between core and this site. A vendor has none."
    ),
    "snapshot": _described(
        _TEXTS,
        "Segments of which every message that has any lists all, `[DG1, AL1]`: what is not "
        "listed any more is withdrawn. Without this line segments add up. A site's line takes "
        "the place of its vendor's.",
    ),
    "because": RULE_KEYS["because"],
}

CASE_KEYS: dict[str, dict[str, Any]] = {
    "about": _described(_TEXT, "What the case shows, a sentence."),
    "site": _described(_TEXT, "The site whose layers apply; default: the folder's."),
    "message": _described(_TEXT, "The message, one segment a line."),
    "messages": _described(_TEXTS, "Several messages, folded together."),
    "zone": _described(_TEXT, "IANA zone of the site."),
    "authority": _described(_TEXT, "Assigning authority of the site."),
    "expect": _described(_TEXTS, "FHIRPath lines that hold for the Bundle of all resources."),
    "issues": _described(_TEXTS, "Codes of the issues, in order; without this line: none."),
    "unmapped": _described(_TEXTS, "Populated fields that no rule reads."),
    "golden": _described(
        {"anyOf": [_TEXT, {"type": "array"}]}, "The resources, or the name of a JSON file."
    ),
}

KINDS: dict[str, dict[str, dict[str, Any]]] = {
    "segments": MAP_KEYS,
    "tables": TABLE_KEYS,
    "messages": MESSAGE_KEYS,
    "identity": IDENTITY_KEYS,
    "site": SITE_KEYS,
    "cases": CASE_KEYS,
}


def json_schema(kind: str = "segments") -> dict[str, Any]:
    """JSON Schema (2020-12) of one kind of file: segments, tables, messages.

    >>> sorted(json_schema("site")["properties"])
    ['because', 'extends', 'snapshot']
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:segue:mapping:{kind}",
        "title": f"Segue mapping: {kind}",
        "type": "object",
        "properties": KINDS[kind],
        "additionalProperties": False,
    }


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written, for errors and for `explain`.

    Attributes:
        because: why that file says so.
    """

    layer: str
    file: str
    line: int
    because: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a segment map.

    Attributes:
        sources: fields, the first with content counts.
        each: whether all repetitions are taken.
        verb: `as`, `through` or `using`; `name` is what it names.
        where: fields and the values that they must hold.
        ordinal: number of the rule in its mapping set; traces and facts use it.
    """

    map: str
    name: str
    sources: tuple[str, ...]
    each: bool
    to: str
    verb: Literal["as", "through", "using"]
    target: str
    options: dict[str, Any]
    where: dict[str, tuple[str, ...]]
    unknown: Unknown
    keep_null: bool
    because: str
    place: Place
    ordinal: int = 0

    @property
    def label(self) -> str:
        """`core/PV1_Encounter.disposition`, as issues and traces name it."""
        return f"{self.place.layer}/{self.map}.{self.name}"


@dataclass(slots=True)
class SegmentMap:
    """What one segment says about one resource type.

    Attributes:
        off: names of rules that a layer switched off, and where.
        parts: where its other keys were said last.
    """

    name: str
    segment: str
    type: str
    key: list[list[str]]
    within: str
    scope: str
    joins: str | None
    defaults: dict[str, Any]
    needs: list[str]
    rules: dict[str, Rule]
    place: Place
    off: dict[str, Place] = field(default_factory=dict)
    parts: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class Table:
    """A code table.

    Attributes:
        codes: v2 code to Coding (`code`, and perhaps `system`, `display`), or None
            where a known code has no FHIR code.
        places: where each code was said; parts: where its other keys were said last.
    """

    name: str
    v2: str
    gives: Gives
    system: str
    pad: int
    default: str | None
    place: Place
    codes: dict[str, dict[str, str] | None] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    parts: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    """Which maps a segment goes through at a place of the message."""

    name: str
    segment: str
    after: str | None
    where: dict[str, tuple[str, ...]]
    use: tuple[str, ...]
    place: Place


@dataclass(slots=True)
class MessageMap:
    """The placements of a message type or structure.

    Attributes:
        structural: fields, and where each was said first.
        off: names of placements that a layer switched off, and where.
    """

    name: str
    place: Place
    extends: str = ""
    structural: dict[str, Place] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)
    off: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class IdentityRules:
    """How patients and visits are identified."""

    patient: list[dict[str, Any]] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    visit: list[tuple[str, ...]] = field(default_factory=list)
    never: frozenset[str] = frozenset()
    authorities: dict[str, str] = field(default_factory=dict)
    place: Place | None = None
