"""Whether a code is in a value set, as far as the shipped expansions can tell.

Source of the expansions: `tools/generate_profiles.py`; a site's ValueSets and CodeSystems
are added as they are, where they enumerate their codes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from segue.fhir.validation.compact import bare, tail

_ALL, _SOME = "*", "?"


class Terminology:
    """Value sets and complete code systems.

    Args:
        folder: holds `codes.json`, `value_sets.json` and `code_systems.json`.
        more: ValueSet and CodeSystem resources of a site.
    """

    def __init__(self, folder: Path, more: Iterable[Mapping[str, Any]] = ()) -> None:
        def read(name: str) -> dict[str, Any]:
            found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            return found

        self._systems = {
            system: frozenset(codes) for system, codes in read("code_systems.json").items()
        }
        self._required = read("codes.json")
        self._sets: dict[str, dict[str, Any]] = read("value_sets.json")
        self._frozen: dict[str, dict[str, frozenset[str] | str]] = {}
        for resource in more:
            if resource["resourceType"] == "CodeSystem" and resource.get("content") == "complete":
                self._systems[resource["url"]] = frozenset(_all(resource.get("concept", ())))
        for resource in more:
            if resource["resourceType"] == "ValueSet":
                expanded = _enumerated(resource)
                if expanded is not None:
                    self._sets[resource["url"]] = expanded

    def defines(self, system: str, code: str) -> bool | None:
        """Whether a code system has the code; None where it is not known in full."""
        codes = self._systems.get(system)
        return None if codes is None else code in codes

    def knows(self, value_set: str) -> bool:
        """Whether the value set can be expanded."""
        return bool(self._expanded(bare(value_set)))

    def contains(self, value_set: str, system: str | None, code: str) -> bool | None:
        """Whether a code is in a value set; None where that cannot be said here.

        Args:
            system: None asks for a plain `code`, whatever its system.
        """
        expanded = self._expanded(bare(value_set))
        if not expanded:
            return None
        if system is not None:
            codes = expanded.get(system)
            if codes is None:
                return False
            if codes == _ALL:
                return self.defines(system, code) is not False
            if codes == _SOME:
                return None
            return code in codes
        answers = [self.contains(value_set, name, code) for name in expanded]
        return True if True in answers else None if None in answers else False

    def systems(self, value_set: str) -> list[str]:
        """The code systems that a value set draws from."""
        return list(self._expanded(bare(value_set)))

    def members(self, value_set: str) -> list[tuple[str, str]] | None:
        """(system, code) of all of a value set; None where not all of it is known here."""
        found: list[tuple[str, str]] = []
        for system, codes in self._expanded(bare(value_set)).items():
            known = self._systems.get(system) if codes == _ALL else codes
            if known is None:
                return None
            found += [(system, code) for code in sorted(known)]
        return found or None

    def some(self, value_set: str, most: int = 12) -> list[str]:
        """A few codes of a value set, for a message; none where it takes whole big systems."""
        found: list[str] = []
        for system, codes in self._sets.get(bare(value_set), {}).items():
            if codes == _ALL:
                found += sorted(self._systems.get(system, ()))
            elif codes != _SOME:
                found += codes
        return found[: most + 1]

    def _expanded(self, url: str) -> dict[str, frozenset[str] | str]:
        found = self._frozen.get(url)
        if found is None:
            rows = self._sets.get(url)
            if rows is None:
                rows = self._required.get(tail(url), {}) if "hl7.org/fhir/ValueSet" in url else {}
            found = {s: c if c in (_ALL, _SOME) else frozenset(c) for s, c in rows.items()}
            self._frozen[url] = found
        return found


def _all(concepts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _all(concept.get("concept", ()))


def _enumerated(value_set: Mapping[str, Any]) -> dict[str, Any] | None:
    """System to codes of a value set that lists codes or takes whole systems."""
    found: dict[str, Any] = {}
    compose = value_set.get("compose", {})
    if "exclude" in compose:
        return None
    for include in compose.get("include", ()):
        if "filter" in include or "valueSet" in include or "system" not in include:
            return None
        codes = [c["code"] for c in include.get("concept", ())] or _ALL
        old = found.get(include["system"])
        found[include["system"]] = _ALL if _ALL in (codes, old) else [*(old or ()), *codes]
    return found or None
