"""A mapping set: core, then vendor, then site, loaded and compiled; faults have lines."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from segue.mapping import conformity
from segue.mapping.compile import Plan, Program, compile_map, compile_plan
from segue.mapping.context import Step
from segue.mapping.language import (
    SITE_KEYS,
    IdentityRules,
    MessageMap,
    Place,
    Rule,
    SegmentMap,
    Table,
)
from segue.mapping.read import Layer, Reading, read_layer, texts
from segue.mapping.shapes import check
from segue.mapping.source import Document, Fault, MappingError, read_file
from segue.mapping.tables import Tools
from segue.mapping.values import Memo
from segue.mapping.walk import Memory, memory
from segue.mapping.widths import Widths
from segue.model.hints import did_you_mean

MOST_SITES = 64
WIDTHS = ("standard", "datatypes")
"""Files that say what the fields of the standard have room for."""
_SEGMENT = "[A-Z][A-Z0-9]{2}"
Room = tuple[Any, dict[Any, Any], list[Memo], Memory]


@dataclass(slots=True)
class MappingSet:
    """The mapping of one site, compiled.

    Attributes:
        site: its name, None: core alone.
        digest: identifies the exact files, 32 hexadecimal digits.
        layers: names of the layers, lowest first.
        rules: all rules by ordinal.
        messages: their placements, as the files have them.
        plans: message type or structure (`ADT`, `ADT_A39`) to its plan.
        snapshot: segments of which every message lists all, with where that is said.
        sources: the files it is made of, by layer and path, `core/segments/…`.
        doubts: what the site's layers say that probably nothing comes of.
        caches: values that depend on the site's settings, by identity of those.
    """

    site: str | None
    digest: str
    layers: list[str]
    rules: list[Rule]
    maps: dict[str, SegmentMap]
    tables: dict[str, Table]
    programs: dict[str, Program]
    messages: Mapping[str, MessageMap]
    plans: dict[str, Plan]
    identity: IdentityRules
    snapshot: Mapping[str, Place] = field(default_factory=dict)
    sources: Mapping[str, bytes] = field(default_factory=dict)
    doubts: Sequence[Fault] = ()
    caches: dict[int, Room] = field(default_factory=dict)

    def remember(self, settings: object) -> Room:
        """Room for what depends on a site's settings; holds them, so their id stays theirs."""
        if len(self.caches) >= MOST_SITES:
            self.caches.clear()
        room: Room = (settings, {}, [Memo() for _ in self.rules], memory())
        self.caches[id(settings)] = room
        return room

    def entry_of(self, step: Step) -> str:
        """`file:line` of the entry that a step found in a code table; "" without."""
        verb, _, name = step.verb.partition(" ")
        if verb != "through":
            return ""
        table, code = self.tables[name], step.raw.partition("^")[0]
        place = table.places.get(code) or table.places.get(code.zfill(table.pad))
        return f"{place.file}:{place.line}" if place else ""

    def plan(self, kind: str, structure: str = "") -> Plan:
        """The plan of a structure of a message type, else of the type."""
        own = self.plans.get(structure) if structure.startswith(kind) else None
        return own or self.plans[kind]


@lru_cache(maxsize=1)
def standard_widths() -> Widths:
    """What fields have room for, by the standard."""
    read = (json.loads((shipped() / f"{name}.json").read_text(encoding="utf-8")) for name in WIDTHS)
    return Widths(*read)


def shipped() -> Path:
    """The folder `mappings`, of the installed wheel or of the checkout.

    Raises:
        MappingError: neither is there.
    """
    wheel = Path(str(resources.files("segue"))) / "data" / "mappings"
    checkout = Path(__file__).resolve().parents[3] / "mappings"
    for folder in (wheel, checkout):
        if (folder / "core").is_dir():
            return folder
    raise MappingError([Fault(str(wheel), 1, "the shipped maps are missing: reinstall segue")])


def load(core: Path, sites: Sequence[Path] = (), site: str | None = None) -> MappingSet:
    """Load and compile the mapping of a site.

    Args:
        core: the shipped `mappings/core`.
        sites: folders that hold `sites/<site>` and `vendors/<name>`; searched in
            order, after the folder that `core` lies in.
        site: the site; None or one without files: core alone.

    Raises:
        MappingError: some file is wrong; all faults are named, with file and line.
    """
    reading = Reading()
    layers = _layers(reading, core, sites, site)
    for layer in layers:
        read_layer(reading, layer)
    reading.faults += [fault for document in reading.settings for fault in document.faults]
    rules: list[Rule] = []
    tools = Tools(reading.tables, standard_widths())
    programs: dict[str, Program] = {}
    faulty: set[str] = set()
    for name in sorted(reading.maps):
        segment_map = reading.maps[name]
        for key, rule in segment_map.rules.items():
            segment_map.rules[key] = replace(rule, ordinal=len(rules))
            rules.append(segment_map.rules[key])
        program, faults = compile_map(segment_map, tools)
        programs[name] = program
        for rule, text in faults:
            faulty.add(rule.label)
            if rule.target in reading.unread:
                continue
            reading.faults.append(
                Fault(rule.place.file, rule.place.line, f"{rule.map}.{rule.name}: {text}")
            )
    for program in programs.values():
        if program.joins in programs:
            program.joins_scope = programs[program.joins].scope
    _check_references(reading)
    reading.faults += conformity.faults(reading, shipped() / "standard.json", faulty)
    if reading.faults:
        raise MappingError(sorted(reading.faults, key=lambda fault: (fault.file, fault.line)))
    plans = {}
    for name in reading.messages:
        plans[name] = compile_plan(name, _family(reading, name), programs)
        plans[name].snapshot = frozenset(reading.snapshot)
    return MappingSet(
        site=site,
        digest=reading.digest.hexdigest()[:32],
        layers=[layer.name for layer in layers],
        rules=rules,
        maps=reading.maps,
        tables=reading.tables,
        programs=programs,
        messages=reading.messages,
        plans=plans,
        identity=reading.identity,
        snapshot=reading.snapshot,
        sources=reading.sources,
        doubts=list(conformity.doubts(reading, shipped() / "standard.json")),
    )


def _family(reading: Reading, name: str) -> list[MessageMap]:
    """The messages whose placements hold for one, the most general first."""
    found: dict[str, MessageMap] = {}
    for one in (name.partition("_")[0], name):
        message = reading.messages.get(one)
        if message is not None:
            if message.extends in reading.messages:
                found.setdefault(message.extends, reading.messages[message.extends])
            found[one] = message
    return list(found.values())


def _layers(reading: Reading, core: Path, sites: Sequence[Path], site: str | None) -> list[Layer]:
    layers = [Layer("core", core)]
    if not core.is_dir():
        reading.faults.append(Fault(str(core), 1, "no such folder; it holds the shipped maps"))
        raise MappingError(reading.faults)
    if site is None:
        return layers
    roots = [core.parent, *sites]
    own = next((r / "sites" / site for r in reversed(roots) if (r / "sites" / site).is_dir()), None)
    if own is None:
        return layers
    layer = Layer(f"sites/{site}", own)
    settings = _settings(reading, layer)
    vendor = settings.data.get("extends") if settings is not None else None
    if settings is not None and vendor:
        folder = next((r / vendor for r in reversed(roots) if (r / vendor).is_dir()), None)
        if folder is None or not str(vendor).startswith("vendors/"):
            known = [p for r in roots for p in (r / "vendors").glob("*") if p.is_dir()]
            hint = did_you_mean(str(vendor), [f"vendors/{p.name}" for p in known])
            settings.fault(("extends",), f"extends {vendor}: no such layer.{hint}")
        else:
            layers.append(Layer(str(vendor), folder))
            below = _settings(reading, layers[-1])
            if below is not None:
                if "extends" in below.data:
                    text = "extends: a vendor's layer stands on the core alone; leave this out"
                    below.fault(("extends",), text)
                _list_whole(reading, layers[-1], below)
    layers.append(layer)
    if settings is not None:
        _list_whole(reading, layer, settings)
    return layers


def _settings(reading: Reading, layer: Layer) -> Document | None:
    """The `site.yaml` of a site or a vendor; None without one that can be read."""
    path = layer.folder / "site.yaml"
    if not path.is_file():
        return None
    name = f"{layer.name}/site.yaml"
    document = read_file(path, f"mappings/{name}")
    reading.sources[name] = document.content
    reading.digest.update(name.encode() + b"\0" + document.content + b"\0")
    if not document.faults and document.data is None:
        document.data = {}
    readable = not document.faults and check(document, SITE_KEYS)
    if readable and document.data.get("snapshot") is not None and not document.data.get("because"):
        document.fault(("snapshot",), f"snapshot of {layer.name}: say why with `because:`")
    reading.settings.append(document)
    return document if readable else None


def _list_whole(reading: Reading, layer: Layer, document: Document) -> None:
    """Take over the segments that list all there is (`snapshot:`), in place of the vendor's."""
    if "snapshot" not in document.data:
        return
    names = texts(document.data["snapshot"])
    if not all(re.fullmatch(_SEGMENT, n) for n in names):
        document.fault(("snapshot",), "snapshot: names of segments are expected, [DG1, AL1]")
        return
    why = str(document.data.get("because", ""))
    place = Place(layer.name, document.file, document.line("snapshot"), why)
    reading.snapshot = dict.fromkeys(names, place)


def _check_references(reading: Reading) -> None:
    for message in reading.messages.values():
        if message.extends and message.extends not in reading.messages:
            reading.faults.append(
                Fault(
                    message.place.file,
                    message.place.line,
                    f"extends {message.extends}: no such message."
                    + did_you_mean(message.extends, reading.messages),
                )
            )
        for placement in message.placements.values():
            for name in placement.use:
                if name in reading.unread:
                    continue
                if name not in reading.maps:
                    reading.faults.append(
                        Fault(
                            placement.place.file,
                            placement.place.line,
                            f"{placement.name}: use {name}: no such map."
                            + did_you_mean(name, reading.maps),
                        )
                    )
                elif reading.maps[name].segment != placement.segment:
                    reading.faults.append(
                        Fault(
                            placement.place.file,
                            placement.place.line,
                            f"{placement.name}: {name} maps {reading.maps[name].segment}, "
                            f"not {placement.segment}",
                        )
                    )
    for segment_map in reading.maps.values():
        if segment_map.joins and segment_map.joins not in {*reading.maps, *reading.unread}:
            reading.faults.append(
                Fault(
                    segment_map.place.file,
                    segment_map.place.line,
                    f"joins {segment_map.joins}: no such map."
                    + did_you_mean(segment_map.joins, reading.maps),
                )
            )
