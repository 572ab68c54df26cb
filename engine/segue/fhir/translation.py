"""What a code is in another code system, by ConceptMaps.

Source: https://hl7.org/fhir/R4/conceptmap-operation-translate.html
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from segue.fhir.vocabulary import coding

Resource = Mapping[str, Any]

_BACK = {
    "wider": "narrower",
    "narrower": "wider",
    "specializes": "subsumes",
    "subsumes": "specializes",
}
_NO_MATCH = frozenset({"unmatched", "disjoint"})


class Match(NamedTuple):
    """A code that another one is translated to; `source`: URL of the map that says so."""

    equivalence: str
    concept: dict[str, str]
    source: str

    @property
    def holds(self) -> bool:
        """Whether it is a translation at all."""
        return self.equivalence not in _NO_MATCH


def translate(
    maps: Iterable[Resource],
    system: str,
    code: str,
    *,
    target: str = "",
    reverse: bool = False,
) -> list[Match]:
    """The translations of a code, in the order of the maps.

    Args:
        system: of the code, "" for any.
        target: code system that is asked for, "" for any.
        reverse: from the targets of the maps to their sources.

    >>> said = {"code": "I", "target": [{"code": "IMP", "equivalence": "equal"}]}
    >>> one = {"url": "urn:m", "group": [{"source": "urn:a", "target": "urn:b", "element": [said]}]}
    >>> translate([one], "urn:a", "I")[0].concept
    {'system': 'urn:b', 'code': 'IMP'}
    """
    found = [
        match
        for one in maps
        for group in one.get("group", ())
        for match in _of_group(group, str(one.get("url", "")), system, code, target, reverse)
    ]
    return list({(m.equivalence, *sorted(m.concept.items())): m for m in found}.values())


def _of_group(
    group: Resource, url: str, system: str, code: str, target: str, reverse: bool
) -> Iterator[Match]:
    here, there = str(group.get("source", "")), str(group.get("target", ""))
    if reverse:
        here, there = there, here
    if (system and here != system) or (target and there and there != target):
        return
    known = False
    for element in group.get("element", ()):
        for one in element.get("target", ()):
            says = str(one.get("equivalence", "relatedto"))
            if reverse and one.get("code") == code:
                says = _BACK.get(says, says)
                yield Match(says, _coding(there, element), url)
            elif not reverse and element.get("code") == code:
                known = True
                yield Match(says, _coding(there, one), url)
    if not known and not reverse:
        yield from _unmapped(group.get("unmapped") or {}, there, code, url)


def _unmapped(rule: Resource, there: str, code: str, url: str) -> Iterator[Match]:
    if rule.get("mode") == "provided":
        yield Match("equal", coding(there, code), url)
    elif rule.get("mode") == "fixed" and rule.get("code"):
        yield Match("inexact", coding(there, str(rule["code"]), rule.get("display")), url)


def _coding(system: str, one: Resource) -> dict[str, str]:
    if "code" not in one:
        return {}
    made = coding(system, str(one["code"]), one.get("display"))
    return made if system else {k: v for k, v in made.items() if k != "system"}
