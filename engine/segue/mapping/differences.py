"""What a site's mapping changes of the core: rules, maps, tables, messages, identity."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from segue.mapping.language import Placement, Rule, SegmentMap, Table
from segue.mapping.load import MappingSet

_MAP = ("key", "within", "scope", "joins", "defaults", "needs")
_TABLE = ("gives", "system", "pad", "default")


class Difference(NamedTuple):
    """One thing that is otherwise than in the core.

    Attributes:
        what: of which kind; name: `PV1_Encounter.class`, `HL70004_ActCode.OBS`, `AL1`.
        change: added, changed, or off.
        before, after: as it reads, "" where there is nothing.
        where: `file:line` of the layer that says so; because: its reason.
    """

    what: Literal["rule", "map", "code", "table", "placement", "structural", "snapshot", "identity"]
    name: str
    change: Literal["added", "changed", "off"]
    before: str
    after: str
    where: str
    because: str = ""


def differences(core: MappingSet, site: MappingSet) -> list[Difference]:
    """All that a site's mapping set has otherwise than the core, in order of name."""
    found = [
        *_rules(core, site),
        *_parts("map", _MAP, core.maps, site.maps),
        *_codes(core, site),
        *_parts("table", _TABLE, core.tables, site.tables),
        *_placements(core, site),
        *_structural(core, site),
    ]
    return [*sorted(found), *_snapshot(site), *_identity(core, site)]


def _rules(core: MappingSet, site: MappingSet) -> Iterator[Difference]:
    before, after = (
        {f"{name}.{key}": rule for name, m in s.maps.items() for key, rule in m.rules.items()}
        for s in (core, site)
    )
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if new is None:
            assert old is not None
            of_map, _, key = name.partition(".")
            place = site.maps[of_map].off[key]
            at = f"{place.file}:{place.line}"
            yield Difference("rule", name, "off", _rule(old), "", at, place.because)
        elif old is None:
            yield Difference("rule", name, "added", "", _rule(new), _at(new), _why(new))
        elif _rule(old) != _rule(new):
            shown = _rule(old), _rule(new)
            yield Difference("rule", name, "changed", *shown, _at(new), _why(new))


def _parts(
    what: Literal["map", "table"],
    parts: Sequence[str],
    core: Mapping[str, SegmentMap | Table],
    site: Mapping[str, SegmentMap | Table],
) -> Iterator[Difference]:
    """What a map says beside its rules, or a table beside its codes."""
    for name, new in site.items():
        old = core.get(name)
        for part in parts:
            was, now = (_plain(getattr(one, part, None)) for one in (old, new))
            place = new.parts.get(part)
            if old is not None and place is not None and was != now:
                at = f"{place.file}:{place.line}"
                yield Difference(what, f"{name}.{part}", "changed", was, now, at, place.because)


def _structural(core: MappingSet, site: MappingSet) -> Iterator[Difference]:
    for name, message in site.messages.items():
        known = core.messages.get(name)
        for path, place in message.structural.items():
            if known is None or path not in known.structural:
                at = f"{place.file}:{place.line}"
                of = f"{name}.{path}"
                yield Difference("structural", of, "added", "", "kept as it is", at, place.because)


def _codes(core: MappingSet, site: MappingSet) -> Iterator[Difference]:
    for name, table in site.tables.items():
        held = core.tables.get(name)
        for code, coding in table.codes.items():
            old = held.codes.get(code) if held is not None else None
            if held is not None and code in held.codes and old == coding:
                continue
            known = held is not None and code in held.codes
            place = table.places.get(code)
            where = f"{place.file}:{place.line}" if place else ""
            yield Difference(
                "code",
                f"{name}.{code}",
                "changed" if known else "added",
                _code(held, old) if known else "",
                _code(table, coding),
                where,
                place.because if place else "",
            )


def _placements(core: MappingSet, site: MappingSet) -> Iterator[Difference]:
    for name, message in site.messages.items():
        known = core.messages.get(name)
        placements = known.placements if known is not None else {}
        for key, one in message.placements.items():
            was = _placement(placements[key]) if key in placements else ""
            if was != _placement(one):
                change: Literal["added", "changed"] = "changed" if was else "added"
                of, why = f"{name}.{key}", one.place.because
                yield Difference("placement", of, change, was, _placement(one), _at(one), why)
        for key, place in message.off.items():
            if key in placements and key not in message.placements:
                was, at = _placement(placements[key]), f"{place.file}:{place.line}"
                yield Difference("placement", f"{name}.{key}", "off", was, "", at, place.because)


def _snapshot(site: MappingSet) -> Iterator[Difference]:
    for name, place in sorted(site.snapshot.items()):
        shown = "segments add up", "all of them"
        at = f"{place.file}:{place.line}"
        yield Difference("snapshot", name, "changed", *shown, at, place.because)


def _identity(core: MappingSet, site: MappingSet) -> Iterator[Difference]:
    for name in ("patient", "fields", "visit", "never", "authorities"):
        old, new = getattr(core.identity, name), getattr(site.identity, name)
        if old != new:
            place = site.identity.place
            at, why = (f"{place.file}:{place.line}", place.because) if place else ("", "")
            yield Difference("identity", name, "changed", _plain(old), _plain(new), at, why)


def _at(one: Rule | Placement) -> str:
    return f"{one.place.file}:{one.place.line}"


def _why(rule: Rule) -> str:
    return rule.because or rule.place.because


def _rule(rule: Rule) -> str:
    words = [
        f"{'each' if rule.each else 'from'} {' | '.join(rule.sources)} to {rule.to}",
        f"{rule.verb} {rule.target}",
    ]
    words += [f"with {name}={value}" for name, value in rule.options.items()]
    words += [f"when {path} in {', '.join(values)}" for path, values in rule.where.items()]
    if rule.verb == "through":
        words.append(f"unknown {rule.unknown}")
    return " ".join([*words, "null keep"] if rule.keep_null else words)


def _code(table: Table | None, coding: Mapping[str, str] | None) -> str:
    if coding is None:
        return "nothing"
    system = coding.get("system") or (table.system if table is not None else "")
    return f"{system}|{coding['code']}" if system else coding["code"]


def _placement(placement: Placement) -> str:
    words = [placement.segment]
    if placement.after:
        words.append(f"after {placement.after}")
    words += [f"when {path} in {', '.join(v)}" for path, v in placement.where.items()]
    return " ".join([*words, "use", ", ".join(placement.use) or "nothing"])


def _plain(value: Any) -> str:
    if value is None or isinstance(value, str | int):
        return "" if value is None else str(value)
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    return ", ".join(_one(one) for one in value)


def _one(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={one}" for key, one in value.items())
    return " + ".join(value) if isinstance(value, (tuple, list)) else str(value)
