"""LACE and HOSPITAL readmission scores, as intervals where an input is not known.

A missing comorbidity is five points of nineteen, so a number would be a guess. A
score says its lowest and its highest value, the tier where both ends agree, and
else which input is open.

LACE: van Walraven et al., CMAJ 2010 (PMC2845681). HOSPITAL: Donzé et al., JAMA
Intern Med 2013 (derivation) and 2016 (international validation).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Tier = Literal["low", "moderate", "high"]

_TierOf = Callable[[int], Tier]


class Interval(NamedTuple):
    """The lowest and the highest value that something can have."""

    low: int
    high: int

    @property
    def known(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its parts.

    Attributes:
        tier: None while the two ends fall in different tiers.
        open: the parts that are not known, the widest first.
        decides: the one part whose value alone would settle the tier.
    """

    name: str
    low: int
    high: int
    parts: dict[str, Interval]
    tier: Tier | None
    open: tuple[str, ...]
    decides: str | None


UNKNOWN_LENGTH: Final = Interval(0, 7)
_ANY_COUNT: Final = Interval(0, 99)


def lace(
    *,
    los: int | None,
    acute: bool | None,
    charlson: Interval | int | None,
    ed_visits: Interval | int,
) -> Score:
    """The LACE index (0 to 19).

    Args:
        los: nights from admission to discharge (same day 0); None until discharge.
        acute: emergency or urgent admission; None if not said.
        charlson: comorbidity points; None if no diagnosis is known at all.
        ed_visits: emergency visits in the six months before, without the one that
            led to this stay.

    >>> lace(los=5, acute=True, charlson=3, ed_visits=2).low
    12
    >>> score = lace(los=5, acute=True, charlson=None, ed_visits=2)
    >>> score.low, score.high, score.tier, score.open
    (9, 14, None, ('C',))
    """
    comorbidity = _interval(charlson)
    parts = {
        "L": UNKNOWN_LENGTH if los is None else _exact(_length(los)),
        "A": Interval(0, 3) if acute is None else _exact(3 if acute else 0),
        "C": Interval(0, 5)
        if comorbidity is None
        else Interval(_comorbidity(comorbidity.low), _comorbidity(comorbidity.high)),
        "E": _map_ed(ed_visits),
    }
    return _score("LACE", parts, _lace_tier)


def hospital(
    *,
    hemoglobin: float | None = None,
    oncology: bool | None = None,
    sodium: float | None = None,
    procedure: bool | None = None,
    acute: bool | None = None,
    admissions: Interval | int = _ANY_COUNT,
    los: int | None = None,
    version: Literal["2013", "2016"] = "2016",
) -> Score:
    """The HOSPITAL score (0 to 13).

    Args:
        hemoglobin: g/dL at discharge.
        oncology: discharged from an oncology service.
        sodium: mmol/L at discharge.
        procedure: any coded procedure during the stay.
        acute: urgent or emergency admission.
        admissions: in the twelve months before.
        los: days; None until discharge.
        version: how prior admissions are scored: 2013 gives 2 for one admission,
            2016 gives 0.

    >>> score = hospital(oncology=False, acute=True, admissions=1, los=5)
    >>> score.low, score.high
    (3, 6)
    """
    prior = _interval(admissions) or _ANY_COUNT
    count = _prior_2013 if version == "2013" else _prior_2016
    parts = {
        "H": Interval(0, 1) if hemoglobin is None else _exact(int(hemoglobin < 12)),
        "O": Interval(0, 2) if oncology is None else _exact(2 * int(oncology)),
        "S": Interval(0, 1) if sodium is None else _exact(int(sodium < 135)),
        "P": Interval(0, 1) if procedure is None else _exact(int(procedure)),
        "I": Interval(0, 1) if acute is None else _exact(int(acute)),
        "A": Interval(count(prior.low), count(prior.high)),
        "L": Interval(0, 2) if los is None else _exact(2 if los >= 5 else 0),
    }
    return _score("HOSPITAL", parts, _hospital_tier)


def _exact(points: int) -> Interval:
    return Interval(points, points)


def _interval(value: Interval | int | None) -> Interval | None:
    return _exact(value) if isinstance(value, int) else value


def _length(nights: int) -> int:
    if nights < 4:
        return max(nights, 0)
    if nights < 7:
        return 4
    return 5 if nights < 14 else 7


def _comorbidity(total: int) -> int:
    return total if total < 4 else 5


def _map_ed(visits: Interval | int) -> Interval:
    known = _interval(visits) or _ANY_COUNT
    return Interval(min(known.low, 4), min(known.high, 4))


def _prior_2013(admissions: int) -> int:
    if admissions == 0:
        return 0
    return 2 if admissions <= 5 else 5


def _prior_2016(admissions: int) -> int:
    if admissions <= 1:
        return 0
    return 2 if admissions <= 5 else 5


def _lace_tier(score: int) -> Tier:
    if score < 5:
        return "low"
    return "moderate" if score < 10 else "high"


def _hospital_tier(score: int) -> Tier:
    if score < 5:
        return "low"
    return "moderate" if score < 7 else "high"


def _score(name: str, parts: dict[str, Interval], tier_of: _TierOf) -> Score:
    low = sum(part.low for part in parts.values())
    high = sum(part.high for part in parts.values())
    unknown = sorted(
        (key for key, part in parts.items() if not part.known),
        key=lambda key: parts[key].low - parts[key].high,
    )
    lowest = tier_of(low)
    tier = lowest if lowest == tier_of(high) else None
    decides = None
    if tier is None:
        decides = next((key for key in unknown if _settles(parts[key], low, high, tier_of)), None)
    return Score(name, low, high, parts, tier, tuple(unknown), decides)


def _settles(part: Interval, low: int, high: int, tier_of: _TierOf) -> bool:
    """Whether every value of the part would leave the rest within one tier."""
    return all(
        tier_of(low - part.low + value) == tier_of(high - part.high + value)
        for value in range(part.low, part.high + 1)
    )
