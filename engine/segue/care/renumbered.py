"""One thing under several visit numbers: a diagnosis that is sent again under the new one.

The ids of what belongs to a visit are made of the number that was sent. Where a visit
was merged with another (A42) or given another number (A50, A51), the same diagnosis,
procedure or observation would be there once for each number. Here it gets one id: that
of the number which the visit is kept under, else of the smallest one that names it.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from segue.fhir.references import rewrite
from segue.model.facts import Fact, Fragment

_TELLING = ("effective", "performed", "identifier")
_encode = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode


def unify(facts: Iterable[Fact], key: str) -> list[Fact]:
    """The facts of one visit, with one id for each thing that several numbers name.

    What one number tells several of (two results of one code and time) stays apart.

    Args:
        facts: in any order.
        key: the number that the visit is kept under.
    """
    told = list(facts)
    ids: dict[bytes, dict[str, set[tuple[str, str]]]] = {}
    for fact in told:
        for one in fact.stay:
            if fact.visit is not None and (what := _what(one)) is not None:
                ids.setdefault(what, {}).setdefault(fact.visit, set()).add((one.type, one.id))
    now: dict[tuple[str, str], str] = {}
    for _, by_number in sorted(ids.items()):
        if len(by_number) > 1 and all(len(found) == 1 for found in by_number.values()):
            (_, kept), *_ = by_number[key if key in by_number else min(by_number)]
            for found in by_number.values():
                for place in found:
                    now.setdefault(place, kept)
    now = {place: kept for place, kept in now.items() if place[1] != kept}
    return [replace(one, stay=_renamed(one.stay, now)) for one in told] if now else told


def _what(one: Fragment) -> bytes | None:
    """What a fragment is about, the same under every number; None where that is not clear."""
    code = one.elements.get("code")
    if not isinstance(code, dict):
        return None
    codings = [(c.get("system"), c.get("code")) for c in code.get("coding", ())]
    rest = {path: value for path, value in one.elements.items() if path.startswith(_TELLING)}
    return _encode((one.type, codings or code.get("text"), rest))


def _renamed(stay: Iterable[Fragment], now: dict[tuple[str, str], str]) -> list[Fragment]:
    references = {f"{type_}/{old}": f"{type_}/{new}" for (type_, old), new in now.items()}
    labels = {old: new for (_, old), new in now.items()}

    def path_of(path: str) -> str:
        name, mark, label = path.partition("#")
        return name + mark + labels.get(label, label)

    def elements_of(one: Fragment) -> dict[str, Any]:
        return {path_of(path): rewrite(value, references) for path, value in one.elements.items()}

    return [
        Fragment(one.type, now.get((one.type, one.id), one.id), one.scope, elements_of(one))
        for one in stay
    ]
