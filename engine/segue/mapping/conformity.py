"""Whether what a mapping reads and makes is there: in FHIR R4, in HL7 v2, in its own files.

A wrong element would be found by the first message, whose resources nobody could store, so
it is a fault. What may be meant (a field beyond the standard, a table that is not used yet)
is a doubt: it is said, and the mapping is used all the same.
"""

import json
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from segue.fhir.definitions import Definitions
from segue.fhir.profiles import definitions
from segue.mapping.fields import fields_of_key, split_field
from segue.mapping.language import Place, Rule, SegmentMap
from segue.mapping.read import CORE, Reading
from segue.mapping.source import Fault
from segue.model.hints import did_you_mean, nearest

_OWN = "details."
_LISTED = "listed"
"""How the functions are named that give a list."""

_CODES = frozenset({"code", "uri", "string"})


def faults(reading: Reading, standard: Path, known: Collection[str]) -> Iterator[Fault]:
    """Resources and elements that R4 does not have, segments that nobody sends.

    Args:
        reading: all layers, read.
        standard: `standard.json`: segments, and how many fields the standard gives them.
        known: labels of rules that are refused for something else.
    """
    types = definitions()
    segments = _segments(reading, standard)
    for place, path in _fields(reading):
        segment, _, _ = path.partition("-")
        if segment not in segments and not segment.startswith("Z"):
            text = f"{path}: no segment {segment}.{nearest(segment, segments)}"
            yield _fault(place, f"{text} One that is not known yet is placed in messages/ first.")
    for one in reading.maps.values():
        if one.type not in types.resources:
            hint = nearest(one.type, types.resources)
            yield _fault(one.place, f"maps: R4 has no resource {one.type}.{hint}")
            continue
        for part, names in (("defaults", list(one.defaults)), ("needs", one.needs)):
            for name in names:
                if wrong := _element(types, one.type, name):
                    yield _fault(one.parts.get(part, one.place), f"{part}: {wrong}")
        for rule in one.rules.values():
            wrong = _element(types, one.type, rule.to) or _shape(types, reading, one, rule)
            if wrong and rule.label not in known:
                yield _fault(rule.place, f"{one.name}.{rule.name}: to {rule.to}: {wrong}")


def doubts(reading: Reading, standard: Path) -> Iterator[Fault]:
    """What a site's layers say that probably nothing comes of."""
    known, segments = _sizes(standard), _segments(reading, standard)
    for place, path in _fields(reading):
        segment, number, _, _ = split_field(path)
        if segment not in segments:
            yield _fault(place, f"{path}: no message places {segment}")
        elif number > known.get(segment, number):
            yield _fault(place, f"{path}: {segment} has {known[segment]} fields in the standard")
    used = {n for m in reading.messages.values() for p in m.placements.values() for n in p.use}
    rules = [rule for one in reading.maps.values() for rule in one.rules.values()]
    heard = {rule.to for rule in rules if rule.place.layer == CORE}
    single = {(rule.map, rule.to): rule.name for rule in rules if _alone(rule)}
    through = {rule.target for rule in rules if rule.verb == "through"}
    for one in reading.maps.values():
        if one.place.layer != CORE and one.name not in used:
            text = f"{one.name}: no message uses it: add it to a placement in messages/"
            yield _fault(one.place, text)
    for rule in rules:
        if rule.place.layer != CORE and rule.to.startswith(_OWN) and rule.to not in heard:
            hint = nearest(rule.to, heard)
            yield _fault(rule.place, f"{rule.map}.{rule.name}: nothing reads {rule.to}.{hint}")
        other = single.get((rule.map, rule.to))
        if other and rule.place.layer != CORE and not rule.each and not rule.where:
            text = f"{rule.map}.{rule.name}: fills {rule.to}, as the core's rule '{other}' does"
            yield _fault(rule.place, f"{text}. Name it '{other}' to take its place.")
    for table in reading.tables.values():
        if table.place.layer != CORE and table.name not in through:
            others = [name for name in reading.tables if name != table.name]
            hint = nearest(table.name, others)
            yield _fault(table.place, f"{table.name}: no rule goes through this table.{hint}")
        if table.place.layer != CORE and table.gives != "code" and not table.system:
            bare = next((c for c, one in table.codes.items() if one and "system" not in one), None)
            if bare is not None:
                text = f"{table.name}.{bare}: a code without a `system:`"
                yield _fault(table.places[bare], text)
    for message in reading.messages.values():
        if message.place.layer != CORE and not message.extends:
            family = message.name.partition("_")[0]
            others = [name for name in reading.messages if name != message.name]
            hint = nearest(message.name, others)
            if hint and family not in others:
                yield _fault(message.place, f"{message.name}: only such messages.{hint}")
        for placement in message.placements.values():
            if placement.after and placement.after not in segments:
                hint = nearest(placement.after, segments)
                yield _fault(placement.place, f"after: no segment {placement.after}.{hint}")
    for name, place in reading.snapshot.items():
        if name not in segments:
            yield _fault(place, f"snapshot: no segment {name}.{nearest(name, segments)}")


def _fault(place: Place, text: str) -> Fault:
    return Fault(place.file, place.line, text)


def _element(types: Definitions, name: str, to: str) -> str:
    """What is wrong with a path of elements, "" where nothing is."""
    path = to.partition("#")[0]
    if path == "labels" or path.startswith(_OWN):
        return ""
    structure, inner = types.structure(name), ""
    for part in path.removeprefix("_").split("."):
        if inner:
            return f"{inner} holds a value, nothing is inside it"
        if part.endswith("[x]"):
            if not structure.keys_of(part.removesuffix("[x]")):
                return f"{structure.name} has no element {part}."
            continue
        found = structure.properties.get(part)
        if found is None:
            hint = did_you_mean(part, structure.properties)
            return f"{structure.name} has no element {part}.{hint}"
        if found.kind.primitive:
            inner = part
        else:
            structure = types.structure(found.kind.type)
    return ""


def _shape(types: Definitions, reading: Reading, one: SegmentMap, rule: Rule) -> str:
    """Whether what the rule gives fits the element: one value or a list, of which type."""
    path = rule.to.partition("#")[0]
    if path == "labels" or path.startswith(_OWN):
        return ""
    *above, last = path.removeprefix("_").split(".")
    structure = types.structure(one.type)
    for part in above:
        structure = types.structure(structure.properties[part].kind.type)
    found = structure.properties.get(last)
    if found is None:
        return ""
    if found.element.many and not rule.each and not rule.target.startswith(_LISTED):
        return f"{last} is a list: read the field with `each:`."
    if rule.each and not found.element.many:
        return f"{last} holds one value: read the field with `from:`."
    table = reading.tables.get(rule.target) if rule.verb == "through" else None
    if table is None:
        return ""
    gives, kind = str(rule.options.get("gives") or table.gives), found.kind.type
    if gives == kind or (gives == "code" and kind in _CODES):
        return ""
    return f"it is of type {kind}, and {table.name} gives {gives}. See `gives:`."


def _fields(reading: Reading) -> Iterator[tuple[Place, str]]:
    """The fields that the layers over the core read, and where that is said."""
    for one in reading.maps.values():
        for rule in one.rules.values():
            if rule.place.layer != CORE:
                yield from ((rule.place, path) for path in (*rule.sources, *rule.where))
        if one.place.layer != CORE:
            for parts in one.key:
                yield from ((one.place, p) for part in parts for p in fields_of_key(part))
    for message in reading.messages.values():
        for placement in message.placements.values():
            if placement.place.layer != CORE:
                yield from ((placement.place, path) for path in placement.where)
        for path, place in message.structural.items():
            if place.layer != CORE:
                yield place, path
    where = reading.identity.place
    if where is not None and where.layer != CORE:
        yield from ((where, path) for path in reading.identity.fields)
        yield from ((where, path) for entry in reading.identity.visit for path in entry)


def _alone(rule: Rule) -> bool:
    return rule.place.layer == CORE and not rule.each and not rule.where


def _segments(reading: Reading, standard: Path) -> set[str]:
    """Those of the standard that the core knows, and those that are placed in a message."""
    placed = {p.segment for m in reading.messages.values() for p in m.placements.values()}
    return {*_sizes(standard), *placed, *(one.segment for one in reading.maps.values())}


@lru_cache(maxsize=2)
def _sizes(standard: Path) -> dict[str, int]:
    facts = json.loads(standard.read_text(encoding="utf-8"))
    return {name: entry["fields"] for name, entry in facts.items()}
