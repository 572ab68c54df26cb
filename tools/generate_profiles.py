"""Turn HL7's definitions into the compact facts behind `$validate` and profiles.

Writes, without any prose:

* `definitions/bindings.json`: element path to [strength, value set], where it is not
  already a required enumeration of `types.json`
* `definitions/rules.json`: type or element path to the invariants (key, severity,
  FHIRPath) that have no function in `segue.fhir.invariants`
* `definitions/code_systems.json`: the codes of complete code systems
* `definitions/value_sets.json`: value set to system to its codes; `"*"` for all of them, `"?"`
  for some that cannot be told here
* `profiles/r4_extensions.json`, `profiles/r4.json`, `profiles/us_core_610.json`: profiles
  in the form of `segue.fhir.validation.compact`

    python -m tools.generate_profiles --data ../shared/data
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from segue.fhir.definitions import Definitions
from segue.fhir.invariants import INVARIANTS
from segue.fhir.validation.compact import bare, compact, tail
from tools.generate_definitions import NOT_R4, NOT_R4_TYPES, dump, resources

STRUCTURAL = frozenset(
    "dom-2 dom-3 dom-4 dom-5 dom-6 dom-r4b ele-1 ext-1 ref-1 txt-1 txt-2".split()  # noqa: SIM905
)
"""Invariants that `segue.fhir.structure` and the narrative's check hold for every type."""

# Of a system `something` that nobody has; of what only resolve() can see; as one of ait-1.
UNHELPFUL = frozenset(["ppc-2", "ppc-3", "ppc-4", "ppc-5", "ctm-1", "ait-2"])

# Repaired by the package's rebuilder beyond R4, or beside the point of an enumeration.
SKIPPED_SYSTEMS = frozenset({"http://dicom.nema.org/resources/ontology/DCM"})
_FILTERS = ("is-a", "descendent-of", "is-not-a", "=", "in", "exists")

_SIMPLE = ["sqty-1", "error", "comparator.empty()"]
_TRACE = re.compile(r"\.trace\('\w*'\)")

Row = dict[str, Any]


class Terminology:
    """Expands value sets as far as the packages hold their code systems."""

    def __init__(self, found: Iterable[Row]) -> None:
        self.value_sets: dict[str, Row] = {}
        self.systems: dict[str, Row] = {}
        for row in found:
            if row["resourceType"] == "ValueSet":
                self.value_sets[row["url"]] = row
            elif row["resourceType"] == "CodeSystem" and row.get("content") == "complete":
                self.systems[row["url"]] = row

    def codes(self, system: str) -> list[str]:
        """All codes of a complete code system."""
        return [c["code"] for c, _ in self._all(self.systems[system].get("concept", []), ())]

    def _all(self, concepts: list[Row], above: tuple[str, ...]) -> Iterator[tuple[Row, Any]]:
        for concept in concepts:
            parents = tuple(
                p["valueCode"]
                for p in concept.get("property", ())
                if p["code"] in ("subsumedBy", "parent")
            )
            yield concept, (*above, *parents)
            yield from self._all(concept.get("concept", []), (*above, concept["code"]))

    def expand(self, url: str, seen: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """System to codes, `"*"` for the whole system; None where that cannot be said."""
        row = self.value_sets.get(url)
        if row is None or url in seen or "compose" not in row:
            return None
        found: dict[str, Any] = {}
        for include in row["compose"]["include"]:
            part = self._part(include, (*seen, url))
            if part is None:
                return None
            for system, codes in part.items():
                old = found.get(system)
                if codes in ("*", "?") or old in ("*", "?"):
                    found[system] = "*" if "*" in (codes, old) else "?"
                else:
                    found[system] = [*(old or ()), *(c for c in codes if c not in (old or ()))]
        for exclude in row["compose"].get("exclude", ()):
            part = self._part(exclude, (*seen, url))
            if part is None:
                return None
            for system, codes in part.items():
                mine = found.get(system, [])
                if mine == "*" and system in self.systems:
                    mine = self.codes(system)
                if mine in ("*", "?") or codes == "?":
                    found[system] = "?"
                    continue
                found[system] = [c for c in mine if codes != "*" and c not in codes]
        return {s: c for s, c in found.items() if c}

    def _part(self, include: Row, seen: tuple[str, ...]) -> dict[str, Any] | None:
        parts: list[dict[str, Any]] = []
        for url in include.get("valueSet", ()):
            other = self.expand(bare(url), seen)
            if other is None:
                return None
            parts.append(other)
        system = include.get("system")
        if system:
            if "concept" in include:
                parts.append({system: [c["code"] for c in include["concept"]]})
            elif include.get("filter"):
                codes = self._filtered(system, include["filter"])
                parts.append({system: "?" if codes is None else codes})
            else:
                parts.append({system: "*"})
        if len(parts) == 1:
            return parts[0]
        first, *others = parts
        for other in others:
            met: dict[str, Any] = {}
            for name in first.keys() & other.keys():
                mine, theirs = first[name], other[name]
                if "?" in (mine, theirs):
                    met[name] = "?"
                elif "*" in (mine, theirs):
                    met[name] = theirs if mine == "*" else mine
                else:
                    met[name] = [c for c in mine if c in theirs]
            first = met
        return first

    def _filtered(self, system: str, filters: list[Row]) -> list[str] | None:
        if system not in self.systems:
            return None
        rows = list(self._all(self.systems[system].get("concept", []), ()))
        above: dict[str, set[str]] = {c["code"]: set(up) for c, up in rows}
        grown = True
        while grown:
            grown = False
            for ups in above.values():
                more = {u for up in ups for u in above.get(up, ())} - ups
                if more:
                    ups.update(more)
                    grown = True
        kept = [c for c, _ in rows]
        for rule in filters:
            op, value, name = rule["op"], rule["value"], rule["property"]
            if op == "is-a":
                kept = [c for c in kept if c["code"] == value or value in above[c["code"]]]
            elif op == "descendent-of":
                kept = [c for c in kept if value in above[c["code"]]]
            elif op == "is-not-a":
                kept = [c for c in kept if c["code"] != value and value not in above[c["code"]]]
            elif op == "=":
                kept = [c for c in kept if value in self._values(c, name)]
            else:
                return None
        return [c["code"] for c in kept]

    def _values(self, concept: Row, name: str) -> list[str]:
        if name in ("code", "concept"):
            return [concept["code"]]
        return [
            str(value).lower() if isinstance(value, bool) else str(value)
            for p in concept.get("property", ())
            if p["code"] == name
            for key, value in p.items()
            if key.startswith("value")
        ]


def base_facts(structures: list[Row], table: Definitions) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the types bind and demand: (bindings, rules)."""
    functions = {rule.key for rules in INVARIANTS.values() for rule in rules}
    bindings: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    for structure in sorted(structures, key=lambda s: s["type"]):
        if structure["type"] in NOT_R4_TYPES:
            continue
        for line in structure["snapshot"]["element"]:
            path = line["path"]
            if any(path == no or path.startswith(no + ".") for no in NOT_R4):
                continue
            path = path.removesuffix("[x]")
            bound = line.get("binding", {})
            value_set = bare(bound.get("valueSet", ""))
            if value_set and bound["strength"] != "example":
                owner, _, name = path.rpartition(".")
                known = ()
                if owner in table:
                    known = next(
                        (e.kinds for e in table.structure(owner).elements if e.name == name), ()
                    )
                if not any(k.value_set for k in known):
                    bindings[path] = [bound["strength"], value_set]
            for entry in line.get("type", ()):
                for url in entry.get("profile", ()):
                    if tail(url) == "SimpleQuantity":
                        rules.setdefault(path, []).append(_SIMPLE)
            for rule in line.get("constraint", ()):
                if rule["key"] in STRUCTURAL | UNHELPFUL or "expression" not in rule:
                    continue
                if rule["key"] in functions and _judged(path, rule["key"]):
                    continue
                if "contentReference" in line or (rule.get("source") or "").endswith("/Element"):
                    continue
                if "." in path and not _own(line, table, path, rule, structures):
                    continue
                expression = _TRACE.sub("", rule["expression"])
                rules.setdefault(path, []).append([rule["key"], rule["severity"], expression])
    return bindings, rules


def _judged(path: str, key: str) -> bool:
    return any(
        rule.key == key
        for name, rules in INVARIANTS.items()
        for rule in rules
        if name == path or path.startswith(name + ".")
    )


def _own(line: Row, table: Definitions, path: str, rule: Row, structures: list[Row]) -> bool:
    """Whether an element's rule is the element's and not its data type's."""
    for entry in line.get("type", ()):
        other = next((s for s in structures if s["type"] == entry["code"]), None)
        if other and any(
            c["key"] == rule["key"] for c in other["snapshot"]["element"][0].get("constraint", ())
        ):
            return False
    return True


def main() -> None:
    """Read the packages and write the facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    home = Path(__file__).parent.parent
    parser.add_argument("--data", type=Path, default=home / "../shared/data")
    parser.add_argument("--out", type=Path, default=home / "fhir_profiles")
    arguments = parser.parse_args()
    packages = arguments.data / "definitions"
    core = list(resources(packages / "hl7.fhir.r4.core-lite.tgz"))
    us_core = list(resources(packages / "us_core_610.tgz"))
    folder = arguments.out / "definitions"
    table = Definitions(folder)

    structures = [
        r for r in core if r["resourceType"] == "StructureDefinition" and r["kind"] != "logical"
    ]
    types = [s for s in structures if s.get("derivation") != "constraint"]
    bindings, rules = base_facts(types, table)
    known = {
        c["key"] for s in types for e in s["snapshot"]["element"] for c in e.get("constraint", ())
    }
    own = {path: (row[0], row[1]) for path, row in bindings.items()}

    def forms(rows: Iterable[Row]) -> dict[str, Any]:
        found = {
            r["url"]: compact(r, table, bindings=own, known_rules=known)
            for r in rows
            if r["resourceType"] == "StructureDefinition"
            and r.get("derivation") == "constraint"
            and r["kind"] != "logical"
        }
        return dict(sorted(found.items()))

    extensions = forms(s for s in structures if s["type"] == "Extension")
    profiles = forms(s for s in structures if s["type"] != "Extension")
    us = forms(us_core)

    terms = Terminology([*core, *us_core])
    wanted = {value_set for _, value_set in bindings.values()}
    for form in (*extensions.values(), *profiles.values(), *us.values()):
        wanted |= set(_bound(form))
    value_sets = {}
    for url in sorted(wanted):
        expanded = terms.expand(url)
        if expanded is not None:
            value_sets[url] = expanded
    systems = {
        url: terms.codes(url)
        for url in sorted(terms.systems)
        if "|" not in url and url not in SKIPPED_SYSTEMS and terms.systems[url].get("concept")
    }
    (arguments.out / "profiles").mkdir(exist_ok=True)
    for path, text in {
        folder / "bindings.json": dump(bindings, 1),
        folder / "rules.json": dump(rules, 1),
        folder / "code_systems.json": dump(systems, 1),
        folder / "value_sets.json": dump(value_sets, 1),
        arguments.out / "profiles" / "r4_extensions.json": dump(extensions, 1),
        arguments.out / "profiles" / "r4.json": dump(profiles, 1),
        arguments.out / "profiles" / "us_core_610.json": dump(us, 1),
    }.items():
        path.write_text(text + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    print(f"{len(wanted) - len(value_sets)} of {len(wanted)} value sets cannot be expanded")


def _bound(form: Row) -> Iterator[str]:
    if "bind" in form:
        yield form["bind"][1]
    for group in ("children", "slices"):
        for child in form.get(group, {}).values():
            yield from _bound(child)


if __name__ == "__main__":
    main()
