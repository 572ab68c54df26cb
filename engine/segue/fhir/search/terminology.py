"""Which codes a value set holds and which are below another: for `:in`, `:below`, `:above`.

Known are the value sets that R4 binds as required, and the ValueSets and CodeSystems that
the store holds. ICD-10 codes stand below the codes that they begin with.

Source: https://hl7.org/fhir/R4/valueset-operation-expand.html
"""

from collections.abc import Callable, Iterator
from typing import Any

from segue.fhir.definitions import Definitions
from segue.fhir.profiles import definitions

Resource = dict[str, Any]
Coded = tuple[str, str]
Lookup = Callable[[str, str], Resource | None]
"""A resource type and a canonical URL to the resource."""

ICD10 = frozenset(
    {"http://hl7.org/fhir/sid/icd-10-cm", "http://hl7.org/fhir/sid/icd-10"}
)  # fmt: skip
_SHIPPED = "http://hl7.org/fhir/ValueSet/"
_DEEPEST = 8


class Terminology:
    """Value sets and code systems by their canonical URLs."""

    def __init__(self, lookup: Lookup | None = None, table: Definitions | None = None) -> None:
        """Take what finds stored resources, and the shipped definitions."""
        self._lookup = lookup or _nothing
        self._table = table or definitions()

    def members(self, url: str, depth: int = 0) -> frozenset[Coded] | None:
        """(system, code) of a value set; None where it is unknown or too hard to expand."""
        if depth > _DEEPEST:
            return None
        found = self._lookup("ValueSet", url)
        if found is not None:
            return self._expanded(found, depth)
        tail = url.partition("|")[0].removeprefix(_SHIPPED)
        try:
            codes = self._table.codes(tail)
        except KeyError:
            return None
        return frozenset((system, code) for system, known in codes.items() for code in known)

    def _expanded(self, value_set: Resource, depth: int) -> frozenset[Coded] | None:
        contains = value_set.get("expansion", {}).get("contains")
        if contains:
            return frozenset(_contained(contains))
        compose = value_set.get("compose", {})
        found: set[Coded] = set()
        for rule, sign in (("include", True), ("exclude", False)):
            for part in compose.get(rule, ()):
                codes = self._part(part, depth)
                if codes is None:
                    return None
                found = found | codes if sign else found - codes
        return frozenset(found)

    def _part(self, part: Resource, depth: int) -> frozenset[Coded] | None:
        sets: list[frozenset[Coded]] = []
        for url in part.get("valueSet", ()):
            members = self.members(url, depth + 1)
            if members is None:
                return None
            sets.append(members)
        system = part.get("system", "")
        if "concept" in part:
            sets.append(frozenset((system, one["code"]) for one in part["concept"]))
        elif system:
            known = self._lookup("CodeSystem", system)
            if known is None:
                return None
            codes = {code for code, _ in _concepts(known.get("concept", ()))}
            for rule in part.get("filter", ()):
                below = self.below(system, str(rule.get("value")))
                if rule.get("op") not in ("is-a", "descendent-of") or below is None:
                    return None
                codes &= below - ({rule["value"]} if rule["op"] == "descendent-of" else set())
            sets.append(frozenset((system, code) for code in codes))
        return frozenset.intersection(*sets) if sets else frozenset()

    def below(self, system: str, code: str) -> frozenset[str] | None:
        """A code and all that it subsumes; None where the code system is not known."""
        known = self._lookup("CodeSystem", system)
        if known is None:
            return None
        lines = list(_concepts(known.get("concept", ())))
        return frozenset({code} | {one for one, over in lines if code in over})

    def above(self, system: str, code: str) -> frozenset[str] | None:
        """A code and all that subsume it; None where the code system is not known."""
        known = self._lookup("CodeSystem", system)
        if known is None:
            return None
        lines = _concepts(known.get("concept", ()))
        return frozenset({code}.union(*(over for one, over in lines if one == code)))


def _nothing(_type: str, _url: str) -> None:
    return None


def _contained(contains: list[Resource]) -> Iterator[Coded]:
    for one in contains:
        if "code" in one and not one.get("abstract"):
            yield one.get("system", ""), one["code"]
        yield from _contained(one.get("contains", []))


def _concepts(
    concepts: Any, over: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str]]]:
    """Each code with all codes above it."""
    for one in concepts:
        yield one["code"], over
        yield from _concepts(one.get("concept", ()), over | {one["code"]})
