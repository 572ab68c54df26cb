"""Mapping files to values: each kind of file, merged over the layers below by name."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segue.mapping.fields import CompileError, compile_key, fields_of_key
from segue.mapping.language import (
    FIELD,
    GIVES,
    IDENTITY_KEYS,
    MAP_KEYS,
    MESSAGE_KEYS,
    PLACEMENT_KEYS,
    RULE_KEYS,
    SCOPES,
    TABLE_KEYS,
    UNKNOWN,
    WITHIN,
    IdentityRules,
    MessageMap,
    Place,
    Placement,
    Rule,
    SegmentMap,
    Table,
)
from segue.mapping.source import Document, Fault, read_file
from segue.mapping.tables import Tools
from segue.model.hints import did_you_mean

_FIELD = re.compile(FIELD + r"\Z")
_MAPS = re.compile(r"([A-Z][A-Z0-9]{2}) -> ([A-Z][A-Za-z]+)\Z")
_TO = re.compile(
    r"(labels|details\.[a-z_]+|_?[a-z][A-Za-z.]*(\[x\])?(#([A-Za-z0-9-]+|\{\w+\}))?)\Z"
)


VISIT_SCOPED = frozenset({"Encounter", "Condition", "Procedure", "Observation"})
"""Types whose resources belong to a visit unless their map says otherwise."""


@dataclass(slots=True)
class Layer:
    """A folder of mapping files: `core`, `vendors/<name>`, `sites/<name>`."""

    name: str
    folder: Path


@dataclass(slots=True)
class Reading:
    """What has been read so far, layer over layer."""

    faults: list[Fault] = field(default_factory=list)
    maps: dict[str, SegmentMap] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    messages: dict[str, MessageMap] = field(default_factory=dict)
    identity: IdentityRules = field(default_factory=IdentityRules)
    snapshot: dict[str, Place] = field(default_factory=dict)
    settings: list[Document] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)
    sources: dict[str, bytes] = field(default_factory=dict)


def read_layer(reading: Reading, layer: Layer) -> None:
    """Read all files of a layer over what the layers below said."""
    kinds: list[tuple[str, Callable[[Reading, Layer, str, Document], None]]] = [
        ("tables", _read_table),
        ("segments", _read_map),
        ("messages", _read_message),
    ]
    for folder, reader in kinds:
        for path in sorted((layer.folder / folder).glob("*.yaml")):
            _read_one(reading, layer, path, reader)
    path = layer.folder / "identity.yaml"
    if path.is_file():
        _read_one(reading, layer, path, _read_identity)


def _read_one(
    reading: Reading,
    layer: Layer,
    path: Path,
    reader: Callable[[Reading, Layer, str, Document], None],
) -> None:
    name = f"{layer.name}/{path.relative_to(layer.folder).as_posix()}"
    document = read_file(path, f"mappings/{name}")
    reading.sources[name] = content = path.read_bytes()
    reading.digest.update(name.encode() + b"\0" + content + b"\0")
    if not document.faults:
        if isinstance(document.data, dict):
            reader(reading, layer, path.stem, document)
        else:
            document.fault((), "a mapping of keys is expected here")
    reading.faults += document.faults


def known_keys(
    document: Document, data: Any, known: Mapping[str, Any], path: tuple[str, ...]
) -> bool:
    """Whether it is a mapping; unknown keys become faults."""
    if not isinstance(data, dict):
        document.fault(path, f"{path[-1] if path else 'file'}: keys and values are expected here")
        return False
    for key in data:
        if key not in known:
            document.fault((*path, key), f"{key}: unknown key.{did_you_mean(key, known)}")
    return True


def _place(layer: Layer, document: Document, *path: str) -> Place:
    why = document.data.get("because", "") if isinstance(document.data, dict) else ""
    return Place(layer.name, document.file, document.line(*path), str(why))


def _texts(document: Document, value: Any, path: tuple[str, ...]) -> list[str]:
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    if any(isinstance(v, (dict, list, bool)) or v is None for v in values):
        document.fault(path, f"{path[-1]}: texts are expected here")
        return []
    return [str(v) for v in values]


def _choice(
    document: Document, value: Any, known: Sequence[str], path: tuple[str, ...], default: str
) -> Any:
    if value is None:
        return default
    if value not in known:
        document.fault(path, f"{path[-1]}: {value} is none of {', '.join(known)}")
        return default
    return value


def _where(document: Document, value: Any, path: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        document.fault(path, "when: fields and their values are expected here, {PV1-2: [I, E]}")
        return {}
    where = {}
    for name, values in value.items():
        if _check_field(document, name, (*path, name)):
            where[name] = tuple(_texts(document, values, (*path, name)))
    return where


def _check_field(document: Document, text: str, path: tuple[str, ...]) -> bool:
    if _FIELD.match(text):
        return True
    document.fault(path, f"{text}: no field. Write SEG-field, such as PV1-19 or PV1-3.4.")
    return False


def _read_table(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    known_keys(document, data, TABLE_KEYS, ())
    table = reading.tables.get(name)
    if table is None:
        table = reading.tables[name] = Table(name, "", "code", "", 0, None)
    elif not data.get("because"):
        document.fault((), f"changes the table {name} of a lower layer: say why with `because:`")
    table.v2 = str(data.get("table", table.v2))
    table.gives = _choice(document, data.get("gives"), GIVES, ("gives",), table.gives)
    table.system = str(data.get("system", table.system))
    pad = data.get("pad", table.pad)
    if isinstance(pad, int):
        table.pad = pad
    else:
        document.fault(("pad",), "pad: a number of digits is expected here")
    table.default = str(data["default"]) if "default" in data else table.default
    codes = data.get("codes") or {}
    if not isinstance(codes, dict):
        document.fault(("codes",), "codes: v2 codes and FHIR codes are expected here")
        return
    for code, entry in codes.items():
        place = table.places[code] = _place(layer, document, "codes", code)
        if entry is None:
            table.codes[code] = None
        elif isinstance(entry, dict):
            known = ("code", "system", "display", "because")
            known_keys(document, entry, dict.fromkeys(known), ("codes", code))
            if "code" not in entry:
                document.fault(("codes", code), f"{code}: without `code:`")
                continue
            if "because" in entry:
                table.places[code] = replace(place, because=str(entry["because"]))
            table.codes[code] = {k: str(v) for k, v in entry.items() if k != "because"}
        else:
            table.codes[code] = {"code": str(entry)}


def _read_map(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    known_keys(document, data, MAP_KEYS, ())
    known = reading.maps.get(name)
    found = _MAPS.match(str(data.get("maps", "")))
    if known is None and not found:
        document.fault(("maps",), "maps: write the segment and the resource, PV1 -> Encounter")
        return
    if known is not None and found and (found[1], found[2]) != (known.segment, known.type):
        document.fault(
            ("maps",), f"maps: {name} is {known.segment} -> {known.type} in a lower layer"
        )
    if known is None:
        assert found is not None
        scope = "visit" if found[2] in VISIT_SCOPED else "person"
        known = reading.maps[name] = SegmentMap(
            name=name,
            segment=found[1],
            type=found[2],
            key=[],
            within="visit" if scope == "visit" else "patient",
            scope=scope,
            joins=None,
            defaults={},
            needs=[],
            rules={},
            place=_place(layer, document),
        )
    if "key" in data:
        known.key = _read_key(document, data["key"], known)
    known.within = _choice(document, data.get("within"), WITHIN, ("within",), known.within)
    known.scope = _choice(document, data.get("scope"), SCOPES, ("scope",), known.scope)
    known.joins = str(data["joins"]) if "joins" in data else known.joins
    if isinstance(data.get("defaults", {}), dict):
        known.defaults = {**known.defaults, **data.get("defaults", {})}
    else:
        document.fault(("defaults",), "defaults: elements and values are expected here")
    if "needs" in data:
        known.needs = _texts(document, data["needs"], ("needs",))
    rules = data.get("rules") or {}
    if not isinstance(rules, dict):
        document.fault(("rules",), "rules: names and rules are expected here")
        return
    for rule_name, rule in rules.items():
        _read_rule(layer, document, known, rule_name, rule)


def _read_key(document: Document, value: Any, known: SegmentMap) -> list[list[str]]:
    if not isinstance(value, list) or not value:
        document.fault(("key",), "key: a list of fields is expected here")
        return []
    alternatives = value if isinstance(value[0], list) else [value]
    key = []
    for parts in alternatives:
        texts = _texts(document, parts, ("key",))
        for text in texts:
            for path in fields_of_key(text):
                _check_field(document, path, ("key",))
        key.append(texts)
    if not document.faults:
        try:
            compile_key(key, known.segment, Tools())
        except CompileError as error:
            document.fault(("key",), str(error))
    return key


def _read_rule(layer: Layer, document: Document, known: SegmentMap, name: str, data: Any) -> None:
    path = ("rules", name)
    if not known_keys(document, data, RULE_KEYS, path):
        return
    overrides = name in known.rules and known.rules[name].place.layer != layer.name
    if overrides and not data.get("because"):
        lower = known.rules[name].label
        document.fault(path, f"{name} replaces {lower}: say why with `because:`")
    if data.get("off") is True:
        if name not in known.rules:
            document.fault(path, f"{name}: nothing to switch off.{did_you_mean(name, known.rules)}")
        known.rules.pop(name, None)
        known.off[name] = replace(
            _place(layer, document, *path), because=str(data.get("because", ""))
        )
        return
    source = data.get("each", data.get("from"))
    if ("each" in data) == ("from" in data) or not isinstance(source, str):
        document.fault(path, f"{name}: needs either `from:` or `each:`, a field")
        return
    sources = tuple(part.strip() for part in source.split("|"))
    known_fields = [_check_field(document, one, (*path, "from")) for one in sources]
    if not all(known_fields):
        return
    verbs = [verb for verb in ("as", "through", "using") if verb in data]
    if len(verbs) > 1:
        document.fault(path, f"{name}: {' and '.join(verbs)} exclude each other")
        return
    verb: Any = verbs[0] if verbs else "as"
    to = data.get("to")
    if not isinstance(to, str) or not _TO.match(to):
        document.fault((*path, "to"), f"{name}: `to:` needs an element, such as period.start")
        return
    options = data.get("with") or {}
    if not isinstance(options, dict):
        document.fault((*path, "with"), "with: options and values are expected here")
        options = {}
    if "unknown" in data and verb != "through":
        document.fault((*path, "unknown"), f"{name}: `unknown:` goes with `through:`")
    known.rules[name] = Rule(
        map=known.name,
        name=name,
        sources=sources,
        each="each" in data,
        to=to,
        verb=verb,
        target=str(data.get(verb, "ST")),
        options=options,
        where=_where(document, data.get("when"), (*path, "when")),
        unknown=_choice(document, data.get("unknown"), UNKNOWN, (*path, "unknown"), "omit"),
        keep_null=_choice(document, data.get("null"), ("delete", "keep"), (*path, "null"), "delete")
        == "keep",
        because=str(data.get("because", "")),
        place=_place(layer, document, *path),
    )


def _read_message(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    known_keys(document, data, MESSAGE_KEYS, ())
    message = reading.messages.setdefault(name, MessageMap(name))
    message.extends = str(data.get("extends", message.extends))
    structural = _texts(document, data.get("structural"), ("structural",))
    message.structural += [t for t in structural if _check_field(document, t, ("structural",))]
    segments = data.get("segments") or {}
    if not isinstance(segments, dict):
        document.fault(("segments",), "segments: names and placements are expected here")
        return
    for key, entry in segments.items():
        path = ("segments", key)
        if not known_keys(document, entry, PLACEMENT_KEYS, path):
            continue
        if entry.get("off") is True:
            message.placements.pop(key, None)
            continue
        segment = entry.get("segment")
        if not isinstance(segment, str) or not re.fullmatch(r"[A-Z][A-Z0-9]{2}", segment):
            document.fault(path, f"{key}: `segment:` needs a segment, such as PV1")
            continue
        message.placements[key] = Placement(
            name=key,
            segment=segment,
            after=str(entry["after"]) if "after" in entry else None,
            where=_where(document, entry.get("when"), (*path, "when")),
            use=tuple(_texts(document, entry.get("use"), (*path, "use"))),
            place=_place(layer, document, *path),
        )


def _read_identity(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    known_keys(document, data, IDENTITY_KEYS, ())
    identity = reading.identity
    identity.place = _place(layer, document)
    if "patient" in data:
        rules = data["patient"]
        if isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules):
            identity.patient = rules
            for index, rule in enumerate(rules):
                known = dict.fromkeys(("authority", "type", "any"))
                known_keys(document, rule, known, ("patient", str(index)))
        else:
            document.fault(("patient",), "patient: a list of rules, [{authority: own, type: MR}]")
    if "fields" in data:
        identity.fields = _texts(document, data["fields"], ("fields",))
    if "visit" in data:
        visit = data["visit"] if isinstance(data["visit"], list) else [data["visit"]]
        identity.visit = [
            tuple(_texts(document, entry, ("visit", str(i)))) for i, entry in enumerate(visit)
        ]
    for text in [*identity.fields, *(path for entry in identity.visit for path in entry)]:
        _check_field(document, text, ("visit",))
    if "never" in data:
        identity.never = frozenset(_texts(document, data["never"], ("never",)))
    if isinstance(data.get("authorities"), dict):
        identity.authorities = {
            **identity.authorities,
            **{k: str(v) for k, v in data["authorities"].items()},
        }
