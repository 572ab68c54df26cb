"""Mapping files to values: each kind of file, merged over the layers below by name."""

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue.mapping.fields import CompileError, compile_key, fields_of_key
from segue.mapping.language import (
    FIELD,
    KINDS,
    IdentityRules,
    MessageMap,
    Place,
    Placement,
    Rule,
    SegmentMap,
    Table,
)
from segue.mapping.shapes import check
from segue.mapping.source import Document, Fault, read_file
from segue.mapping.tables import Tools
from segue.model.hints import did_you_mean, nearest

_FIELD = re.compile(FIELD + r"\Z")
_ALMOST = re.compile(r"([A-Za-z][A-Za-z0-9]{2})[-. _]?([1-9][0-9]*(?:[.-][1-9][0-9]*){0,2})\Z")
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}\Z")
CASES = "cases"
CORE = "core"
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
    """What has been read so far, layer over layer.

    Attributes:
        unread: names of maps and tables whose file cannot be used: that is said once, not
            again by each rule that names them.
    """

    faults: list[Fault] = field(default_factory=list)
    maps: dict[str, SegmentMap] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    messages: dict[str, MessageMap] = field(default_factory=dict)
    identity: IdentityRules = field(default_factory=IdentityRules)
    snapshot: dict[str, Place] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
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
        for path in _files(layer.folder / folder):
            _read_one(reading, layer, path, folder, reader)
    path = layer.folder / "identity.yaml"
    if path.is_file():
        _read_one(reading, layer, path, "identity", _read_identity)
    _find_strays(reading, layer, {folder for folder, _ in kinds})


def _files(folder: Path) -> list[Path]:
    """The mapping files of a folder; hidden ones are an editor's."""
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def _find_strays(reading: Reading, layer: Layer, folders: Collection[str]) -> None:
    """Files that look like mapping files, and are where none is read."""
    for path in sorted(layer.folder.rglob("*.y*ml")):
        inside = path.relative_to(layer.folder)
        if any(part.startswith(".") for part in inside.parts) or CASES in inside.parts[:-1]:
            continue
        name = inside.as_posix()
        where = ", ".join(f"{folder}/" for folder in sorted({*folders, CASES}))
        if path.suffix not in (".yaml", ".yml"):
            continue
        if path.suffix == ".yml":
            text = "is not read: name it .yaml"
        elif len(inside.parts) == 1 and name not in ("identity.yaml", "site.yaml"):
            text = f"is not read here: it belongs into one of {where[:-1]}."
            text += nearest(name, ("identity.yaml", "site.yaml"))
        elif len(inside.parts) > 1 and inside.parent.as_posix() not in folders:
            text = f"is not read: no folder {inside.parent.as_posix()}/."
            text += did_you_mean(inside.parts[0], [*folders, CASES])
        else:
            continue
        reading.faults.append(Fault(f"mappings/{layer.name}/{name}", 1, text))


def _read_one(
    reading: Reading,
    layer: Layer,
    path: Path,
    kind: str,
    reader: Callable[[Reading, Layer, str, Document], None],
) -> None:
    name = f"{layer.name}/{path.relative_to(layer.folder).as_posix()}"
    document = read_file(path, f"mappings/{name}")
    reading.sources[name] = document.content
    reading.digest.update(name.encode() + b"\0" + document.content + b"\0")
    if not document.faults and check(document, KINDS[kind]):
        reader(reading, layer, path.stem, document)
    if document.faults:
        reading.unread.add(path.stem)
    reading.faults += document.faults


def _place(layer: Layer, document: Document, *path: str, own: str = "") -> Place:
    """Where something stands; why, as it says itself, else as its file does."""
    why = own or str(document.data.get("because") or "")
    return Place(layer.name, document.file, document.line(*path), why)


def _ask_why(layer: Layer, document: Document, why: object, path: tuple[str, ...], of: str) -> None:
    """A site says why it is otherwise: for the one who reads it in three years."""
    if layer.name != CORE and not (why or document.data.get("because")):
        document.fault(path, f"{of}: say why with `because:`")


def texts(value: Any) -> list[str]:
    """A text or a list of them as a list."""
    if value is None:
        return []
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def _where(document: Document, value: Any, path: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(texts(values))
        for name, values in (value or {}).items()
        if _check_field(document, name, (*path, name))
    }


def _check_field(document: Document, text: str, path: tuple[str, ...]) -> bool:
    if _FIELD.match(text):
        return True
    almost = _ALMOST.match(text.strip())
    hint = "Write SEG-field, such as PV1-19 or PV1-3.4."
    if almost:
        hint = f"Did you mean '{almost[1].upper()}-{almost[2].replace('-', '.')}'?"
    of = f"{path[1]}: " if path[0] in ("rules", "segments") and len(path) > 1 else f"{path[0]}: "
    document.fault(path, f"{of}{text} is no field. {hint}")
    return False


def _read_table(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    codes = data.get("codes") or {}
    table = reading.tables.get(name)
    if table is None:
        table = reading.tables[name] = Table(name, "", "code", "", 0, None, _place(layer, document))
    reasons = [isinstance(entry, dict) and entry.get("because") for entry in codes.values()]
    _ask_why(layer, document, bool(reasons) and all(reasons), (), f"the table {name} of a site")
    table.v2 = str(data.get("table") or table.v2)
    table.gives = data.get("gives") or table.gives
    table.system = str(data.get("system") or table.system)
    table.pad = data.get("pad") or table.pad
    table.default = str(data["default"]) if data.get("default") is not None else table.default
    for part in ("gives", "system", "pad", "default"):
        if data.get(part) is not None:
            table.parts[part] = _place(layer, document, part)
    for code, entry in codes.items():
        own = str(entry.get("because") or "") if isinstance(entry, dict) else ""
        table.places[code] = _place(layer, document, "codes", code, own=own)
        if entry is None:
            table.codes[code] = None
        elif isinstance(entry, dict):
            table.codes[code] = {
                k: str(v) for k, v in entry.items() if k != "because" and v is not None
            }
        else:
            table.codes[code] = {"code": str(entry)}


def _read_map(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    known = reading.maps.get(name)
    found = _MAPS.match(str(data.get("maps") or ""))
    if known is None and not found:
        text = "maps: write the segment and the resource, PV1 -> Encounter."
        if "maps" not in data:
            text += f" No lower layer has a map {name}.{nearest(name, reading.maps)}"
        document.fault(("maps",), text)
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
    of_map = {key: value for key, value in data.items() if key not in ("maps", "rules", "source")}
    if of_map:
        _ask_why(layer, document, "", (next(iter(of_map)),), f"the map {name} of a site")
    if data.get("key") is not None:
        known.key = _read_key(document, data["key"], known)
    known.within = data.get("within") or known.within
    known.scope = data.get("scope") or known.scope
    known.joins = str(data["joins"]) if data.get("joins") is not None else known.joins
    known.defaults = {**known.defaults, **(data.get("defaults") or {})}
    if data.get("needs") is not None:
        known.needs = texts(data["needs"])
    for part in ("key", "within", "scope", "joins", "defaults", "needs"):
        if data.get(part) is not None:
            known.parts[part] = _place(layer, document, part)
    for rule_name, rule in (data.get("rules") or {}).items():
        if rule is not None:
            _read_rule(layer, document, known, rule_name, rule)


def _read_key(document: Document, value: list[Any], known: SegmentMap) -> list[list[str]]:
    if not value:
        document.fault(("key",), "key: a list of fields is expected here")
        return []
    alternatives = value if isinstance(value[0], list) else [value]
    key = [texts(parts) for parts in alternatives]
    paths = [path for parts in key for text in parts for path in fields_of_key(text)]
    known_fields = [_check_field(document, path, ("key",)) for path in paths]
    if not all(known_fields):
        return []
    try:
        compile_key(key, known.segment, Tools())
    except CompileError as error:
        document.fault(("key",), str(error))
        return []
    return key


def _read_rule(
    layer: Layer, document: Document, known: SegmentMap, name: str, data: dict[str, Any]
) -> None:
    path = ("rules", name)
    because = str(data.get("because") or "")
    lower = known.rules.get(name)
    if data.get("off") is True and lower is None:
        document.fault(path, f"{name}: nothing to switch off.{did_you_mean(name, known.rules)}")
        return
    of = f"{name} replaces {lower.label}" if lower is not None else f"the rule {name} of a site"
    _ask_why(layer, document, because, path, of)
    if data.get("off") is True:
        known.rules.pop(name, None)
        known.off[name] = _place(layer, document, *path, own=because)
        return
    source = data.get("each") or data.get("from")
    if ("each" in data) == ("from" in data) or source is None:
        document.fault(path, f"{name}: needs either `from:` or `each:`, a field")
        return
    sources = tuple(part.strip() for part in str(source).split("|"))
    said = (*path, "each" if "each" in data else "from")
    known_fields = [_check_field(document, one, said) for one in sources]
    if not all(known_fields):
        return
    verbs = [verb for verb in ("as", "through", "using") if data.get(verb) is not None]
    if len(verbs) > 1:
        document.fault(path, f"{name}: {' and '.join(verbs)} exclude each other")
        return
    verb: Any = verbs[0] if verbs else "as"
    to = str(data.get("to") or "")
    if not _TO.match(to):
        document.fault((*path, "to"), f"{name}: `to:` needs an element, such as period.start")
        return
    if data.get("unknown") is not None and verb != "through":
        document.fault((*path, "unknown"), f"{name}: `unknown:` goes with `through:`")
    known.rules[name] = Rule(
        map=known.name,
        name=name,
        sources=sources,
        each="each" in data,
        to=to,
        verb=verb,
        target=str(data.get(verb) or "ST"),
        options=data.get("with") or {},
        where=_where(document, data.get("when"), (*path, "when")),
        unknown=data.get("unknown") or "omit",
        keep_null=data.get("null") == "keep",
        because=because,
        place=_place(layer, document, *path),
    )


def _read_message(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    said = str(data.get("message") or name)
    if said != name:
        document.fault(("message",), f"message: the file is {name}.yaml, not {said}.yaml")
    lower = reading.messages.get(name)
    message = reading.messages[name] = lower or MessageMap(name, place=_place(layer, document))
    if data.get("extends") is not None:
        message.extends, message.place = str(data["extends"]), _place(layer, document, "extends")
    structural = [
        t for t in texts(data.get("structural")) if _check_field(document, t, ("structural",))
    ]
    if structural or data.get("extends"):
        _ask_why(layer, document, "", ("structural",), f"the message {name} of a site")
    for path in structural:
        message.structural.setdefault(path, _place(layer, document, "structural"))
    for key, entry in (data.get("segments") or {}).items():
        if entry is not None:
            _read_placement(layer, document, message, key, entry)


def _read_placement(
    layer: Layer, document: Document, message: MessageMap, key: str, entry: dict[str, Any]
) -> None:
    path = ("segments", key)
    because = str(entry.get("because") or "")
    _ask_why(layer, document, because, path, f"the placement {key} of a site")
    place = _place(layer, document, *path, own=because)
    if entry.get("off") is True:
        if message.placements.pop(key, None) is None:
            hint = did_you_mean(key, message.placements)
            document.fault(path, f"{key}: nothing to switch off.{hint}")
        message.off[key] = place
        return
    segment = str(entry.get("segment") or "")
    if not _SEGMENT.match(segment):
        hint = f" Did you mean '{segment.upper()}'?" if _SEGMENT.match(segment.upper()) else ""
        document.fault(path, f"{key}: `segment:` needs a segment, such as PV1.{hint}")
        return
    message.placements[key] = Placement(
        name=key,
        segment=segment,
        after=str(entry["after"]) if entry.get("after") is not None else None,
        where=_where(document, entry.get("when"), (*path, "when")),
        use=tuple(texts(entry.get("use"))),
        place=place,
    )


def _read_identity(reading: Reading, layer: Layer, name: str, document: Document) -> None:
    data = document.data
    identity = reading.identity
    identity.place = _place(layer, document)
    _ask_why(layer, document, "", (), "the identity of a site")
    if data.get("patient") is not None:
        identity.patient = [
            {k: v if isinstance(v, bool) else str(v) for k, v in rule.items()}
            for rule in data["patient"]
        ]
        if not identity.patient:
            document.fault(("patient",), "patient: without a rule nobody has an identity")
    if data.get("fields") is not None:
        identity.fields = texts(data["fields"])
        for text in identity.fields:
            _check_field(document, text, ("fields",))
    if data.get("visit") is not None:
        visit = data["visit"] if isinstance(data["visit"], list) else [data["visit"]]
        identity.visit = [tuple(texts(entry)) for entry in visit]
        for index, entry in enumerate(identity.visit):
            for text in entry:
                _check_field(document, text, ("visit", str(index)))
    if data.get("never") is not None:
        identity.never = frozenset(texts(data["never"]))
    names = {k: str(v) for k, v in (data.get("authorities") or {}).items()}
    identity.authorities = {**identity.authorities, **names}
