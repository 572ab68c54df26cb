"""How far two Patients agree, field by field.

Each field gives one of a few levels (`exact`, `close`, …, `other`) or nothing where one
side is silent. Spelling is compared by Jaro-Winkler similarity, sound by Metaphone.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from jellyfish import metaphone
from rapidfuzz.distance import OSA, JaroWinkler

from segue.care.matching.traits import Traits

LEVELS: Final[Mapping[str, tuple[str, ...]]] = {
    "family": ("exact", "close", "sound", "other"),
    "given": ("exact", "nickname", "close", "initial", "other"),
    "middle": ("exact", "initial", "other"),
    "birth": ("exact", "typo", "year", "other"),
    "sex": ("exact", "other"),
    "phone": ("exact", "typo", "other"),
    "email": ("exact", "other"),
    "street": ("exact", "close", "other"),
    "postal": ("exact", "other"),
    "national": ("exact", "typo", "other"),
}
"""Field to its levels, best first; the last one is disagreement."""

Agreement = dict[str, str]
"""Field to level; a field that one side does not state is absent."""

_CLOSE = 0.92
_CLOSE_STREET = 0.9


def compare(one: Traits, other: Traits, nicknames: Mapping[str, frozenset[str]]) -> Agreement:
    """Compare two Patients; the order of the two does not matter.

    Args:
        one, other: their traits.
        nicknames: plain given name to the groups of names that it may stand for.

    >>> ann = Traits(family=("smith",), given=("ann",), birth="1950-03-12")
    >>> compare(ann, Traits(family=("smyth",), birth="1950-12-03"), {})
    {'family': 'sound', 'birth': 'typo'}
    """
    found: Agreement = {}
    levels = {
        "family": _best(one.family, other.family, _family, "family"),
        "given": _best(one.given, other.given, lambda a, b: _given(a, b, nicknames), "given"),
        "middle": _best(one.middle[:1], other.middle[:1], _middle, "middle"),
        "birth": _birth(one.birth, other.birth) if one.birth and other.birth else None,
        "sex": _same(one.sex, other.sex),
        "phone": _best(one.phones, other.phones, _digits, "phone"),
        "email": _best(one.emails, other.emails, _equal, "email"),
        "street": _best(one.streets, other.streets, _street, "street"),
        "postal": _best(one.postal, other.postal, _equal, "postal"),
        "national": _best(one.national, other.national, _digits, "national"),
    }
    for field, level in levels.items():
        if level is not None:
            found[field] = level
    return found


def _best(
    ones: Iterable[str], others: Iterable[str], level: Callable[[str, str], str], field: str
) -> str | None:
    """The best level of any pair; None where a side has none."""
    ranks = LEVELS[field]
    places = [ranks.index(level(a, b)) for a in ones for b in others]
    return ranks[min(places)] if places else None


def _same(one: str, other: str) -> str | None:
    return _equal(one, other) if one and other else None


def _equal(one: str, other: str) -> str:
    return "exact" if one == other else "other"


def _family(one: str, other: str) -> str:
    if one == other:
        return "exact"
    if metaphone(one) == metaphone(other):
        return "sound"
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    joined = len(shorter) >= 4 and (longer.startswith(shorter) or longer.endswith(shorter))
    if joined or JaroWinkler.similarity(one, other) >= _CLOSE:
        return "close"
    return "other"


def _given(one: str, other: str, nicknames: Mapping[str, frozenset[str]]) -> str:
    if one == other:
        return "exact"
    if nicknames.get(one, frozenset()) & nicknames.get(other, frozenset()):
        return "nickname"
    if len(one) == 1 or len(other) == 1:
        return "initial" if one[0] == other[0] else "other"
    if JaroWinkler.similarity(one, other) >= _CLOSE or metaphone(one) == metaphone(other):
        return "close"
    return "other"


def _middle(one: str, other: str) -> str:
    if one == other:
        return "exact"
    if (len(one) == 1 or len(other) == 1) and one[0] == other[0]:
        return "initial"
    return "other"


def _birth(one: str, other: str) -> str:
    if one == other:
        return "exact"
    if len(one) == len(other) == len("2026-01-01"):
        swapped = f"{other[:5]}{other[8:]}-{other[5:7]}"
        # One digit, two neighbours exchanged, or day and month exchanged.
        if one == swapped or OSA.distance(one, other) == 1:
            return "typo"
    return "year" if one[:4] == other[:4] else "other"


def _digits(one: str, other: str) -> str:
    if one == other:
        return "exact"
    return "typo" if len(one) == len(other) and OSA.distance(one, other) == 1 else "other"


def _street(one: str, other: str) -> str:
    if one == other:
        return "exact"
    number, _, rest = one.partition(" ")
    other_number, _, other_rest = other.partition(" ")
    if number == other_number and JaroWinkler.similarity(rest, other_rest) >= _CLOSE_STREET:
        return "close"
    return "other"
