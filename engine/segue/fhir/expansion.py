"""The codes of a value set: by its definition, from what is known of code systems.

Known are the shipped value sets of R4 and US Core, and the ValueSets and CodeSystems that a
lookup finds. Big code systems (SNOMED CT, LOINC) are not: a value set that takes a part of
one by a filter cannot be expanded, and that is said.

Source: https://hl7.org/fhir/R4/valueset-operation-expand.html
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from segue.fhir.definitions import Definitions
from segue.fhir.outcomes import fhir_error
from segue.fhir.profiles import shipped
from segue.fhir.validation.terminology import Terminology

Resource = Mapping[str, Any]
Lookup = Callable[[str, str], Resource | None]
"""A resource type and a canonical URL, perhaps with `|version`, to the resource."""

SHIPPED = "http://hl7.org/fhir/ValueSet/"
"""Where the value sets that R4 binds as required are."""

_DEEPEST = 8


@lru_cache(maxsize=1)
def _terminology() -> Terminology:
    return Terminology(shipped() / "definitions")


class Member(NamedTuple):
    """A code of a value set."""

    system: str
    code: str
    display: str = ""


Members = dict[tuple[str, str], Member]


class Expander:
    """Expands value sets.

    Args:
        table: the shipped definitions. lookup: finds other definitions.
    """

    def __init__(self, table: Definitions, lookup: Lookup) -> None:
        self._table = table
        self._lookup = lookup

    def of_url(self, url: str, depth: int = 0) -> Members | None:
        """The codes of the value set with this URL; None where there is none.

        Raises:
            FhirError: 422; it cannot be expanded.
        """
        found = self._lookup("ValueSet", url)
        if found is not None:
            return self.of(found, depth)
        name = url.partition("|")[0]
        if name.startswith(SHIPPED):
            try:
                systems = self._table.codes(name.removeprefix(SHIPPED))
            except KeyError:
                systems = {}
            if systems:
                listed = ((system, code) for system, codes in systems.items() for code in codes)
                return _unique(Member(*one) for one in listed)
        members = _terminology().members(name)
        return None if members is None else _unique(Member(*one) for one in members)

    def of(self, value_set: Resource, depth: int = 0) -> Members:
        """The codes of a value set, in its order.

        Raises:
            FhirError: 422; it cannot be expanded.
        """
        if depth > _DEEPEST:
            raise _cannot("its value sets include one another")
        contains = value_set.get("expansion", {}).get("contains")
        if contains:
            return _unique(_contained(contains))
        compose = value_set.get("compose", {})
        found: Members = {}
        for part in compose.get("include", ()):
            found |= {k: v for k, v in self._part(part, depth).items() if k not in found}
        for part in compose.get("exclude", ()):
            for key in self._part(part, depth):
                found.pop(key, None)
        return found

    def _part(self, part: Resource, depth: int) -> Members:
        """What an include or exclude takes: what all that it names have in common."""
        sets = [self._imported(url, depth) for url in part.get("valueSet", ())]
        system = str(part.get("system", ""))
        if "concept" in part:
            sets.append(
                _unique(
                    Member(system, str(one["code"]), str(one.get("display", "")))
                    for one in part["concept"]
                )
            )
        elif system:
            sets.append(self._system(system, part.get("filter", ())))
        if not sets:
            return {}
        first, *others = sets
        return {key: one for key, one in first.items() if all(key in other for other in others)}

    def _imported(self, url: str, depth: int) -> Members:
        found = self.of_url(url, depth + 1)
        if found is None:
            raise _cannot(f"the value set {url} that it includes is not known here")
        return found

    def _system(self, system: str, filters: Iterable[Resource]) -> Members:
        known = self._lookup("CodeSystem", system)
        if known is None or not known.get("concept"):
            raise _cannot(f"the codes of {system} are not known here")
        lines = list(_concepts(known["concept"]))
        for rule in filters:
            wanted, op = str(rule.get("value")), rule.get("op")
            if op not in ("is-a", "descendent-of"):
                raise _cannot(f"the filter {rule.get('property')} {op} is not known here")
            lines = [
                (one, above)
                for one, above in lines
                if wanted in above or (op == "is-a" and one["code"] == wanted)
            ]
        return _unique(
            Member(system, str(one["code"]), str(one.get("display", ""))) for one, _ in lines
        )

    def below(self, system: str, code: str) -> frozenset[str] | None:
        """A code and all that it subsumes; None where the code system is not known."""
        known = self._lookup("CodeSystem", system)
        if known is None:
            return None
        lines = _concepts(known.get("concept", ()))
        return frozenset({code} | {str(one["code"]) for one, above in lines if code in above})

    def above(self, system: str, code: str) -> frozenset[str] | None:
        """A code and all that subsume it; None where the code system is not known."""
        known = self._lookup("CodeSystem", system)
        if known is None:
            return None
        lines = _concepts(known.get("concept", ()))
        return frozenset({code}.union(*(above for one, above in lines if one["code"] == code)))


def _unique(members: Iterable[Member]) -> Members:
    found: Members = {}
    for one in members:
        found.setdefault((one.system, one.code), one)
    return found


def _contained(contains: Iterable[Resource]) -> Iterator[Member]:
    for one in contains:
        if "code" in one and not one.get("abstract"):
            yield Member(str(one.get("system", "")), str(one["code"]), str(one.get("display", "")))
        yield from _contained(one.get("contains", ()))


def _concepts(
    concepts: Iterable[Resource], above: frozenset[str] = frozenset()
) -> Iterator[tuple[Resource, frozenset[str]]]:
    """Each concept with the codes above it."""
    for one in concepts:
        yield one, above
        yield from _concepts(one.get("concept", ()), above | {one["code"]})


def _cannot(why: str) -> Exception:
    return fhir_error("unprocessable", "too-costly", f"the value set cannot be expanded: {why}")
