"""What a site's mapping changes of the core: rules, tables, placements, identity."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from segue.mapping.language import Placement, Rule, Table
from segue.mapping.load import MappingSet


class Difference(NamedTuple):
    """One thing that is otherwise than in the core.

    Attributes:
        what: `rule`, `code`, `placement`, `snapshot` or `identity`; name:
            `PV1_Encounter.class`, `HL70004_ActCode.OBS`, `AL1`.
        change: added, changed, or off.
        before, after: as it reads, "" where there is nothing.
        where: `file:line` of the layer that says so; because: its reason.
    """

    what: Literal["rule", "code", "placement", "snapshot", "identity"]
    name: str
    change: Literal["added", "changed", "off"]
    before: str
    after: str
    where: str
    because: str = ""


def differences(core: MappingSet, site: MappingSet) -> list[Difference]:
    """All that a site's mapping set has otherwise than the core, in order of name."""
    found = [*_rules(core, site), *_codes(core, site), *_placements(core, site)]
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
    before, after = ({_placement(one): one for one in _placed(s)} for s in (core, site))
    names = {one.name: text for text, one in before.items()}
    for text, one in after.items():
        if text in before:
            continue
        was = names.get(one.name, "")
        change: Literal["added", "changed"] = "changed" if was else "added"
        yield Difference("placement", one.name, change, was, text, _at(one), one.place.because)


def _placed(mapping: MappingSet) -> Iterator[Placement]:
    for plan in mapping.plans.values():
        for options in plan.options.values():
            yield from (option.placement for option in options)


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
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    return ", ".join(_one(one) for one in value)


def _one(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={one}" for key, one in value.items())
    return " + ".join(value) if isinstance(value, tuple) else str(value)
